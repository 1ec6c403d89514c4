"""Both ports take a thousand connections each, whatever soft limit the process got."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from edgesmith_runtime.descriptors import RESERVED, connections_of, raise_descriptor_limit
from tests.patience import PATIENCE
from tests.runtime.judged import Client

if TYPE_CHECKING:
    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import StartServer

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from edgesmith_runtime.cli import main
sys.exit(main())
"""


def test_a_server_may_open_as_many_files_as_it_is_allowed_to(start_server: StartServer, toy: Bundle) -> None:
    server = start_server(toy.folder, program=LIMITED)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)


FEW = LIMITED.replace("(256, resource.getrlimit(resource.RLIMIT_NOFILE)[1])", "(160, 160)")


def test_whoever_holds_all_connections_that_there_may_be_keeps_no_probe_out(
    start_server: StartServer, toy: Bundle
) -> None:
    server = start_server(toy.folder, program=FEW)
    with ExitStack() as held:
        for port in (server.http, server.grpc):
            for _ in range(200):
                held.enter_context(closing(socket.create_connection(("127.0.0.1", port), PATIENCE)))
        for _ in range(20):
            assert Client(server.http, "").get("/v2/health/live")[0] == 200
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
            grpc.channel_ready_future(channel).result(PATIENCE)
        assert len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) < 160


@pytest.mark.parametrize(
    ("descriptors", "each"),
    [(resource.RLIM_INFINITY, 1024), (1 << 20, 1024), (2048 + RESERVED, 1024), (1024, 464), (RESERVED, 1), (10, 1)],
)
def test_connections_are_as_many_as_files_may_be_open(descriptors: int, each: int) -> None:
    assert connections_of(descriptors, 1024) == each


def test_a_system_that_refuses_leaves_the_limit_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_descriptor_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
