"""The scripts remake the committed sets bit for bit, and the models where JAX is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
from needs import left_out

Script = Callable[[str], ModuleType]


def remake(example: Path, out: Path) -> None:
    command = [sys.executable, str(example / "train.py"), "--data-only", "--out", str(out)]
    subprocess.run(command, check=True, cwd=out)


@pytest.mark.long
def test_sets_are_remade_bit_for_bit(example: Path, tmp_path: Path, script: Script) -> None:
    remake(example, tmp_path)
    score = script("_training/score.py")
    for kind in ("calibration", "evaluation"):
        committed, again = score.load(example, kind), score.load(tmp_path, kind)
        assert committed.keys() == again.keys()
        for name, array in committed.items():
            # Arrays rather than files: another zlib compresses the same bytes differently.
            assert (again[name].dtype, again[name].shape) == (array.dtype, array.shape)
            assert again[name].tobytes() == array.tobytes()


def test_the_same_arrays_are_the_same_file_at_any_time(tmp_path: Path, script: Script) -> None:
    write = script("_training/arrays.py").write_npz
    one, two = np.arange(6, dtype=np.float32), np.ones((2, 3), dtype=np.int64)
    write(tmp_path / "a.npz", {"one": one, "two": two})
    write(tmp_path / "b.npz", {"two": two, "one": one})
    os.utime(tmp_path / "a.npz", (0, 0))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (script("_training/arrays.py").read_npz(tmp_path / "a.npz")["two"] == two).all()


def test_objects_are_never_pickled(tmp_path: Path, script: Script) -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        script("_training/arrays.py").write_npz(tmp_path / "a.npz", {"x": np.array([object()])})


def test_digits_evaluate_on_scans_that_did_not_teach(script: Script) -> None:
    train = script("digits/train.py")
    images, labels = train.scans()
    assert len(images) == len(labels) == 1797
    taught = {image.tobytes() for image in images[: train.TRAINING]}
    evaluation = script("_training/score.py").load(train.HERE, "evaluation")["image"]
    assert len(evaluation) == len(images) - train.TRAINING
    assert not any(image.tobytes() in taught for image in evaluation)


def test_parts_of_different_splits_differ_and_a_longer_set_begins_like_a_shorter(script: Script) -> None:
    parts = script("surface-inspection/parts.py")
    sets = {split: parts.make_set(split, 12)[0] for split in parts.SPLITS}
    assert len({image.tobytes() for images in sets.values() for image in images}) == 36
    assert (parts.make_set("training", 5)[0] == sets["training"][:5]).all()


def test_an_unknown_split_is_named(script: Script) -> None:
    with pytest.raises(ValueError, match="split is 'test', expected one of training, calibration, evaluation"):
        script("surface-inspection/parts.py").make_set("test", 1)


def test_the_sheet_is_a_png(script: Script) -> None:
    parts = script("surface-inspection/parts.py")
    picture = parts.png(parts.draw(0, np.random.default_rng(1)))
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert picture.endswith(b"IEND\xaeB`\x82")


def test_a_network_is_trained_and_exported_the_same_twice(tmp_path: Path, script: Script) -> None:
    if importlib.util.find_spec("jax") is None:
        left_out("training needs JAX: pip install -e '.[train]'")
    train = script("digits/train.py")
    fit, export = script("_training/fit.py"), script("_training/export.py")
    images, labels = train.scans()
    course = fit.Course(epochs=2, batch=60, rate=4e-3, seed=1, augment=train.shifted)
    made = [
        export.to_onnx(train.NETWORK, fit.fit(train.NETWORK, images[:600], labels[:600], course), {"version": "1"})
        for _ in range(2)
    ]
    assert made[0].SerializeToString(deterministic=True) == made[1].SerializeToString(deterministic=True)
    onnx.save(made[0], tmp_path / "model.onnx")
    evaluation = {"image": images[600:], "labels": labels[600:]}
    assert script("_training/score.py").accuracy(tmp_path / "model.onnx", evaluation) > 0.5


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_export_computes_what_the_network_says(pooling: str, tmp_path: Path, script: Script) -> None:
    parts = script("_training/network.py")
    convolution = parts.Convolution(3, stride=2)
    network = parts.Network(size=6, white=1.0, layers=(convolution,), classes=2, pooling=pooling)
    rng = np.random.default_rng(2)
    weight, bias = rng.standard_normal((3, 1, 3, 3), np.float32), rng.standard_normal(3, np.float32)
    dense, offset = rng.standard_normal((3, 2), np.float32), rng.standard_normal(2, np.float32)
    trained = parts.Trained(((weight, bias),), (dense, offset))
    export = script("_training/export.py")
    export.write_model(tmp_path / "m.onnx", export.to_onnx(network, trained, {}))
    images = rng.standard_normal((2, 1, 6, 6), np.float32)
    padded = np.pad(images[:, 0], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    signal = np.maximum(np.einsum("nyxkl,ckl->ncyx", windows, weight[:, 0]) + bias[None, :, None, None], 0)
    pooled = signal.mean((2, 3)) if pooling == "average" else signal.max((2, 3))
    logits = pooled @ dense + offset
    wanted = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    assert np.allclose(session.run(None, {"image": images})[0], wanted, atol=1e-5)
