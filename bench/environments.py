"""Virtual environments of other servers, each of its own: what they need does not go together with ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

SAME = tuple(f"{name}=={version(name)}" for name in ("onnxruntime", "numpy"))
"""What computes, in the versions that our server has here."""


def environment(requirement: str, *options: str, same: tuple[str, ...] = SAME) -> Path | None:
    """Install a pinned package with what computes, once, into a folder of the cache.

    Args:
        requirement: The package with its version, ``name==1.2.3``.
        options: Further words for ``uv pip install``.
        same: What computes, with its versions.

    Returns:
        The environment's folder, or None, and a word on standard error, where the package cannot be had.
    """
    cache = Path(os.environ.get("EDGESMITH_CACHE") or Path.home() / ".cache/edgesmith").absolute()
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache / "bench" / "-".join([*(word.replace("==", "-") for word in (requirement, *same)), python])
    done = folder / ".installed"
    if done.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    uv = Path(sys.executable).with_name("uv")
    try:
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
        install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", folder / "bin/python"]
        # In two steps, since a package may ask for other versions of what computes.
        subprocess.run([*install, *options, requirement], check=True)
        subprocess.run([*install, *same], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{requirement} is left out, since it cannot be installed here: {error}", file=sys.stderr)
        return None
    done.touch()
    return folder
