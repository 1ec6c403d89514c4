"""The command that tests a bundle on a device: what it writes, its gates, and how it ends."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from edgesmith_runtime.bundle import Bundle
from tests.runtime.test_life import run, spoil

if TYPE_CHECKING:
    from pathlib import Path


def test_the_self_test_passes(toy: Bundle, tmp_path: Path) -> None:
    ended = run("selftest", "--bundle", str(toy.folder), "--termination-log", str(tmp_path / "log"), "--threads", "1")
    assert ended.returncode == 0, ended.stderr
    text = (tmp_path / "log").read_text()
    finding = json.loads(text)
    assert json.loads(ended.stdout) == finding
    assert len(text) < 4096
    assert set(finding) == {
        "verdict",
        "reason",
        "message",
        "p50Ms",
        "p95Ms",
        "memoryBytes",
        "parity",
        "warning",
        "recompiled",
        "device",
    }
    assert (finding["verdict"], finding["reason"], finding["parity"]) == ("Passed", "Passed", 1.0)
    assert 0 < finding["p50Ms"] <= finding["p95Ms"]
    assert finding["memoryBytes"] > 10 * 2**20
    assert finding["device"]["machine"] == os.uname().machine
    assert finding["device"]["engine"].startswith("onnxruntime 1.")


GATES = {
    "latency": (["--max-latency-ms", "0"], "LatencyExceeded", "expected at most 0 ms"),
    "memory": (["--max-memory-bytes", "1000"], "MemoryExceeded", "expected at most 1000"),
}


@pytest.mark.parametrize(("options", "reason", "sentence"), GATES.values(), ids=GATES.keys())
def test_the_self_test_keeps_its_gates(
    toy: Bundle, tmp_path: Path, options: list[str], reason: str, sentence: str
) -> None:
    ended = run("selftest", "--bundle", str(toy.folder), "--termination-log", str(tmp_path / "log"), *options)
    finding = json.loads((tmp_path / "log").read_text())
    assert ended.returncode == 1
    assert (finding["verdict"], finding["reason"]) == ("Failed", reason)
    assert sentence in finding["message"]
    assert finding["p95Ms"] is not None


def test_a_self_test_that_is_to_report_ends_well_whatever_it_found(toy: Bundle, tmp_path: Path) -> None:
    gate = ["--max-latency-ms", "0", "--report"]
    ended = run("selftest", "--bundle", str(toy.folder), "--termination-log", str(tmp_path / "log"), *gate)
    assert ended.returncode == 0
    assert json.loads((tmp_path / "log").read_text())["reason"] == "LatencyExceeded"


def test_the_self_test_finds_a_corrupt_bundle(toy_copy: Bundle, tmp_path: Path) -> None:
    spoil(toy_copy)
    ended = run("selftest", "--bundle", str(toy_copy.folder), "--termination-log", str(tmp_path / "log"))
    finding = json.loads((tmp_path / "log").read_text())
    assert (ended.returncode, finding["reason"], finding["p50Ms"]) == (1, "BundleCorrupt", None)
