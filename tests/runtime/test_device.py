"""What the process finds out about its machine, on trees of files as the kernel lays them out."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edgesmith_runtime import cli
from edgesmith_runtime.device import (
    cpu_limit,
    default_threads,
    memory_limit,
    peak_memory,
    processor_name,
    resident_memory,
)

if TYPE_CHECKING:
    from pathlib import Path

LIMITS: dict[str, tuple[str, dict[str, str], float | None]] = {
    "v2 in a container": ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
    "v2 without a limit": ("0::/\n", {"cpu.max": "max 100000\n"}, None),
    "v2 at the root, which has no file": ("0::/\n", {}, None),
    "v2 from outside": ("0::/pods/one\n", {"pods/one/cpu.max": "50000 100000"}, 0.5),
    "v2 where the pod is tighter": (
        "0::/pods/one\n",
        {"pods/cpu.max": "200000 100000", "pods/one/cpu.max": "400000 100000"},
        2.0,
    ),
    "v1 in a container": (
        "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n",
        {"cpu,cpuacct/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
        2.5,
    ),
    "v1 without a limit": (
        "4:cpu,cpuacct:/\n",
        {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
        None,
    ),
    "v1 from outside": (
        "2:cpu:/pods/one\n1:name=systemd:/x\n0::/x\n",
        {"cpu/pods/one/cpu.cfs_quota_us": "100000", "cpu/pods/one/cpu.cfs_period_us": "50000"},
        2.0,
    ),
}


MEMORY: dict[str, tuple[str, dict[str, str], int | None]] = {
    "v2 in a container": ("0::/\n", {"memory.max": "536870912\n"}, 2**29),
    "v2 without a limit": ("0::/\n", {"memory.max": "max\n"}, None),
    "v2 where the pod is tighter": ("0::/pods/one\n", {"pods/memory.max": "1000", "pods/one/memory.max": "2000"}, 1000),
    "v1 in a container": ("3:memory:/a\n2:cpu:/a\n", {"memory/memory.limit_in_bytes": "536870912\n"}, 2**29),
    "v1 without a limit": ("3:memory:/a\n", {"memory/a/memory.limit_in_bytes": "9223372036854771712\n"}, None),
}


@pytest.mark.parametrize(("membership", "files", "expected"), MEMORY.values(), ids=MEMORY.keys())
def test_the_memory_limit_is_read(tmp_path: Path, membership: str, files: dict[str, str], expected: int | None) -> None:
    write(tmp_path, membership, files)
    assert memory_limit(tmp_path / "fs", tmp_path / "membership") == expected


@pytest.mark.parametrize(("membership", "files", "expected"), LIMITS.values(), ids=LIMITS.keys())
def test_the_limit_is_read(tmp_path: Path, membership: str, files: dict[str, str], expected: float | None) -> None:
    write(tmp_path, membership, files)
    assert cpu_limit(tmp_path / "fs", tmp_path / "membership") == expected


def write(tmp_path: Path, membership: str, files: dict[str, str]) -> None:
    (tmp_path / "membership").write_text(membership)
    for name, content in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(content)


def test_threads_are_between_one_and_the_cores() -> None:
    assert 1 <= default_threads() <= len(os.sched_getaffinity(0))


def test_memory_is_plausible() -> None:
    assert 10 * 2**20 < resident_memory() <= peak_memory(os.getpid()) < 2**40


HEAP = """
import numpy as np
from edgesmith_runtime.device import bound_heap, resident_memory

bound_heap()
np.ones(20 * 2**20, np.uint8)
large = np.ones(16 * 2**20, np.uint8)
above = np.ones(2**16, np.uint8)
before = resident_memory()
del large
print(before - resident_memory())
"""


def test_large_pieces_go_back_to_the_kernel() -> None:
    given_back = subprocess.run([sys.executable, "-c", HEAP], capture_output=True, check=True).stdout
    assert int(given_back) > 15 * 2**20


FAULTS = """
import resource
import numpy as np
from edgesmith_runtime.device import bound_heap

bound_heap()
body = np.ones(600_000, np.uint8)
del body
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    body = np.ones(600_000, np.uint8)
    del body
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_the_memory_of_one_request_is_there_for_the_next() -> None:
    faults = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, check=True).stdout
    assert int(faults) < 500, "of 14,600 where each has its pages anew"


def test_the_command_line_bounds_its_heap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bounded: list[bool] = []
    monkeypatch.setattr(cli, "bound_heap", lambda: bounded.append(True))
    monkeypatch.setattr(cli, "set_up_logging", lambda: None)
    assert cli.main(["selftest", "--bundle", str(tmp_path), "--termination-log", str(tmp_path / "log")]) == 1
    assert bounded == [True]


NAMES: dict[str, tuple[dict[str, str], str]] = {
    "a board": ({"device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}, "Raspberry Pi 5 Model B Rev 1.0"),
    "a processor": ({"cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t: avx2\n"}, "AMD EPYC"),
    "an ARM core": ({"cpuinfo": "CPU implementer\t: 0x41\nCPU part\t: 0xd0b\n"}, "implementer 0x41 part 0xd0b"),
    "nothing": ({}, os.uname().machine),
}


@pytest.mark.parametrize(("files", "expected"), NAMES.values(), ids=NAMES.keys())
def test_the_device_has_a_name(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert processor_name(tmp_path) == expected


UNUSED = """
import sys
import edgesmith_runtime.cli, edgesmith_runtime.serve

for name in ("email", "http.client", "edgesmith_runtime.feedback.making", "edgesmith_runtime.uplink.command"):
    if name in sys.modules:
        print(name)
"""


def test_a_server_imports_nothing_large_that_it_does_not_use() -> None:
    """Together they take 2.4 MB."""
    assert subprocess.run([sys.executable, "-c", UNUSED], capture_output=True, check=True).stdout == b""
