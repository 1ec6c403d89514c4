"""A trial of the server itself: a process of its own on ports of its own, under the largest requests that it takes."""

from __future__ import annotations

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import numpy as np

from edgesmith_runtime.bundle import DEFAULT_NAME
from edgesmith_runtime.codec.binary import to_raw
from edgesmith_runtime.device import peak_memory
from edgesmith_runtime.ending import how_ended
from edgesmith_runtime.http.limits import Limits
from edgesmith_runtime.loading import has_batch
from edgesmith_runtime.termination import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.process import BaseProcess
    from typing import TextIO

    from numpy.typing import NDArray

    from edgesmith_runtime.bundle import Bundle
    from edgesmith_runtime.golden import Golden

__all__ = ["TrialFailed", "batch_of", "batches", "try_server"]

_TIMEOUT: Final = 600.0
"""Seconds for one answer; slow devices take large batches too."""
_ROUNDS: Final = 2
_HEAD: Final = 2**16
"""More bytes than a request has beside its tensors."""
_OK: Final = 200
_QUEUE: Final = 256
_ENDING: Final = 5.0
"""Seconds until it is known that a process which cut a connection has ended."""


class TrialFailed(Exception):  # noqa: N818 - reads as what happened
    """The server did not answer; the message is one sentence.

    Attributes:
        reason: Why, in one word.
        signalled: Whether a signal ended it: who loads the same model may end alike, and say nothing.
    """

    def __init__(self, message: str, reason: Reason = "EngineFailed", *, signalled: bool = False) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.signalled = signalled


def try_server(bundle: Bundle, golden: Golden, *, threads: int, limits: Limits) -> tuple[int, int]:
    """Start a server, have it answer the largest batches on every thread at once, and stop it.

    Args:
        bundle: What it serves.
        golden: Samples to make the batches of.
        threads: How many cores it computes with.
        limits: What it lets clients ask: the batch is its largest, as far as it takes as many such requests at once.

    Returns:
        The most memory that its process had resident in bytes, and the batch that it was asked for.

    Raises:
        TrialFailed: It ended, or did not answer.
    """
    refusal: str | None = None
    with _server(bundle.folder, threads, limits) as (process, port):
        for batch in batches(bundle, golden, threads=threads, limits=limits):
            request = _Request(port, bundle, golden, batch)
            try:
                # Alone it runs on all threads, in company on one each.
                refusal = request.ask(1) or request.ask(threads + 1)
                if refusal is None:
                    return peak_memory(process.pid or 0), batch
            except (OSError, HTTPException) as error:
                raise _ended(process, f"while it answered batches of {batch}") from error
    raise TrialFailed(f"the server refused a golden sample: {refusal}")


def _ended(process: BaseProcess, when: str, last: str | None = None) -> TrialFailed:
    """Say why a server ended, or does not answer.

    Args:
        process: Its process.
        when: The end of the sentence.
        last: The last word of its log.
    """
    process.join(_ENDING)
    status = process.exitcode
    if status is None:
        return TrialFailed(f"the server did not answer {when} within {_TIMEOUT:g} s")
    if status == -signal.SIGKILL:
        message = f"the server was killed {when}: it needs more than the memory limit"
        return TrialFailed(message, "MemoryExceeded", signalled=True)
    word = f"; its last word was: {last}" if last is not None else ""
    return TrialFailed(f"the server ended with {how_ended(status)} {when}{word}", signalled=status < 0)


@contextmanager
def _server(folder: Path, threads: int, limits: Limits) -> Iterator[tuple[BaseProcess, int]]:
    """A server in a process of its own.

    It is forked and not started anew: that needs no second import, and under an emulator, which a new program would
    leave, nothing else works. This process has no other thread yet.
    """
    reading, writing = os.pipe()
    process = get_context("fork").Process(target=_serve, args=(writing, folder, threads, limits))
    process.start()
    os.close(writing)
    with os.fdopen(reading) as log:
        try:
            yield process, _port(log, process)
        finally:
            process.kill()
            process.join()


