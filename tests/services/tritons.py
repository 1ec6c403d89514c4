"""A real tritonserver without a GPU: NVIDIA's, out of the wheel nvidia-pytriton, with our stand-in of a backend."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from needs import lacking

REPOSITORY = Path(__file__).resolve().parents[2]
LOCK = REPOSITORY / "requirements" / "tritonserver.txt"
STAND_IN = REPOSITORY / "hack" / "images" / "tritonserver"
VERSION = "2.51.0"

# The shell becomes the server: what is started is what is signalled.
SCRIPT = """#!/bin/sh
export PATH={folder}/venv/bin:"$PATH"
exec {folder}/venv/bin/python {folder}/server/bin/tritonserver "$@"
"""


@cache
def folder_with_tritonserver() -> Path:
    """A folder to put on PATH; the test that asks is skipped where it cannot be had.

    It is installed once, into the cache beside the other tools, and anew when its lock or the stand-in changes.
    """
    parts = b"".join(path.read_bytes() for path in (LOCK, *sorted(STAND_IN.glob("*.py")), Path(__file__)))
    root = Path(os.environ.get("EDGESMITH_CACHE") or Path.home() / ".cache" / "edgesmith") / "tritonserver"
    folder = root / hashlib.sha256(parts).hexdigest()[:16]
    if not folder.exists():
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as name:
            made = Path(name) / "made"
            _install(made, folder)
            if not folder.exists():
                made.rename(folder)
    return folder / "bin"


def _install(made: Path, folder: Path) -> None:
    """Install into one folder what is to work in another."""
    uv = str(Path(sys.prefix) / "bin" / "uv")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    _run(uv, "venv", "--quiet", "--relocatable", f"--python={python}", str(made / "venv"))
    site = made / "venv" / "lib" / f"python{python}" / "site-packages"
    _run(
        *(uv, "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"),
        *(f"--python={made / 'venv' / 'bin' / 'python'}", f"--requirement={LOCK}"),
    )
    _run(sys.executable, str(STAND_IN / "arrange.py"), str(site), str(made / "server"))
    program = made / "bin" / "tritonserver"
    program.parent.mkdir()
    program.write_text(SCRIPT.format(folder=folder))
    program.chmod(0o755)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lacking(f"tritonserver cannot be installed: {done.stderr.strip()[-300:]}")
