"""What a rollout did before, and what became of what its spec asks of single revisions."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from edgesmith.api.model import Model


class RequestState(StrEnum):
    """What became of a request in `spec.rollout`."""

    IN_EFFECT = "InEffect"
    """It is acted on."""
    DONE = "Done"
    """It was met; it stays as it is while the spec asks for the same revision, and can be removed."""
    OBSOLETE = "Obsolete"
    """It is about a revision that the spec does not ask for any more, or that was rolled back. It says nothing of
    others and can be removed."""
    NOT_FOUND = "NotFound"
    """No revision has the name, or not yet."""
    REFUSED = "Refused"
    """It cannot be met; the message says why and what to change."""


class RequestStatus(Model):
    """What became of one entry of spec.rollout.promote, rollbackTo or override."""

    request: str = Field(description="The entry, by its field without `spec.rollout.`: promote[419fc52057], say.")
    state: str = Field(description="InEffect, Done, Obsolete, NotFound or Refused.")
    message: str = Field(max_length=1024, description="What it did or why it does nothing, in one sentence.")


class Outcome(StrEnum):
    """How a revision of the history stands, or ended."""

    IN_PROGRESS = "InProgress"
    """It is being rolled out."""
    COMPLETE = "Complete"
    """It was rolled out."""
    ROLLED_BACK = "RolledBack"
    """It was rolled back; reason and message say why."""
    SUPERSEDED = "Superseded"
    """Another one took its place before it was rolled out."""


class HistoryChange(Model):
    """A field that changed, and who changed it."""

    field: str = Field(description="The field: spec.source, say.")
    manager: str | None = Field(
        None,
        description="Field manager that wrote it last, argocd-controller say; absent where managedFields has none.",
    )


class HistoryEntry(Model):
    """One revision that the spec asked for."""

    revision: str = Field(description="The revision.")
    profile: str = Field(description="DeviceProfile.")
    image: str = Field(description="Its image by digest.")
    generation: int = Field(description="The EdgeModel's generation when it came.")
    started_time: str = Field(description="When it came.", json_schema_extra={"format": "date-time"})
    ended_time: str | None = Field(
        None, description="When it ended as outcome says.", json_schema_extra={"format": "date-time"}
    )
    outcome: Outcome = Field(description="InProgress, Complete, RolledBack or Superseded.")
    reason: str | None = Field(None, description="Why it was rolled back, in one word for machines.")
    message: str | None = Field(None, max_length=512, description="Why it was rolled back, in one sentence.")
    changes: tuple[HistoryChange, ...] = Field(
        (),
        max_length=32,
        description=(
            "Fields that changed since the one before. Empty: the DeviceProfile, a file at a URI, a base image or the "
            "operator did."
        ),
    )
    why: str = Field(max_length=512, description="What of its build differs from the one before.")
    fields: dict[str, str] | None = Field(
        None,
        description="Hashes of the spec's fields; of the newest entry of a profile alone.",
        json_schema_extra={"x-member": "A hash."},
    )
