"""The self-test with Triton: a private server answers the golden samples, is timed, and takes the largest batches.

Latency is that of one request over the loopback: Triton has no way to run a model without asking the server.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final

from edgesmith_runtime.engine import EngineError
from edgesmith_runtime.golden import replay
from edgesmith_runtime.loading import LoadFailed, check_signature, read
from edgesmith_runtime.selftest import Measured, judged, measure
from edgesmith_runtime.termination import Finding
from edgesmith_runtime.trial import batch_of, batches
from edgesmith_runtime.triton.cache import drop_engines
from edgesmith_runtime.triton.command import PROGRAM
from edgesmith_runtime.triton.preparing import prepare
from edgesmith_runtime.triton.private import private_server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from edgesmith_runtime.bundle import Bundle
    from edgesmith_runtime.golden import Golden
    from edgesmith_runtime.http.limits import Limits
    from edgesmith_runtime.triton.preparing import Prepared
    from edgesmith_runtime.triton.private import PrivateServer

__all__ = ["Asked", "self_test"]

_ROUNDS: Final = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """What a self-test is asked.

    Attributes:
        name: What clients will call the model: compiled engines are kept under it.
        threads: How many cores to compute with.
        limits: What the server lets clients ask.
        max_latency_ms: The gate on the 95th percentile of one request's time, in milliseconds.
        max_memory_bytes: The gate on the most memory that the server's processes have resident.
    """

    name: str
    threads: int
    limits: Limits
    max_latency_ms: float | None = None
    max_memory_bytes: int | None = None


def self_test(folder: Path, asked: Asked) -> Finding:
    """Test a bundle on this device.

    Args:
        folder: The bundle.
        asked: What is asked.

    Returns:
        What was found; never raises for a bundle that fails.
    """
    try:
        bundle, golden = read(folder, asked.name)
    except LoadFailed as error:
        return error.finding
    try:
        prepared = prepare(bundle, threads=asked.threads, max_batch=asked.limits.batch)
    except EngineError as error:
        return Finding("EngineFailed", str(error), engine=bundle.engine)
    finding, said = _served(prepared, bundle, golden, asked), prepared.message
    if finding.reason == "EngineFailed" and prepared.cache is not None and prepared.cache.there:
        drop_engines(prepared.cache)  # they may be halves, which fail each time
        finding, said = _served(prepared, bundle, golden, asked), "engines that were there failed and are compiled anew"
    message = "; ".join(part for part in (finding.message, said) if part)
    device = prepared.device | dict(finding.device)
    return replace(finding, message=message, recompiled=prepared.recompiled or None, device=device)


def _served(prepared: Prepared, bundle: Bundle, golden: Golden, asked: Asked) -> Finding:
    """What a server of its own says of a bundle."""
    try:
        with private_server(bundle, golden, prepared.fitting) as server:
            return _tried(server, bundle, golden, asked)
    except LoadFailed as error:
        return error.finding
    except EngineError as error:
        return Finding("EngineFailed", str(error), engine=bundle.engine)


def _tried(server: PrivateServer, bundle: Bundle, golden: Golden, asked: Asked) -> Finding:
    when = "while it answered the golden samples"
    try:
        device = {"server": server.version()}
        with closing(server.engine()) as engine:
            check_signature(bundle, engine)
            parity = replay(engine, golden)
            if not parity.passed:
                return Finding(
                    "GoldenMismatch", parity.message, parity=parity.fraction, engine=bundle.engine, device=device
                )
            p50, p95 = measure(engine, golden)
    except (OSError, HTTPException) as error:
        raise server.failed(when) from error
    except EngineError as error:
        raise EngineError(f"{PROGRAM} failed {when}: {error}") from error
    batch = _largest(server, bundle, golden, asked)
    measured = Measured(p50, p95, server.peak_memory(), batch)
    finding = judged(
        bundle,
        parity,
        measured,
        max_latency_ms=asked.max_latency_ms,
        max_memory_bytes=asked.max_memory_bytes,
    )
    return replace(finding, device=device)


def _largest(server: PrivateServer, bundle: Bundle, golden: Golden, asked: Asked) -> int:
    """Ask for the largest batches that the model takes, alone and in company, and return the batch."""
    refusal: EngineError | None = None
    for batch in batches(bundle, golden, threads=asked.threads, limits=asked.limits):
        feed = batch_of(bundle, golden, batch)

        try:
            _ask(server, feed)
            with ThreadPoolExecutor(asked.threads + 1) as pool:
                list(pool.map(lambda _: _ask(server, feed), range(asked.threads + 1)))  # noqa: B023 - ends in this round
        except EngineError as error:
            refusal = error
        except (OSError, HTTPException) as error:
            raise server.failed(f"while it answered batches of {batch}") from error
        else:
            return batch
    raise EngineError(f"a golden sample is not answered: {refusal}")


def _ask(server: PrivateServer, feed: Mapping[str, NDArray[Any]]) -> None:
    engine = server.engine()
    try:
        for _ in range(_ROUNDS):
            engine.infer(feed)
    finally:
        engine.close()
