"""A spoilt model is bad in the one way it was asked to be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

Script = Callable[[str], ModuleType]


@pytest.fixture(params=["model.onnx", "model-v2.onnx"])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def spoilt(script: Script, way: str, model: str, folder: Path) -> Path:
    spoil, target = script("surface-inspection/spoil.py"), folder / "bad.onnx"
    spoil.spoil(way, spoil.HERE / model, target)
    onnx.checker.check_model(onnx.load(target), full_check=True)
    return target


def test_random_guesses(script: Script, model: str, tmp_path: Path) -> None:
    score, spoil = script("_training/score.py"), script("surface-inspection/spoil.py")
    evaluation = score.load(spoil.HERE, "evaluation")
    assert score.accuracy(spoilt(script, "random", model, tmp_path), evaluation) < 0.7


def test_outlier_costs_nothing_in_fp32_and_much_in_int8(script: Script, model: str, tmp_path: Path) -> None:
    score, spoil = script("_training/score.py"), script("surface-inspection/spoil.py")
    evaluation, calibration = score.load(spoil.HERE, "evaluation"), score.load(spoil.HERE, "calibration")
    target = spoilt(script, "outlier", model, tmp_path)
    before, after = score.accuracy(spoil.HERE / model, evaluation), score.accuracy(target, evaluation)
    assert after == before
    score.quantise(target, calibration, tmp_path / "int8.onnx")
    assert score.accuracy(tmp_path / "int8.onnx", evaluation) < before - 0.05


def test_calibrating_on_pictures_of_another_scale_is_seen(script: Script, model: str, tmp_path: Path) -> None:
    score, spoil = script("_training/score.py"), script("surface-inspection/spoil.py")
    scaled = {name: images / 255 for name, images in score.load(spoil.HERE, "calibration").items()}
    score.quantise(spoil.HERE / model, scaled, tmp_path / "int8.onnx")
    assert score.accuracy(tmp_path / "int8.onnx", score.load(spoil.HERE, "evaluation")) < 0.5


def test_nan_is_in_the_weights(script: Script, model: str, tmp_path: Path) -> None:
    weights = onnx.load(spoilt(script, "nan", model, tmp_path)).graph.initializer
    assert sum(int(np.isnan(onnx.numpy_helper.to_array(stored)).sum()) for stored in weights) == 1


def test_a_model_that_is_not_of_the_example_is_refused(script: Script, tmp_path: Path) -> None:
    spoil = script("surface-inspection/spoil.py")
    model = onnx.load(spoil.HERE / "model.onnx")
    for stored in model.graph.initializer:
        if stored.name == "dense.weight":
            stored.name = "other"
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"no weights named 'dense\.weight', expected"):
        spoil.spoil("nan", tmp_path / "other.onnx", tmp_path / "bad.onnx")
