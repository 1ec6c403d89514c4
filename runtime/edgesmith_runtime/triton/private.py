"""A ``tritonserver`` for the self-test alone: its own process, on a port of the loopback."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.device import ended_child, group_memory
from edgesmith_runtime.ending import how_ended
from edgesmith_runtime.engine import EngineError
from edgesmith_runtime.groups import end_group
from edgesmith_runtime.loading import LoadFailed
from edgesmith_runtime.termination import Finding, Reason
from edgesmith_runtime.triton.accelerator import accelerated
from edgesmith_runtime.triton.command import PROGRAM, Listening, command, environment
from edgesmith_runtime.triton.remote import LOOPBACK, RemoteEngine, server_version
from edgesmith_runtime.triton.repository import write_repository

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgesmith_runtime.bundle import Bundle
    from edgesmith_runtime.golden import Golden
    from edgesmith_runtime.triton.repository import Fitting

__all__ = ["PrivateServer", "private_server"]

_GLANCE: Final = 0.05
"""Seconds between two looks at whether the model is loaded."""
_ENDING: Final = 10.0
"""Seconds that the server may take to end; it removes its shared memory then."""
_SETTLING: Final = 5.0
"""Seconds until it is known that a server which cut a connection has ended."""
_LONELY: Final = 5.0
"""Seconds for which the server may wait for a program of its own that has ended; it waits for ever for a backend's."""
_FAULT: Final = re.compile(
    r'failed to load \'[^\']*\' version \d+: (?P<why>[^"]*)"?|^error: (?P<other>.*)', re.MULTILINE
)


class PrivateServer:
    """A running server.

    Attributes:
        port: Its HTTP port.
    """

    def __init__(self, bundle: Bundle, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.port = port
        self._bundle, self._process, self._log = bundle, process, log

    def engine(self) -> RemoteEngine:
        """The model, over a connection of its own."""
        return RemoteEngine(self.port, self._bundle.model)

    def version(self) -> str:
        """The server's name and version, ``tritonserver 2.51.0`` for example."""
        return f"{PROGRAM} {server_version(self.port)}"

    def peak_memory(self) -> int:
        """The most memory that the server's processes had resident, each at its own time, in bytes.

        Raises:
            LoadFailed: It has ended, and so has no memory to read.
        """
        memory = group_memory(self._process.pid)
        if self._process.poll() is not None:
            raise self.failed("once it had answered")
        return memory

    def wait(self) -> None:
        """Wait until the model is loaded and warm, however long that takes: the kubelet knows how long it may.

        Raises:
            LoadFailed: It cannot be loaded, or a program that the server started for it has ended.
        """
        alone_at = None
        while self._process.poll() is None:
            with suppress(OSError, HTTPException, EngineError):
                self.engine().close()
                return
            ended = ended_child(self._process.pid)
            alone_at = None if ended is None else alone_at or time.monotonic() + _LONELY
            if alone_at is not None and time.monotonic() > alone_at:
                self._process.kill()  # it waits for that program and heeds no other signal
                message = f"{PROGRAM} does not load the model: the program {ended}, which it started for it, has ended"
                raise LoadFailed(Finding("EngineFailed", message, engine=self._bundle.engine))
            time.sleep(_GLANCE)
        raise self.failed("while it loaded the model")

    def failed(self, when: str) -> LoadFailed:
        """Say why the server ended, or does not answer.

        Args:
            when: The end of the sentence.
        """
        reason: Reason = "EngineFailed"
        try:
            status = self._process.wait(_SETTLING)
        except subprocess.TimeoutExpired:
            message = f"{PROGRAM} did not answer {when}"
        else:
            message = f"{PROGRAM} ended with {how_ended(status)} {when}"
            if status == -signal.SIGKILL:
                reason = "MemoryExceeded"
                message = f"{PROGRAM} was killed {when}: it needs more than the memory limit"
        if found := _FAULT.search(self._log.read_text(errors="replace")):
            message += f": {(found['why'] or found['other']).strip()}"
        return LoadFailed(Finding(reason, message, engine=self._bundle.engine))


@contextmanager
def private_server(bundle: Bundle, golden: Golden, fitting: Fitting) -> Iterator[PrivateServer]:
    """Start a server, wait until the model is loaded, and stop it in the end.

    Args:
        bundle: The model.
        golden: Its golden samples.
        fitting: What the device adds.

    Raises:
        LoadFailed: There is no such program, or it cannot load the model.
        EngineError: Triton cannot serve such a bundle.
    """
    with TemporaryDirectory(prefix="selftest-") as name:
        repository = write_repository(bundle, golden, fitting, Path(name) / "models")
        log = Path(name) / "log"
        port = _free_port()
        listening = Listening(LOOPBACK, port)
        words = command(repository, listening, drain_seconds=_ENDING, gpu=accelerated(bundle))
        with log.open("wb") as stream:
            try:
                process = subprocess.Popen(  # noqa: S603 - the image's own program
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    env=environment(bundle),
                    start_new_session=True,
                )
            except OSError as error:
                message = f"{PROGRAM} cannot be started: {error.strerror}"
                raise LoadFailed(Finding("EngineFailed", message, engine=bundle.engine)) from error
        try:
            server = PrivateServer(bundle, process, port, log)
            server.wait()
            yield server
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(2 * _ENDING)
    end_group(process)


def _free_port() -> int:
    """A port that nobody listens on; tritonserver takes none by itself."""
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        port: int = one.getsockname()[1]
    return port
