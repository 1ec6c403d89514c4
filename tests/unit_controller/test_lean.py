"""What the operator's process has loaded: every library is memory on a small machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

START = "from edgesmith.cluster.lean import leave_out; leave_out(); import edgesmith.controller.start"


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    code = f"{START}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", ["requests", "oauthlib", "kubernetes.config", "rich", "pygments"])
def test_what_the_operator_never_uses_is_not_loaded(name: str, loaded: set[str]) -> None:
    assert name not in loaded


def test_what_it_uses_is_loaded_all_the_same(loaded: set[str]) -> None:
    assert {"kubernetes.aio", "httpx", "kopf"} <= loaded
