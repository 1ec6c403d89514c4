"""Arranges what the wheel nvidia-pytriton holds as NVIDIA's image does: ``bin``, ``lib`` and ``backends``.

Usage: ``arrange.py SITE FOLDER``, with the installed packages and the folder to write; ``model.py`` and ``start.py``
lie beside this file. The wheel's own Python package goes: what is left of SITE is what the backend imports.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def arrange(site: Path, folder: Path, version: str) -> None:
    """Moves the server's parts.

    Args:
        site: Where the wheel is installed.
        folder: Where to write; must not exist.
        version: Of the Python that runs backends, ``3.11`` for example.
    """
    parts = site / "pytriton" / "tritonserver"
    stub = parts / "python_backend_stubs" / version / "triton_python_backend_stub"
    own = Path(__file__).resolve().parent
    shutil.copytree(parts / "bin", folder / "libexec")
    shutil.copytree(parts / "backends", folder / "backends")
    shutil.copy(stub, folder / "backends" / "python")
    (folder / "bin").mkdir()
    shutil.copy(own / "start.py", folder / "bin" / "tritonserver")
    programs = (folder / "bin" / "tritonserver", folder / "libexec" / "tritonserver")
    for program in (*programs, folder / "backends" / "python" / stub.name):
        program.chmod(0o755)
    (folder / "backends" / "onnxruntime").mkdir()
    shutil.copy(own / "model.py", folder / "backends" / "onnxruntime" / "model.py")
    shutil.move(site / "nvidia_pytriton.libs", folder / "lib")
    for name in ("pytriton", "nvidia_pytriton-0.7.0.dist-info"):
        shutil.rmtree(site / name, ignore_errors=True)


if __name__ == "__main__":
    where, what = map(Path, sys.argv[1:])
    arrange(where, what, f"{sys.version_info.major}.{sys.version_info.minor}")
