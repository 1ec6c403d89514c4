"""TFLite files as they come: what is read of them, what is refused, and that nothing in one leads anywhere."""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from candidates import numbers
from edge_tpu_files import compiled_file_of
from tflite import Operator, Tensor, add, fully_connected, tflite_file

from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.format import ModelFacts, read_source
from edgesmith_builder.toolchain import Material, toolchain_of

CORAL = Path(__file__).parents[2] / "../shared/data/coral"
W = numbers(16, 4)
X, Y = Tensor("x", (1, 4)), Tensor("y", (1, 4))


def read(folder: Path, data: bytes) -> ModelFacts:
    (folder / "source").write_bytes(data)
    return read_source(folder / "source", "spec.source.uri s3://m/model")


def file_of(
    tensors: Sequence[Tensor], inputs: Sequence[str | int] = ("x",), outputs: Sequence[str | int] = ("y",)
) -> bytes:
    return tflite_file(tensors, [add(tensors[0].name, tensors[-1].name)], inputs, outputs)


def weight(dtype: str, scale: float | None = None, shape: tuple[int, ...] = (4, 4)) -> Tensor:
    return Tensor("w", shape, dtype, np.ones(shape, dtype), scale)


def test_a_file_is_known_by_its_bytes_whatever_it_is_called(tmp_path: Path) -> None:
    facts = read(tmp_path, fully_connected(W))
    assert (facts.format, facts.engine, facts.precision, facts.parameters) == ("TFLite", "litert", "fp32", 64)
    assert facts.path == tmp_path / "source.tflite"
    assert facts.path.is_file()
    assert facts.size == facts.path.stat().st_size


