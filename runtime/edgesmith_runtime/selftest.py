"""The self-test: on the device itself, before it serves, measure model and server and hold them against their gates.

Latency is that of the model alone. Memory is that of a server under the largest requests that it takes, since that is
what the pod has to have room for.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edgesmith_runtime.loading import LoadFailed, load, read
from edgesmith_runtime.termination import Finding, Reason
from edgesmith_runtime.trial import TrialFailed, try_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgesmith_runtime.bundle import Bundle
    from edgesmith_runtime.engine import Engine
    from edgesmith_runtime.golden import Golden, Parity
    from edgesmith_runtime.http.limits import Limits

__all__ = ["Measured", "judged", "measure", "self_test"]

_ENOUGH_RUNS: Final = 50
_FEWEST_RUNS: Final = 10
_ENOUGH_SECONDS: Final = 2.0


def self_test(
    folder: Path,
    *,
    threads: int,
    limits: Limits,
    max_latency_ms: float | None = None,
    max_memory_bytes: int | None = None,
    before_loading: Callable[[], None] | None = None,
) -> Finding:
    """Test a bundle on this device.

    Args:
        folder: The bundle.
        threads: How many cores to compute with.
        limits: What the server lets clients ask.
        max_latency_ms: The gate on the 95th percentile of one run's time, in milliseconds.
        max_memory_bytes: The gate on the most memory that the server has resident.
        before_loading: Called once the server was tried, before this process loads the model itself.

    Returns:
        What was found; never raises for a bundle that fails.
    """
    try:
        bundle, golden = read(folder)
        try:
            # Before this process holds a model too: both have the same memory limit.
            memory, batch = try_server(bundle, golden, threads=threads, limits=limits)
            failure = None
        except TrialFailed as error:
            failure = Finding(error.reason, str(error), engine=bundle.engine)
            if error.signalled:
                return failure
        if before_loading is not None:
            before_loading()
        loaded = load(folder, threads=threads, max_batch=limits.batch)
    except LoadFailed as error:
        return error.finding
    if failure is not None:
        return failure
    p50, p95 = measure(loaded.model.engine, golden)
    measured = Measured(p50, p95, memory, batch)
    return judged(
        bundle,
        loaded.parity,
        measured,
        max_latency_ms=max_latency_ms,
        max_memory_bytes=max_memory_bytes,
        warning=loaded.model.engine.warning,
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """What a device was seen to need.

    Attributes:
        p50: The median time of one run in milliseconds.
        p95: The 95th percentile.
        memory: The most memory that the server had resident, in bytes.
        batch: The batch that it was asked for.
    """

    p50: float
    p95: float
    memory: int
    batch: int


def judged(
    bundle: Bundle,
    parity: Parity,
    measured: Measured,
    *,
    max_latency_ms: float | None,
    max_memory_bytes: int | None,
    warning: str | None = None,
) -> Finding:
    """Hold what was measured against the gates; the golden samples agree."""
    p95, memory, batch = measured.p95, measured.memory, measured.batch
    reason: Reason = "Passed"
    message = f"{parity.message}; p95 {p95:.2f} ms, {memory // 2**20} MiB with batches of {batch}"
    if max_latency_ms is not None and p95 > max_latency_ms:
        reason = "LatencyExceeded"
        message = f"p95 latency is {p95:.2f} ms on this device; expected at most {max_latency_ms:g} ms"
    elif max_memory_bytes is not None and memory > max_memory_bytes:
        reason = "MemoryExceeded"
        message = (
            f"the server's memory reached {memory} bytes on this device with batches of {batch}; expected at most "
            f"{max_memory_bytes}"
        )
    return Finding(
        reason,
        message,
        p50_ms=round(measured.p50, 3),
        p95_ms=round(p95, 3),
        memory_bytes=memory,
        parity=parity.fraction,
        engine=bundle.engine,
        warning=warning,
    )


def measure(engine: Engine, golden: Golden) -> tuple[float, float]:
    """Time warm runs of one golden sample each.

    Runs 50 times or for 2 seconds, whichever ends first, but 10 times at least.

    Args:
        engine: What runs them.
        golden: The samples.

    Returns:
        The median and the 95th percentile in milliseconds.
    """
    feeds = golden.samples(engine)
    taken: list[float] = []
    end = time.perf_counter() + _ENOUGH_SECONDS
    while len(taken) < _FEWEST_RUNS or (len(taken) < _ENOUGH_RUNS and time.perf_counter() < end):
        feed = feeds[len(taken) % len(feeds)]
        start = time.perf_counter()
        engine.infer(feed)
        taken.append((time.perf_counter() - start) * 1000)
    return float(np.percentile(taken, 50)), float(np.percentile(taken, 95))
