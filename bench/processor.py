"""Which processor a run is on: figures of two processors cannot be compared."""

from __future__ import annotations

import os
from pathlib import Path

from edgesmith_runtime.device import processor_name

# What integer kernels of ONNX Runtime choose their instructions by, the newest first.
_WORTH_NAMING = ("amx_int8", "avx512_vnni", "avx_vnni", "avx512f", "avx2", "i8mm", "asimddp")


def processor() -> str:
    """The processor in one line: how many, its name, and what of it makes int8 fast."""
    words = set(Path("/proc/cpuinfo").read_text().split())
    has = ", ".join(name for name in _WORTH_NAMING if name in words)
    return f"{os.cpu_count()} x {processor_name()}, with {has or 'nothing that makes int8 fast'}"