@pytest.mark.parametrize(
    ("tensors", "precision"),
    [
        pytest.param([X, weight("int8", 0.1), Y], "int8", id="int8"),
        pytest.param([X, weight("uint8", 0.1), Y], "int8", id="uint8, as older converters wrote it"),
        pytest.param([X, weight("uint8"), Y], "fp32", id="bytes without a scale are pictures"),
        pytest.param([X, weight("float16"), Y], "fp16", id="fp16"),
        pytest.param([X, weight("int8", 0.1), weight("float32"), Y], "int8", id="half of them in int8"),
        pytest.param([X, weight("int8", 0.1), weight("float32", shape=(5, 4)), Y], "fp32", id="less than half"),
        pytest.param([X, weight("int8", 0.1, (64,)), weight("float32"), Y], "fp32", id="one axis is a bias"),
        pytest.param([Tensor("x", (1, 4), "uint8", scale=0.1), Y], "int8", id="no weights: the inputs tell"),
    ],
)
def test_weights_decide_the_precision(tmp_path: Path, tensors: list[Tensor], precision: str) -> None:
    assert read(tmp_path, file_of(tensors)).precision == precision


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(file_of([X, Y], []), "has no input; at least one", id="no-input"),
        pytest.param(file_of([X, Y], outputs=[]), "has no output; at least one", id="no-output"),
        pytest.param(file_of([X, Y], [7]), "has the input 7; one of its 2 tensors", id="input-nowhere"),
        pytest.param(file_of([X, Y], [-1]), "has the input -1; one of its 2 tensors", id="input-before-all"),
        pytest.param(
            file_of([X, Tensor("w", (1, 4), buffer=9), Y]), "the tensor 'w' in buffer 9; one of its 1",
            id="buffer-nowhere",
        ),
        pytest.param(
            file_of([Tensor("x", (1, 4), "complex64"), Y]), "the input 'x' of TFLite's type 8; a tensor",
            id="complex",
        ),
        pytest.param(struct.pack("<I4s", 8, b"TFL3"), "is a malformed TFLite file: an offset leads", id="eight-bytes"),
        pytest.param(struct.pack("<I4s", 2**32 - 1, b"TFL3"), "to byte 4294967295 of 8; tables that lie", id="far"),
        pytest.param(b"\0\0\0\0TFL3" + b"\xff" * 100, "has no graph; one at least", id="ones"),
        pytest.param(b"\0\0\0\0TFL", "is not an ONNX model", id="too-short-for-its-name"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused_in_one_sentence(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(ModelInvalid, match=words) as caught:
        read(tmp_path, data)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("expected")


def test_a_list_that_is_longer_than_the_file_is_not_read(tmp_path: Path) -> None:
    data = bytearray(file_of([X, Y]))
    place = data.index(struct.pack("<Iii", 2, 1, 4))  # the shape of x or y
    data[place : place + 4] = struct.pack("<I", 2**31)
    with pytest.raises(ModelInvalid, match="a list of 2147483648 elements at byte"):
        read(tmp_path, bytes(data))


def test_more_axes_than_any_tensor_has_are_not_read(tmp_path: Path) -> None:
    """A small file can name one long list from each of many tensors, and take for ever to read."""
    with pytest.raises(ModelInvalid, match="a list has 40 elements where at most 16 have a use"):
        read(tmp_path, file_of([Tensor("x", (1,) * 40), Y]))


def test_whatever_byte_is_changed_a_file_is_read_or_refused(tmp_path: Path) -> None:
    good, chance = fully_connected(W, "int8"), random.Random(4)  # noqa: S311 - which bytes are changed
    ends = set()
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(chance.choice((1, 1, 2, 8))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.2:
            del data[chance.randrange(8, len(data)) :]
        if bytes(data[4:8]) != b"TFL3":
            continue
        try:
            ends.add(read(tmp_path, bytes(data)).format)
        except ModelInvalid as error:
            ends.add(type(error).__name__)
    assert ends == {"TFLite", "ModelInvalid"}


def material(facts: ModelFacts) -> Material:
    return Material(facts, None, {}, 1)


def test_litert_serves_a_tflite_file_as_it_came_and_nothing_else(tmp_path: Path) -> None:
    litert = toolchain_of("LiteRT")
    facts = read(tmp_path, fully_connected(W, "int8"))
    assert litert.refusal("int8", material(facts)) is None
    made = litert.compile("int8", material(facts), tmp_path)
    assert (made.engine, made.model_file, made.came, made.others) == ("litert", facts.path, True, ())
    assert "came in int8, and there is no fp32 form" in str(litert.refusal("fp32", material(facts)))
    other = toolchain_of("ONNXRuntime").refusal("int8", material(facts))
    assert other == "the model is a TFLite file, which ONNX Runtime does not run; an ONNX model was expected"


def test_a_file_for_the_edge_tpu_is_told_from_one_for_litert(tmp_path: Path) -> None:
    quantised = Tensor("x", (1, 4), "uint8", scale=0.1)
    facts = read(tmp_path, compiled_file_of(quantised, Y))
    assert (facts.engine, facts.precision) == ("edgetpu", "int8")
    assert "compiled for the Edge TPU" in str(toolchain_of("LiteRT").refusal("int8", material(facts)))
    own = tflite_file([quantised, Y], [Operator("CUSTOM", ["x"], ["y"], custom="own-op")], ["x"], ["y"])
    assert read(tmp_path, own).engine == "litert"


@pytest.mark.parametrize(
    ("name", "engine", "parameters"),
    [
        ("mobilenet_v2_1.0_224_quant.tflite", "litert", 3_489_099),
        ("mobilenet_v2_1.0_224_quant_edgetpu.tflite", "edgetpu", None),
    ],
)
def test_published_files_are_read(tmp_path: Path, name: str, engine: str, parameters: Any) -> None:
    if not (CORAL / name).is_file():
        pytest.skip(f"{name} is not beside the repository")
    shutil.copyfile(CORAL / name, tmp_path / "source")
    facts = read_source(tmp_path / "source", "s3://m/x")
    assert (facts.format, facts.engine, facts.precision) == ("TFLite", engine, "int8")
    assert parameters is None or facts.parameters == parameters
