"""What is known of one revision, as the status of an EdgeModel has it."""

from __future__ import annotations

from pydantic import Field

from edgesmith.api.model import Model


class RevisionStatus(Model):
    """What was found out about one revision; the operator decides by it, so nobody else should write it."""

    name: str = Field(description="The revision: ten hex digits, the end of its DaemonSet's name.")
    profile: str = Field(description="DeviceProfile.")
    steps: int = Field(0, description="How many of spec.rollout.steps it has held.")
    proven_time: str | None = Field(
        None,
        description="When it had held all of them; renewed when the spec goes back to it.",
        json_schema_extra={"format": "date-time"},
    )
    completed_time: str | None = Field(
        None,
        description="When it first served on enough of the desired nodes; later failures are those of a device.",
        json_schema_extra={"format": "date-time"},
    )
    rolled_back: bool | None = Field(
        None, description="True: it was rolled back and is not given to a node again, unless a retry is asked for."
    )
    reason: str | None = Field(
        None,
        description="Why it was rolled back: CanaryFailed, CanaryLost, NodesFailed, NodesLost or RollbackRequested.",
    )
    message: str | None = Field(None, max_length=2048, description="Why it was rolled back, in one sentence.")
    attempt: str | None = Field(None, description="The retry word that was the last one when it was rolled back.")
    promoted: int | None = Field(
        None, description="How many of those steps spec.rollout.promote had it hold before their bakes were over."
    )
    partition: str | None = Field(
        None, description="Partition that was opened last for it; empty: the nodes without the label."
    )
    partition_time: str | None = Field(
        None, description="When that partition was opened.", json_schema_extra={"format": "date-time"}
    )
    partition_served_time: str | None = Field(
        None,
        description="When every reachable node of it that is to run the revision first served it.",
        json_schema_extra={"format": "date-time"},
    )
    lost: tuple[str, ...] | None = Field(
        None,
        max_length=20,
        description=(
            "The first nodes that became NotReady, or lost their device, while they tried it in the first step, those "
            "that left the cluster since before others."
        ),
        json_schema_extra={"x-member": "Node."},
    )
