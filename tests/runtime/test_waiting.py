"""What keeps an image on a node: a process that does nothing, is small, and ends when it is told to."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgesmith_runtime import cli
from edgesmith_runtime.triton import cli as triton_cli
from tests.patience import PATIENCE

PAGES = ("edgesmith_runtime", "edgesmith_runtime.triton")


def _status(process: subprocess.Popen[bytes], field: str) -> str:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{field}:"))


@pytest.mark.parametrize("module", PAGES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_waits_in_little_memory_until_it_is_told_to_end(module: str, number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-m", module, "wait"], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert b"kept on this node" in process.stdout.readline()
            assert int(_status(process, "VmHWM").split()[0]) < 24 * 1024, "the pod may use 64Mi, and asks for 16Mi"
            process.send_signal(number)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("words", "kept_out"),
    [
        (["wait"], {"argparse", "json", "socket", "hashlib", "numpy"}),
        (["report", "--service", "nobody", "--every-seconds", "0"], {"hashlib", "numpy", "asyncio", "http.client"}),
    ],
)
def test_what_stays_beside_a_server_imports_little(words: list[str], kept_out: set[str]) -> None:
    line = [sys.executable, "-X", "importtime", "-m", "edgesmith_runtime", *words]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        if words == ["wait"]:
            process.stdout.readline()
            process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=PATIENCE)
    imported = {line.rpartition("|")[2].strip() for line in told.decode().splitlines()}
    assert "edgesmith_runtime" in imported
    assert not imported & kept_out


@pytest.mark.parametrize("parser", [cli.build_parser(), triton_cli.build_parser()])
def test_it_is_a_command_of_both_programs(parser: argparse.ArgumentParser) -> None:
    assert "wait" in parser.format_help()
