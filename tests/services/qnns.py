"""Qualcomm's package for QNN, as the images with it have it: from the lock, in a folder of its own beside the tests'
environment, which has none of it."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from needs import lacking

LOCK = Path(__file__).resolve().parents[2] / "requirements" / "builder-qnn.txt"
PACKAGE = "onnxruntime-qnn"


@cache
def folder_with_qnn() -> Path:
    """A folder for `PYTHONPATH`; the test that asks is skipped where the package cannot be had.

    It is installed once, 240 MB into the cache beside the other tools, and anew when its line of the lock changes.
    """
    found = re.search(rf"^{PACKAGE}==.*?(?=^\S)", LOCK.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    root = Path(os.environ.get("EDGESMITH_CACHE") or Path.home() / ".cache" / "edgesmith") / "qnn"
    folder = root / hashlib.sha256((found[0] + sys.version).encode()).hexdigest()[:16]
    if not folder.exists():
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as name:
            made, lock = Path(name) / "site", Path(name) / "lock.txt"
            lock.write_text(found[0])
            _install(made, lock)
            if not folder.exists():
                made.rename(folder)
    return folder


def _install(made: Path, lock: Path) -> None:
    """What it asks for beside ONNX Runtime is in no image of ours, and not imported."""
    done = subprocess.run(
        [
            *(str(Path(sys.prefix) / "bin" / "uv"), "pip", "install", "--quiet", "--no-deps", "--require-hashes"),
            *("--only-binary=:all:", f"--python={sys.executable}", f"--target={made}", f"--requirement={lock}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lacking(f"{PACKAGE} cannot be installed: {done.stderr.strip()[-300:]}")
