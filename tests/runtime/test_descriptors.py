"""Both ports take a thousand connections each, whatever soft limit the process got."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from edgesmith_runtime.descriptors import raise_descriptor_limit

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


def test_a_system_that_refuses_leaves_the_limit_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_descriptor_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
