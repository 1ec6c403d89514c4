"""Data sets as people have them: text, missing values, other byte orders, empty axes, many columns."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from candidates import FLOAT, asked, built, made, node, numbers

from edgesmith_builder.dataset import CLASSES as CLASS_LABELS
from edgesmith_builder.dataset import Samples, npz, read_npz, samples_for
from edgesmith_builder.errors import DatasetInvalid
from edgesmith_runtime.golden import Golden
from edgesmith_runtime.tensors import TensorSpec

X = numbers(40, 8, seed=3)
CLASSES = (X @ numbers(8, 4, seed=4)).argmax(axis=1)


def read(folder: Path, arrays: dict[str, Any], **options: Any) -> dict[str, Any]:
    """What is read of a set that NumPy wrote."""
    np.savez(folder / "set.npz", allow_pickle=False, **arrays)
    (folder / "out").mkdir()
    return read_npz(folder / "set.npz", field="spec.evaluation", folder=folder / "out", **options)


@pytest.mark.parametrize("kind", [">f4", ">f8", ">i8", ">u2", ">f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_of_the_other_byte_order_are_the_same_numbers(tmp_path: Path, kind: str, order: Any) -> None:
    plain = np.arange(24, dtype=kind.replace(">", "=")).reshape(6, 4)
    found = read(tmp_path, {"x": np.asarray(plain.astype(kind), order=order), "labels": np.arange(6, dtype=">i4")})
    assert found["x"].dtype.isnative
    assert np.array_equal(found["x"], plain)
    assert np.array_equal(found["labels"], np.arange(6))
    feed = Samples({"x": found["x"]}, {"x": 2}, batches=True).feed(2, 2)["x"]
    assert feed.tobytes() == plain[2:4].tobytes(), "an engine takes the bytes"


def test_a_set_of_the_other_byte_order_is_calibrated_and_scored_as_any(tmp_path: Path) -> None:
    model = made(
        [node("MatMul", ["x", "w"], ["y"])],
        [("x", FLOAT, ["n", 8])], [("y", FLOAT, ["n", 4])], {"w": numbers(8, 4, seed=4)},
    )  # fmt: skip
    big = read(tmp_path, {"x": X.astype(">f4"), "labels": CLASSES.astype(">i8")})
    winners = []
    for name, arrays in (("little", {"x": X, "labels": CLASSES}), ("big", big)):
        (tmp_path / name).mkdir()
        winners.append(built(tmp_path / name, model, {"x": arrays["x"]}, arrays).winner)
    assert winners[0].candidate == winners[1].candidate
    assert [layer.descriptor for layer in winners[0].layers] == [layer.descriptor for layer in winners[1].layers]


def encoder() -> onnx.ModelProto:
    """Words to numbers to scores, as models of tables with words in them have it."""
    look_up = onnx.helper.make_node(
        "LabelEncoder", ["word"], ["v"], domain="ai.onnx.ml",
        keys_strings=["red", "grün", "日本"], values_floats=[-1.0, 0.1, 2.0], default_float=0.0,
    )  # fmt: skip
    nodes = [look_up, node("Concat", ["v", "x"], ["c"], axis=1), node("MatMul", ["c", "w"], ["y"])]
    model = made(
        nodes,
        [("word", onnx.TensorProto.STRING, ["n", 1]), ("x", FLOAT, ["n", 8])],
        [("y", FLOAT, ["n", 4])],
        {"w": numbers(9, 4, seed=4)},
    )
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 2))
    return model


@pytest.mark.parametrize("kind", ["U", "S"])
def test_text_is_calibrated_scored_and_kept_as_golden_samples(tmp_path: Path, kind: str) -> None:
    words = np.array(["red", "grün", "日本", "?"] * 10)[:, None]
    arrays = read(tmp_path, {"word": np.char.encode(words) if kind == "S" else words, "x": X})
    outcome = built(tmp_path, encoder(), arrays, arrays | {"labels": np.zeros(40, int)}, precisions=("fp32",))
    assert outcome.winner.layers
    folder = tmp_path / "work" / "fp32" / "bundle"
    golden = Golden.read(folder / "inputs.npz", folder / "answers.npz")
    assert {item for row in golden.inputs["word"] for item in row} <= {"red", "grün", "日本", "?"}
    assert len(golden) == 8


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid, match="bytes in the array 'word' that are not UTF-8"):
        read(tmp_path, {"word": np.array([[b"\xff"]])})


@pytest.mark.parametrize("order", ["C", "F"])
def test_text_in_bytes_is_the_same_text(tmp_path: Path, order: Any) -> None:
    words = np.array([["red", "grün", ""], ["日本", "?", "a b"]])
    found = read(tmp_path, {"word": np.asarray(np.char.encode(words), order=order), "labels": np.array([b"a", b"b"])})
    assert np.array_equal(found["word"], words)
    assert found["labels"].tolist() == ["a", "b"]
    assert CLASS_LABELS.read(found["labels"], "f").tolist() == ["a", "b"]


def test_no_text_in_bytes_is_no_text(tmp_path: Path) -> None:
    found = read(tmp_path, {"word": np.zeros((2, 0), "S3")})["word"]
    assert (found.shape, found.dtype.kind) == ((2, 0), "U")


@pytest.mark.parametrize("order", ["C", "F"])
def test_text_in_bytes_is_read_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Any) -> None:
    """As text it takes 60 times as much: what is in memory must not grow with the set."""
    monkeypatch.setattr(npz, "_BLOCK", 1 << 12)
    peaks = []
    for count in (1, 16):
        folder = tmp_path / str(count)
        folder.mkdir()
        np.savez(folder / "set.npz", word=np.full((count << 12, 2), b"a" * 40, order=order))
        tracemalloc.start()
        found = read_npz(folder / "set.npz", field="f", folder=folder)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (found["word"] == "a" * 40).all()
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.parametrize(
    ("arrays", "takes"),
    [
        ({"word": np.full((20, 10), b"a"), "labels": np.zeros(20, np.int8)}, "12.8 kB"),
        ({"word": np.full((20, 10), "a")}, "12.8 kB"),
        ({"word": np.full((5, 10), b"a"), "more": np.full((5, 10), b"a" * 33)}, "9.8 kB"),
    ],
    ids=["bytes", "text", "long bytes, together"],
)
def test_text_that_takes_too_much_as_text_is_refused_before_it_is_unpacked(
    tmp_path: Path, arrays: dict[str, Any], takes: str
) -> None:
    np.savez(tmp_path / "set.npz", allow_pickle=False, **arrays)
    with pytest.raises(DatasetInvalid, match=rf"^f takes {takes} as text, with 64 bytes for each .* at most 9\.\d kB"):
        read_npz(tmp_path / "set.npz", field="f", folder=tmp_path, limit=9_750)
    assert [path.name for path in tmp_path.iterdir()] == ["set.npz"]
    (tmp_path / "room").mkdir()
    assert read_npz(tmp_path / "set.npz", field="f", folder=tmp_path / "room", limit=12_820).keys() == arrays.keys()


def test_nan_is_a_missing_value_where_the_user_says_so(tmp_path: Path) -> None:
    holes = X.copy()
    holes[3, 2] = np.nan
    for options, words in (({}, "NaN or infinity .* sample 3; .*spec.missingValues: NaN"), ({"missing": True}, None)):
        folder = tmp_path / str(len(options))
        folder.mkdir()
        if words:
            with pytest.raises(DatasetInvalid, match=words):
                read(folder, {"x": holes}, **options)
        else:
            assert np.isnan(read(folder, {"x": holes}, **options)["x"][3, 2])
    holes[4, 0] = np.inf
    (tmp_path / "infinite").mkdir()
    with pytest.raises(DatasetInvalid, match="has infinity in the array 'x', first in sample 4"):
        read(tmp_path / "infinite", {"x": holes}, missing=True)


def test_a_model_that_fills_in_what_is_missing_is_built(tmp_path: Path) -> None:
    nodes = [
        *(node("IsNaN", ["x"], ["hole"]), node("Where", ["hole", "mean", "x"], ["full"])),
        node("MatMul", ["full", "w"], ["y"]),
    ]
    weights = {"mean": np.zeros(8, np.float32), "w": numbers(8, 4, seed=4)}
    model = made(nodes, [("x", FLOAT, ["n", 8])], [("y", FLOAT, ["n", 4])], weights)
    holes = np.where(np.arange(320).reshape(40, 8) % 7 == 0, np.float32(np.nan), X)
    outcome = built(tmp_path, model, None, {"x": holes, "labels": np.zeros(40, int)}, precisions=("fp32",))
    assert outcome.winner.layers


def test_many_columns_and_an_axis_of_size_zero_are_read(tmp_path: Path) -> None:
    arrays = {f"column{number}": np.ones((3, 1), np.float32) for number in range(200)}
    found = read(tmp_path, arrays | {"cache": np.zeros((3, 0, 8), np.float32)})
    assert len(found) == 201
    assert found["cache"].shape == (3, 0, 8)
    specs = [*(TensorSpec(name, "FP32", (-1, 1)) for name in arrays), TensorSpec("cache", "FP32", (-1, -1, 8))]
    samples = samples_for(found, specs, field="f", labels=None)
    assert samples.feed(1)["cache"].shape == (1, 0, 8)
    (tmp_path / "none").mkdir()
    with pytest.raises(DatasetInvalid, match="at least one sample"):
        read(tmp_path / "none", {"x": np.zeros((0, 3), np.float32)})


def test_some_of_the_samples_keep_their_order_and_their_labels() -> None:
    samples = Samples({"x": X, "whole": X}, {"x": 2, "whole": 1}, batches=False, labels=np.arange(40))
    some = samples.take([7, 3, 30])
    assert len(some) == 3
    assert np.array_equal(some.feed(1)["x"], X[3:4])
    assert np.array_equal(some.feed(1)["whole"], X[3])
    again = some.take([2, 0])
    assert again.labels is not None
    assert again.labels.tolist() == [30, 7]
    assert np.array_equal(again.feed(0, 2)["x"], X[[30, 7]])


def test_a_step_of_a_decoder_whose_cache_is_empty_is_built(tmp_path: Path) -> None:
    nodes = [
        *(node("MatMul", ["x", "w"], ["k"]), node("Concat", ["past", "k"], ["present"], axis=1)),
        *(node("ReduceMean", ["present"], ["p"], axes=[1], keepdims=0), node("MatMul", ["p", "o"], ["y"])),
    ]
    model = made(
        nodes,
        [("x", FLOAT, ["n", 1, 8]), ("past", FLOAT, ["n", "p", 8])],
        [("y", FLOAT, ["n", 4]), ("present", FLOAT, ["n", "q", 8])],
        {"w": numbers(8, 8), "o": numbers(8, 4)},
    )
    sets = {"x": X[:, None], "past": np.zeros((40, 0, 8), np.float32)}
    _, inputs = asked(tmp_path, model, sets)
    assert inputs.golden.inputs["past"].shape == (8, 0, 8)
    outcome = built(tmp_path, model, sets, precisions=("fp32",))
    assert outcome.winner.layers
