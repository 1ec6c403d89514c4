"""Which processor a run is on: figures of two processors cannot be compared."""

from __future__ import annotations

import os
from pathlib import Path

from edgesmith_runtime.device import processor_name

# What integer kernels of ONNX Runtime choose their instructions by, the newest first.
_WORTH_NAMING = ("amx_int8", "avx512_vnni", "avx_vnni", "avx512f", "avx2", "i8mm", "asimddp")


_VNNI = {"avx512_vnni", "avx_vnni"}


def processor() -> str:
    """The processor in one line: how many, its name, and what of it makes int8 fast."""
    words = _words()
    has = ", ".join(name for name in _WORTH_NAMING if name in words)
    return f"{os.cpu_count()} x {processor_name()}, with {has or 'nothing that makes int8 fast'}"


def has_vnni() -> bool:
    """Whether four products of eight bits are one instruction, by which int8 is to be at least twice as fast."""
    return bool(_VNNI & _words())


def _words() -> set[str]:
    return set(Path("/proc/cpuinfo").read_text().split())
