"""Every module of ours can be imported in the images: what they leave out of a package, nothing needs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgesmith_stage.ground import Ground
from edgesmith_stage.shell import ROOT, run

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

PACKAGES = {"builder": ("edgesmith_builder", "edgesmith_runtime"), "operator": ("edgesmith",)}
VENDORS = ("onnxruntime_qnn",)
"""Packages that images of their own have."""

PROGRAM = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                print(module.name, error.name)
"""


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("program", sorted(PACKAGES))
def test_every_module_can_be_imported(program: str, bare_ground: Ground, tmp_path: Path) -> None:
    assert bare_ground.registry, "the images are those that the cluster runs"
    run([sys.executable, ROOT / "hack/images", "extract", program, tmp_path / "root"], timeout=300)
    command: list[str | Path] = [
        "chroot",
        tmp_path / "root",
        "/usr/bin/python3.11",
        "-W",
        "ignore",
        "-c",
        PROGRAM,
        *PACKAGES[program],
    ]
    path = {"PYTHONPATH": "/opt/edgesmith/app:/opt/edgesmith/site", "ORT_DISABLE_TELEMETRY": "1"}
    told = run(command, env=path, timeout=300)
    lacking = [line for line in told.splitlines() if not line.endswith(VENDORS)]
    assert lacking == []
