"""What `make scale` measured, and its table in docs/benchmarks.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measured:
    """What one size took.

    Attributes:
        nodes: In the fleet.
        models: EdgeModels on each.
        first_seconds: From EdgeModels applied to the first revision of all on every node.
        seconds: From the second revision, built before, let go to every node that can serve it serving it.
        bare_first_seconds: As `first_seconds`, with DaemonSets alone, on the nodes that can serve.
        bare_seconds: As `seconds`, with DaemonSets alone.
        node_writes: The operator's writes to nodes in the second rollout, for each node it moved and EdgeModel.
        writes: All of its writes in the second rollout, likewise.
        cpu_seconds: Its processor time over both rollouts.
        peak_megabytes: Its resident memory at most.
        restarts: How often it ended and was started again; it does where its Lease cannot be renewed in time.
        pass_p99_milliseconds: Of its passes in the second rollout.
        status_bytes: The largest status of an EdgeModel at the end.
        load: Processes that waited for a processor when it began (/proc/loadavg); the fleet itself needs more than two.
    """

    nodes: int
    models: int
    first_seconds: float
    seconds: float
    bare_first_seconds: float
    bare_seconds: float
    node_writes: float
    writes: float
    cpu_seconds: float
    peak_megabytes: float
    restarts: int
    pass_p99_milliseconds: float
    status_bytes: int
    load: float


_COLUMNS = (
    "nodes x EdgeModels",
    "first revision, bare",
    "second revision, bare",
    "ratio",
    "writes to nodes, all writes",
    "operator CPU, peak memory",
    "operator restarts",
    "pass p99",
    "status",
    "load before",
)


def table(results: list[dict[str, Any]]) -> str:
    """The table of docs/benchmarks.md."""
    lines = [
        f"| {' | '.join(_COLUMNS)} |",
        f"|{' --- |' * len(_COLUMNS)}",
    ]
    for row in results:
        one = Measured(**row)
        lines.append(
            f"| {one.nodes:,} x {one.models} | {one.first_seconds:.0f} s, {one.bare_first_seconds:.0f} s "
            f"| {one.seconds:.0f} s, {one.bare_seconds:.0f} s | {one.seconds / one.bare_seconds:.1f} "
            f"| {one.node_writes:.2f}, {one.writes:.2f} | {one.cpu_seconds:.0f} s, {one.peak_megabytes:.0f} MB "
            f"| {one.restarts} | {one.pass_p99_milliseconds:.0f} ms "
            f"| {one.status_bytes / 1000:.1f} kB | {one.load:.0f} |"
        )
    return "\n".join(lines)
