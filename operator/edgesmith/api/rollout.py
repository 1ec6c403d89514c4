"""How a new revision reaches the nodes."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator

from edgesmith.api.model import Model, fits, rules
from edgesmith.api.partitions import Partitions
from edgesmith.api.units import PERCENT_PATTERN, Deadline, Duration
from edgesmith.api.window import Window

NAME_PATTERN = r"^([0-9a-f]{10}|[0-9a-f]{32}|sha256:[0-9a-f]{64})$"
"""What names a revision: itself, its build key or its image's digest."""
_NAME_FORMS = "a revision, a build key, or the digest of an image (sha256:HEX)"
_NAMED = fits(f"must be {_NAME_FORMS}, as edgesmith history and status show them")
SHARE_MESSAGE = "must be a number from {least} or a percentage from 1% to 100%"


NamedRevision = Annotated[str, Field(pattern=NAME_PATTERN, max_length=71, json_schema_extra=_NAMED)]


def _share(value: int | str, name: str, *, least: int) -> int | str:
    if (value < least) if isinstance(value, int) else not re.fullmatch(PERCENT_PATTERN, value):
        raise ValueError(f"{name} is {value!r}; it {SHARE_MESSAGE.format(least=least)}")
    return value


class Step(Model):
    """One step of a rollout: so many nodes, served for so long, before the next one begins."""

    nodes: int | str = Field(
        description=(
            "How many nodes of a variant run the revision in this step, those of earlier steps included: a number or a "
            "percentage of the nodes that are to run the model, rounded down but never less than one. A step that adds "
            "none is skipped."
        ),
        json_schema_extra={"x-edgesmith-schema": "intOrPercent"},
    )
    bake: Duration = Field(
        "2m", description="How long the step's nodes must serve without a restart before the next step begins."
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict,
        description="Only nodes with these labels, and percentages are of them. A step that picks no node is skipped.",
        json_schema_extra={"x-member": "The label's value."},
    )

    @field_validator("nodes")
    @classmethod
    def _is_share(cls, value: int | str) -> int | str:
        return _share(value, "nodes", least=1)


class Promotion(Model):
    """A revision that need not wait for bakes."""

    revision: str = Field(
        pattern=NAME_PATTERN,
        max_length=71,
        json_schema_extra=_NAMED,
        description=f"Which one: {_NAME_FORMS}. The promotion is of no other, whatever the spec asks for later.",
    )
    steps: int | None = Field(
        None, ge=1, le=16, description="Only the bakes of so many of the first steps are over. Absent: those of all."
    )


