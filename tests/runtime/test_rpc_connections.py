"""Connections to the gRPC port: pings, silence, too many of them, and the stop of the server."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from typing import TYPE_CHECKING

from tests.runtime.http2 import GOAWAY, PING, PREFACE, SETTINGS, frame, frames

if TYPE_CHECKING:
    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import Server, StartServer


def test_pings_are_answered_however_often_they_come(toy_server: Server) -> None:
    with closing(socket.create_connection(("127.0.0.1", toy_server.grpc), 20)) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        received = frames(connection)
        for start in (0, 20):  # the second lot is sent when the first has had every consequence
            numbers = [struct.pack(">Q", number) for number in range(start, start + 20)]
            connection.sendall(b"".join(frame(PING, 0, 0, number) for number in numbers))
            answers = (payload for kind, flags, payload in received if (kind, flags) == (PING, 1))
            assert [next(answers) for _ in numbers] == numbers


def test_a_connection_without_a_call_holds_no_stop_up(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, "--accept-seconds", "0")
    with closing(socket.create_connection(("127.0.0.1", server.grpc), 20)) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        next(frames(connection))
        assert server.stop() == 0
    assert [entry["message"] for entry in server.lines][-2:] == ["draining", "stopped"]


def test_one_connection_cannot_take_all_calls(toy_server: Server) -> None:
    with closing(socket.create_connection(("127.0.0.1", toy_server.grpc), 20)) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        settings = next(payload for kind, flags, payload in frames(connection) if (kind, flags) == (SETTINGS, 0))
    streams = 3  # SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 §6.5.2)
    assert dict(struct.iter_unpack(">HI", settings))[streams] == 64


FULL = """
import sys
from functools import partial

from edgesmith_runtime import cli
from edgesmith_runtime.rpc import server

server._OPTIONS["grpc.max_allowed_incoming_connections"] = 8
cli.Patience = partial(cli.Patience, port_unready=3.0)
sys.exit(cli.main())
"""


def test_clients_that_take_every_connection_do_not_end_readiness(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, program=FULL)
    with ExitStack() as connections:
        closed = 0
        for _ in range(16):
            connection = connections.enter_context(closing(socket.create_connection(("127.0.0.1", server.grpc), 20)))
            with suppress(ConnectionError):
                connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
                closed += not connection.recv(1)
        assert closed == 16 - 7, "one of the eight is the server's own"
        deadline = time.monotonic() + 5
        with closing(HTTPConnection("127.0.0.1", server.http, timeout=20)) as probe:
            while time.monotonic() < deadline:
                probe.request("GET", "/v2/health/ready")
                answer = probe.getresponse()
                answer.read()
                assert answer.status == 200
    server.stop()


HASTY = """
import sys

from edgesmith_runtime import cli
from edgesmith_runtime.rpc import server

for name in server._OPTIONS:
    if name.endswith("_ms"):
        server._OPTIONS[name] //= 200
sys.exit(cli.main())
"""


def test_a_connection_that_is_silent_is_pinged_and_one_without_calls_is_closed(
    toy: Bundle, start_server: StartServer
) -> None:
    server = start_server(toy.folder, program=HASTY)
    with closing(socket.create_connection(("127.0.0.1", server.grpc), 20)) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        pings = 0
        for kind, flags, payload in frames(connection):
            if (kind, flags) == (PING, 0):
                pings += 1
                connection.sendall(frame(PING, 1, 0, payload))
            if kind == GOAWAY:
                break
        assert pings > 1
        assert payload.endswith(b"connection idle"), payload
    server.stop()
