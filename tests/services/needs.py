"""What a test needs of this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRE_ALL = "EDGESMITH_REQUIRE_ALL"
"""`make test` sets it to 1: a test that cannot run is a failure there, and skipped everywhere else."""

LEFT_OUT = "left out: "
"""How the reason of a test begins that may be left out of a whole run too; the last lines of the run list them."""

SHARED = Path(__file__).resolve().parents[3] / "shared"
"""Models and data of others, which are no part of the repository."""


def lacking(sentence: str) -> NoReturn:
    """Skip the test that asks, or fail it where nothing may be left out. `sentence` says what is missing."""
    if os.environ.get(REQUIRE_ALL) == "1":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def left_out(sentence: str) -> NoReturn:
    """Leave the test that asks out of every run, for something that no `make` brings; `sentence` says what for."""
    pytest.skip(LEFT_OUT + sentence)


def beside(name: str) -> Path:
    """A file of the folder `shared` beside the repository; the test that asks is left out where it is not there."""
    path = SHARED / name
    if not path.exists():
        left_out(f"there is no ../shared/{name} beside the repository")
    return path


def emulator(machine: str) -> str:
    """QEMU's program that runs those of a machine, `x86_64` say, without root."""
    name = f"qemu-{machine}-static"
    found = shutil.which(name)
    if found is None:
        lacking(f"{name} is not installed: run `make tools` as root, or `apt-get install qemu-user-static`")
    return found