class RollbackTo(Model):
    """A revision that is left, and the one that takes its place."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {"self.from != self.revision": "from and revision are the same: name the revision to go back to"}
        )
    )

    from_: str = Field(
        alias="from",
        pattern=NAME_PATTERN,
        max_length=71,
        json_schema_extra=_NAMED,
        description=(
            f"The revision that is left: {_NAME_FORMS}. The entry says nothing while the spec asks for another one."
        ),
    )
    revision: str = Field(
        pattern=NAME_PATTERN,
        max_length=71,
        json_schema_extra=_NAMED,
        description=f"The revision that nodes go back to: {_NAME_FORMS}. It must have held its steps before.",
    )


class Rollout(Model):
    """How a new revision reaches the nodes."""

    steps: tuple[Step, ...] = Field(
        (Step(nodes=1), Step(nodes="5%", bake="5m"), Step(nodes="25%", bake="5m")),
        min_length=1,
        max_length=16,
        description=(
            "What a new revision has to hold, in order, before it goes to all other nodes. The first step is the "
            "canary: one node that fails in it rolls the revision back."
        ),
    )
    strategy: Literal["Surge", "Replace"] = Field(
        "Surge",
        description=(
            "How a node goes from one revision to the next. Surge: both servers run until the new one is ready. "
            "Replace: the old server ends first, once the node has pulled and tested the new revision. Where a node "
            "cannot hold two servers, it is Replace in any case, and the status says why."
        ),
    )
    partitions: Partitions | None = Field(
        None,
        description=(
            "Partitions of the nodes that get the revision one after the other once it has held its steps. Steps "
            "without a nodeSelector keep to the partitions that are open; going back does not. Absent: all at once."
        ),
    )
    priority: int = Field(
        0,
        ge=-1000,
        le=1000,
        description=(
            "Which EdgeModel comes first where several are to change the same node: the one with the higher number. "
            "One at a time changes a node in any case; going back waits for none."
        ),
    )
    max_unavailable: int | str = Field(
        "10%",
        description=(
            "Most nodes that may be without a ready server at once, as a number or a percentage of the nodes that are "
            "to run the model, over all variants. Nodes that make a revision ready beside their server count, too."
        ),
        json_schema_extra={"x-edgesmith-schema": "intOrPercent"},
    )
    max_pulling: int | str | None = Field(
        None,
        description=(
            "Most nodes that may pull an image at once, as a number or a percentage of the nodes that are to run the "
            "model, over all variants. Absent: maxUnavailable alone bounds them."
        ),
        json_schema_extra={"x-edgesmith-schema": "intOrPercent"},
    )
    jitter: Duration = Field(
        "0s",
        description=(
            "Within how long after a revision has held its steps each node's turn begins, at a time of its own, so "
            "that not all of them pull at the same moment. Nodes of steps and nodes that go back do not wait."
        ),
    )
    max_failed: int | str = Field(
        "5%",
        description=(
            "Most nodes of a variant that may fail on a revision after its first step, as a number or a percentage of "
            "the variant's nodes, rounded down but never less than one; they go back alone. One more rolls the "
            "revision back everywhere. 0: the first one does."
        ),
        json_schema_extra={"x-edgesmith-schema": "countOrPercent"},
    )
    progress_deadline: Deadline = Field(
        "10m",
        description=(
            "How long a node may take to serve a revision while it is ready before it has failed, and how long a "
            "canary that became NotReady keeps its place. More than 10m also gives the server that long to start "
            "before the kubelet restarts it, so a change of it restarts pods."
        ),
    )

    hold_previous: bool = Field(
        default=True,
        description=(
            "Whether each node keeps the image of the revision that it would go back to, so that going back needs no "
            "link: a pod that does nothing uses it, for some 10 MB and one of the node's pods. False: the kubelet may "
            "delete it when the disk gets full."
        ),
    )
    paused: bool = Field(
        default=False,
        description=(
            "True: no node that serves is given another revision until it is false again. Nodes whose revision was "
            "rolled back or failed there still go back."
        ),
    )
    promote: tuple[Promotion, ...] = Field(
        (),
        max_length=16,
        description=(
            "Revisions whose steps are held as soon as their nodes serve, without the bake. Failures are judged and "
            "maxUnavailable holds as ever."
        ),
        json_schema_extra={"x-map-key": "revision"},
    )
    rollback_to: tuple[RollbackTo, ...] = Field(
        (),
        max_length=16,
        description=(
            "Revisions to go back to, each in place of one that the spec asks for: at once, within maxUnavailable, "
            "without steps, whatever paused and windows say."
        ),
        json_schema_extra={"x-map-key": "from"},
    )
    windows: tuple[Window, ...] = Field(
        (),
        max_length=16,
        description=(
            "When nodes that serve may be given another revision: while one of them is open. Empty: at any time. Nodes "
            "that go back do so at any time."
        ),
    )
    override: tuple[NamedRevision, ...] = Field(
        (),
        max_length=16,
        description=f"Revisions that windows do not hold up, each as {_NAME_FORMS}: for emergencies.",
        json_schema_extra={"x-set": True, "x-member": "A revision."},
    )

    @field_validator("max_unavailable")
    @classmethod
    def _is_share(cls, value: int | str) -> int | str:
        return _share(value, "maxUnavailable", least=1)

    @field_validator("max_pulling")
    @classmethod
    def _is_ceiling(cls, value: int | str | None) -> int | str | None:
        return value if value is None else _share(value, "maxPulling", least=1)

    @field_validator("max_failed")
    @classmethod
    def _is_count(cls, value: int | str) -> int | str:
        return _share(value, "maxFailed", least=0)
