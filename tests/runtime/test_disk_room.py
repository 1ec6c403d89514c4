"""Whether a disk has room for an image: what is said to the kubelet, and that a look that passed is not made again."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgesmith_runtime import cli
from edgesmith_runtime.room import main
from edgesmith_runtime.triton import cli as triton_cli

MIB = 1 << 20
PAGES = ("edgesmith_runtime", "edgesmith_runtime.triton")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 1,000 MiB, of which 300 are free for those who are not root, and 350 for root."""
    found = SimpleNamespace(f_frsize=4096, f_bsize=MIB, f_blocks=1000 * 256, f_bavail=300 * 256, f_bfree=350 * 256)
    monkeypatch.setattr(os, "statvfs", lambda _: found)


def look(folder: Path, size: int, *more: str) -> tuple[int, str]:
    """The exit status and the termination message of a look for so many bytes."""
    log = folder / "log"
    log.unlink(missing_ok=True)
    status = main(["--bytes", str(size), "--termination-log", str(log), *more])
    return status, log.read_text() if log.exists() else ""


@pytest.mark.usefixtures("disk")
def test_a_twentieth_of_the_disk_stays_free(tmp_path: Path) -> None:
    assert look(tmp_path, 250 * MIB) == (0, "")
    status, said = look(tmp_path, 250 * MIB + 1)
    assert status == 1
    assert json.loads(said) == {
        "verdict": "Failed",
        "reason": "DiskFull",
        "message": "its disk has 300 MiB free, and 301 MiB are needed: 251 for what is pulled, and 50 that stay free",
    }


@pytest.mark.usefixtures("disk")
def test_where_there_was_room_before_the_image_may_be_there_and_needs_none(tmp_path: Path) -> None:
    found = tmp_path / "found"
    assert look(tmp_path, 900 * MIB, "--found", str(found))[0] == 1
    assert not found.exists()
    assert look(tmp_path, 100 * MIB, "--found", str(found))[0] == 0
    assert look(tmp_path, 900 * MIB, "--found", str(found)) == (0, "")


@pytest.mark.parametrize("module", PAGES)
def test_both_programs_look_with_little(module: str, tmp_path: Path) -> None:
    words = ["room", "--bytes", str(1 << 60), "--termination-log", str(tmp_path / "log")]
    line = [sys.executable, "-X", "importtime", "-m", module, *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr[-300:]
    assert json.loads((tmp_path / "log").read_text())["reason"] == "DiskFull"
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "edgesmith_runtime.room" in imported
    assert not imported & {"numpy", "asyncio", "socket", "hashlib", "logging", "http.client"}


@pytest.mark.parametrize("parser", [cli.build_parser(), triton_cli.build_parser()])
def test_it_is_a_command_of_both_programs(parser: argparse.ArgumentParser) -> None:
    assert "room" in parser.format_help()
