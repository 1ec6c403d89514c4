#!/usr/bin/python3
"""Starts the stand-in's tritonserver with its backends where they can be written.

Triton gives the program that runs backends in Python its permission to be executed, each time, which a read-only root
refuses. NVIDIA's own backend for ONNX Runtime needs no such program.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Becomes tritonserver."""
    backends = Path(tempfile.gettempdir()) / "tritonserver-backends"
    if not backends.exists():
        own = Path(tempfile.mkdtemp())
        shutil.copytree(ROOT / "backends", own / "backends")
        (own / "backends").rename(backends)
        own.rmdir()
    libraries = ":".join(filter(None, (str(ROOT / "lib"), os.environ.get("LD_LIBRARY_PATH"))))
    os.environ |= {"LD_LIBRARY_PATH": libraries, "ORT_DISABLE_TELEMETRY": "1"}
    os.execv(ROOT / "libexec" / "tritonserver", ["tritonserver", f"--backend-directory={backends}", *sys.argv[1:]])  # noqa: S606 - the program itself


if __name__ == "__main__":
    main()
