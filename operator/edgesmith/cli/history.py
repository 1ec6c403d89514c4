"""`edgesmith history`: the last revisions of an EdgeModel, why they came, who changed what, and how they ended."""

from __future__ import annotations

import json

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.history import HistoryEntry
from edgesmith.api.status import EdgeModelStatus
from edgesmith.cli.table import table

HEADER = ("REVISION", "PROFILE", "GENERATION", "CAME", "OUTCOME", "ENDED", "CHANGED", "WHY", "IMAGE")


def rows_of(model: EdgeModel) -> list[dict[str, str]]:
    """One row for each revision, the newest first.

    Raises:
        ValueError: Another version of the operator wrote the status.
    """
    return [_row(entry) for entry in EdgeModelStatus.model_validate(model.status).history]


def as_text(model: EdgeModel) -> str:
    """The table."""
    rows = rows_of(model)
    if not rows:
        return f"EdgeModel {model.metadata.name} has no revision yet."
    return table(HEADER, [list(row.values()) for row in rows])


def as_json(model: EdgeModel) -> str:
    """The same for programs."""
    return json.dumps(rows_of(model), indent=2)


def _row(entry: HistoryEntry) -> dict[str, str]:
    changed = ", ".join(
        f"{change.field} by {change.manager}" if change.manager else change.field for change in entry.changes
    )
    outcome = f"{entry.outcome.value} ({entry.reason})" if entry.reason else entry.outcome.value
    return {
        "revision": entry.revision,
        "profile": entry.profile,
        "generation": str(entry.generation),
        "came": entry.started_time,
        "outcome": outcome,
        "ended": entry.ended_time or "",
        "changed": changed,
        "why": f"{entry.why.rstrip('.')}. {entry.message}" if entry.message else entry.why,
        "image": entry.image,
    }
