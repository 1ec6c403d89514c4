"""What the operator's process has loaded: every library is memory on a small machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

SAYS = "import sys; print(*sys.modules)"
START = "from edgesmith.cluster.lean import leave_out; leave_out(); import edgesmith.controller.start; "


def loaded(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code + SAYS], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", ["requests", "oauthlib", "kubernetes.config", "rich", "pygments"])
def test_what_the_operator_never_uses_is_not_loaded(name: str) -> None:
    assert name not in loaded(START)


def test_what_it_uses_is_loaded_all_the_same() -> None:
    assert {"kubernetes.aio", "httpx", "kopf"} <= loaded(START)