def _serve(log: int, folder: Path, threads: int, limits: Limits) -> None:
    """Be the server, on ports that are free; never returns."""
    from edgesmith_runtime.serve import Settings, serve  # noqa: PLC0415 - the self-test itself needs no server's memory

    os.dup2(log, sys.stderr.fileno())
    settings = Settings(
        bundle=folder,
        name=DEFAULT_NAME,
        host="127.0.0.1",
        http_port=0,
        grpc_port=0,
        threads=threads,
        accept_seconds=0,
        drain_seconds=0,
        queue=_QUEUE,
        termination_log=Path("/dev/null"),
        limits=limits,
    )
    os._exit(serve(settings))


def _port(log: TextIO, process: BaseProcess) -> int:
    """Wait until the server is ready; its log says where it listens.

    Raises:
        TrialFailed: It ended before.
    """
    port = 0
    entry: dict[str, Any] = {"message": "nothing"}
    for line in log:
        if not line.startswith("{"):  # an engine's own line
            continue
        entry = json.loads(line)
        port = int(entry.get("http_port", port))
        if entry["message"] == "ready":
            return port
    raise _ended(process, "before it was ready", entry["message"])


def batches(bundle: Bundle, golden: Golden, *, threads: int, limits: Limits) -> list[int]:
    """Which batches a server is tried with: the largest that it takes from every client at once, and one sample.

    Args:
        bundle: What it serves.
        golden: Samples to make the batches of.
        threads: How many cores it computes with.
        limits: What it lets clients ask.
    """
    room = min(limits.body, limits.bodies // 2 // (threads + 2)) - _HEAD
    if not any(has_batch(spec, golden) for spec in bundle.inputs):
        return [1]
    sample = sum(array.nbytes // len(array) for array in golden.inputs.values())
    return sorted({max(1, min(limits.batch, room // max(1, sample))), 1}, reverse=True)


def batch_of(bundle: Bundle, golden: Golden, batch: int) -> dict[str, NDArray[Any]]:
    """Make a golden sample a batch, as far as the model's inputs have one."""
    feed = {}
    for spec in bundle.inputs:
        array = golden.inputs[spec.name]
        sample = array[:1] if array.ndim == len(spec.shape) else np.asarray(array[0])
        feed[spec.name] = np.repeat(sample, batch, axis=0) if has_batch(spec, golden) else sample
    return feed


class _Request:
    """A golden sample as a request, as often as the batch is large where the model has a batch."""

    def __init__(self, port: int, bundle: Bundle, golden: Golden, batch: int) -> None:
        self._port = port
        self._path = f"/v2/models/{quote(bundle.model)}/infer"
        inputs: list[dict[str, Any]] = []
        parts: list[bytes | memoryview] = []
        datatypes = {spec.name: spec.datatype for spec in bundle.inputs}
        for name, sample in batch_of(bundle, golden, batch).items():
            raw = to_raw(sample, datatypes[name])
            parts.append(raw)
            entry = {"name": name, "datatype": datatypes[name], "shape": list(sample.shape)}
            inputs.append(entry | {"parameters": {"binary_data_size": len(raw)}})
        head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
        self._headers = {"Inference-Header-Content-Length": str(len(head))}
        self._body = b"".join([head, *parts])

    def ask(self, clients: int) -> str | None:
        """Send the request from several clients at once; return what one of them was refused with."""
        with ThreadPoolExecutor(clients) as pool:
            refusals = pool.map(lambda _: self._ask(), range(clients))
            return next((refusal for refusal in refusals if refusal is not None), None)

    def _ask(self) -> str | None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT)
        try:
            for _ in range(_ROUNDS):
                connection.request("POST", self._path, self._body, self._headers)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != _OK:
                    return text[:500].decode(errors="replace")
        finally:
            connection.close()
        return None
