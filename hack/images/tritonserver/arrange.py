"""Arranges what the wheel nvidia-pytriton holds as NVIDIA's image does: ``bin``, ``lib`` and ``backends``.

Usage: ``arrange.py SITE FOLDER MODEL``, with the installed packages, the folder to write, and the backend's stand-in.
The wheel's own Python package goes: what is left of SITE is what the backend imports.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def arrange(site: Path, folder: Path, model: Path, version: str) -> None:
    """Moves the server's parts.

    Args:
        site: Where the wheel is installed.
        folder: Where to write; must not exist.
        model: The ONNX Runtime backend's stand-in.
        version: Of the Python that runs backends, ``3.11`` for example.
    """
    parts = site / "pytriton" / "tritonserver"
    stub = parts / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copytree(parts / "bin", folder / "bin")
    shutil.copytree(parts / "backends", folder / "backends")
    shutil.copy(stub, folder / "backends" / "python")
    for program in (folder / "bin" / "tritonserver", folder / "backends" / "python" / stub.name):
        program.chmod(0o755)
    (folder / "backends" / "onnxruntime").mkdir()
    shutil.copy(model, folder / "backends" / "onnxruntime" / "model.py")
    shutil.move(site / "nvidia_pytriton.libs", folder / "lib")
    for name in ("pytriton", "nvidia_pytriton-0.7.0.dist-info"):
        shutil.rmtree(site / name, ignore_errors=True)


if __name__ == "__main__":
    where, what, backend = map(Path, sys.argv[1:])
    arrange(where, what, backend, f"{sys.version_info.major}.{sys.version_info.minor}")
