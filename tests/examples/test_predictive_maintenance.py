"""The pump's four models and their sets are as their page and their manifests say."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.source import ModelFile

Script = Callable[[str], ModuleType]
FOLDER = Path(__file__).resolve().parents[2] / "examples" / "predictive-maintenance"
ROW = re.compile(r"^\| `(?P<model>[\w.-]+)` \| (?P<accuracy>0\.\d{4}) \| ", re.MULTILINE)


def test_digests_and_sizes_are_those_of_the_files() -> None:
    model = EdgeModel.model_validate(yaml.safe_load((FOLDER / "edgemodels.yaml").read_text()))
    alternatives = model.spec.optimize.alternatives
    assert [one.name for one in alternatives] == ["svm", "forest", "gru"]
    for part in (
        model.spec.source,
        *(one.source for one in alternatives),
        model.spec.calibration,
        model.spec.evaluation,
    ):
        assert part is not None
        file = FOLDER / part.uri.rsplit("/", 1)[1]
        assert part.sha256 == hashlib.sha256(file.read_bytes()).hexdigest(), file.name
        if isinstance(part, ModelFile):
            assert part.bytes == file.stat().st_size, file.name


def test_what_is_committed_is_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir() if file.is_file()) < 1_000_000


def test_sets_are_remade_bit_for_bit(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "pump.py"), "--data-only", "--out", str(tmp_path)]
    subprocess.run(command, check=True, cwd=tmp_path)
    for name in ("calibration.npz", "evaluation.npz"):
        with np.load(FOLDER / name) as committed, np.load(tmp_path / name) as again:
            assert committed.files == again.files
            for key in committed.files:
                assert again[key].tobytes() == committed[key].tobytes()


def test_accuracy_is_what_the_page_says(script: Script) -> None:
    published = {row["model"]: float(row["accuracy"]) for row in ROW.finditer((FOLDER / "README.md").read_text())}
    measured = {name: share for name, share, _, _ in script("predictive-maintenance/score.py").rows()}
    assert measured == pytest.approx(published, abs=1e-4 + 1 / 300)
