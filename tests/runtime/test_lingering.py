"""A server that lingers: it serves on after SIGTERM for as long as it is asked."""

from __future__ import annotations

import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests.patience import PATIENCE
from tests.runtime.test_life import ask_toy, grpc_client, http_client

if TYPE_CHECKING:
    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import Server, StartServer

LINGERS = (1.0, 4.0, 16.0)
"""Seconds that a server lingers after each question; one that lingers longer is tried where no client came in time."""


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_server_that_lingers_is_ready_for_as_long_as_it_is_asked(
    toy: Bundle, start_server: StartServer, protocol: str
) -> None:
    for lingers in LINGERS:
        server = start_server(toy.folder, "--accept-seconds", str(lingers), "--linger-seconds", "3600")
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("lingering")
        asked = _kept_by_questions(server, protocol, began, lingers)
        if asked is not None:
            break
    else:
        pytest.fail(f"no client asked within {lingers} s of its last question")
    while _answers(server, "http"):  # a probe asks no model, so it is answered to the end and puts nothing off
        assert time.monotonic() < asked + PATIENCE, "it ends soon after the last request"
    assert time.monotonic() >= asked + lingers
    assert server.stop() == 0
    assert [entry["message"] for entry in server.lines][-3:] == ["lingering", "draining", "stopped"]


def _kept_by_questions(server: Server, protocol: str, began: float, lingers: float) -> float | None:
    """Ask a server for longer than it lingers without; when the last question was sent.

    None: this machine let one of them come too late, so that the server was right to end.
    """
    asked = began
    while asked - began < 3 * lingers:
        before, asked = asked, time.monotonic()
        if not _answers(server, protocol, ask=True):
            assert time.monotonic() >= before + lingers, "its endpoint would go"
            return None
        time.sleep(0.2)
    return asked


def _answers(server: Server, protocol: str, *, ask: bool = False) -> bool:
    """Whether a server says that it is ready, and answers where it is asked."""
    library: Any = tritonclient.http if protocol == "http" else tritonclient.grpc
    with closing(http_client(server) if protocol == "http" else grpc_client(server)) as client:
        try:
            ready = bool(client.is_server_ready())
            if ready and ask:
                ask_toy(client, library)
        except (InferenceServerException, OSError):
            return False
        return ready


def test_a_server_that_lingers_ends_at_last_though_it_is_asked(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, "--accept-seconds", "3600", "--linger-seconds", "1")
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(PATIENCE) == 0
    assert time.monotonic() - began >= 1
