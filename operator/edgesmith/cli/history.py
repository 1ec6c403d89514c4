"""`edgesmith history`."""

from __future__ import annotations

import argparse
import asyncio
import json

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.history import HistoryEntry
from edgesmith.api.status import EdgeModelStatus
from edgesmith.cli.answer import Answer
from edgesmith.cli.asking import asked_for
from edgesmith.cli.table import table

HEADER = ("REVISION", "PROFILE", "GENERATION", "CAME", "OUTCOME", "ENDED", "CHANGED", "WHY", "IMAGE")


def run(found: argparse.Namespace) -> Answer:
    """Carry out the command.

    Raises:
        ClusterError: The EdgeModel could not be read.
    """
    model = asyncio.run(asked_for(found))
    return Answer(as_json(model) if found.output == "json" else as_text(model))


def rows_of(model: EdgeModel) -> list[dict[str, str]]:
    """One row for each revision, the newest first."""
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
