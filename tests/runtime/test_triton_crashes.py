"""A tritonserver that ends or crashes in the middle of its self-test: one sentence says how, and what it did."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tritons import folder_with_tritonserver

from edgesmith_runtime.bundle import Bundle
from edgesmith_runtime.http.limits import Limits
from edgesmith_runtime.triton import selftest
from edgesmith_runtime.triton.private import PrivateServer
from edgesmith_runtime.triton.remote import RemoteEngine

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def with_tritonserver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", f"{folder_with_tritonserver()}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def ended_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, count: int, end: Callable[[int], None]) -> None:
    """Have something end a server, by its process' number, just before a method is called for so many times."""
    servers: list[PrivateServer] = []
    made, real, calls = PrivateServer.__init__, getattr(owner, name), []

    def keep(self: PrivateServer, *given: Any) -> None:
        servers.append(self)
        made(self, *given)

    def call(*given: Any, **named: Any) -> Any:
        calls.append(name)
        if len(calls) == count:
            end(servers[0]._process.pid)
        return real(*given, **named)

    monkeypatch.setattr(PrivateServer, "__init__", keep)
    monkeypatch.setattr(owner, name, call)


def crashed(server: int) -> None:
    """Have it crash, and have ended."""
    os.kill(server, signal.SIGSEGV)
    os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)


def backend_crashed(server: int) -> None:
    """Have the program crash that it runs a model in Python with."""
    children = [one.read_text().split() for one in Path(f"/proc/{server}/task").glob("*/children")]
    for child in map(int, itertools.chain(*children)):
        os.kill(child, signal.SIGSEGV)


GOLDEN = "while it answered the golden samples"


@pytest.mark.parametrize(
    ("moment", "when"),
    [
        pytest.param((PrivateServer, "version", 1), GOLDEN, id="before it says its version"),
        pytest.param((RemoteEngine, "infer", 1), GOLDEN, id="at the first golden sample"),
        pytest.param((RemoteEngine, "infer", 9), GOLDEN, id="while it is timed"),
        pytest.param((selftest, "_ask", 1), "while it answered batches of 8", id="at the largest batch"),
        pytest.param((PrivateServer, "peak_memory", 1), "once it had answered", id="before its memory is read"),
    ],
)
def test_a_server_that_crashes_is_told_by_the_signal(
    toy: Bundle, monkeypatch: pytest.MonkeyPatch, moment: tuple[Any, str, int], when: str
) -> None:
    ended_at(monkeypatch, *moment, crashed)
    found = selftest.self_test(toy.folder, selftest.Asked("toy", 1, Limits()))
    assert (found.reason, found.message) == ("EngineFailed", f"tritonserver ended with signal SIGSEGV {when}")


def test_a_backend_that_crashes_is_told_in_triton_s_words(toy: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    ended_at(monkeypatch, RemoteEngine, "infer", 3, backend_crashed)
    found = selftest.self_test(toy.folder, selftest.Asked("toy", 1, Limits()))
    assert found.reason == "EngineFailed"
    assert found.message.startswith(f"tritonserver failed {GOLDEN}: the server refused: Stub process ")
