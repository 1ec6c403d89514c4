"""Requests and answers as they travel: what is taken, what is refused and with which sentence."""

from __future__ import annotations

import json
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from tritonclient.http import InferResult

from edgesmith_runtime.bfloat import rounded
from edgesmith_runtime.codec.binary import from_raw, to_raw
from edgesmith_runtime.codec.http import LARGEST_JSON, decode_request, encode_answer
from edgesmith_runtime.codec.jsondata import from_json, to_json
from edgesmith_runtime.errors import AnswerFailed, BadRequest, TooLarge
from edgesmith_runtime.signature import InferRequest, ModelSignature, RequestedOutput
from edgesmith_runtime.tensors import DTYPES, TensorSpec

SPECS = {
    "x": TensorSpec("x", "FP32", (-1, 2)),
    "k": TensorSpec("k", "INT8", (2,)),
    "s": TensorSpec("s", "BYTES", (-1,)),
    "b": TensorSpec("b", "BOOL", (1,)),
}
OUTPUTS = {"y": TensorSpec("y", "FP32", (-1, 2)), "t": TensorSpec("t", "BYTES", (-1,))}


def signature(*names: str) -> ModelSignature:
    return ModelSignature("m", "onnxruntime_onnx", {name: SPECS[name] for name in names}, OUTPUTS, ("zero",))


def request(*inputs: dict[str, Any], **fields: Any) -> memoryview:
    return memoryview(json.dumps({"inputs": inputs} | fields).encode())


X: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
XB: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
K: dict[str, Any] = {"name": "k", "datatype": "INT8", "shape": [2], "data": [1, 2]}
S: dict[str, Any] = {"name": "s", "datatype": "BYTES", "shape": [1], "data": ["a"]}
B: dict[str, Any] = {"name": "b", "datatype": "BOOL", "shape": [1], "data": [True]}

REFUSED: dict[str, tuple[memoryview | bytes, str]] = {
    "no JSON": (b"{", "the body is not JSON"),
    "an empty body": (b"", "the body is not JSON"),
    "a list": (b"[]", "the body is not a JSON object"),
    "deep nesting": (b"[" * 200_000, "nested too deeply"),
    "not UTF-8": (b'{"\xff"', "not UTF-8 at byte 2"),
    "a NaN literal": (b'{"inputs":[NaN]}', "NaN is no number in JSON"),
    "an Infinity literal": (b'{"inputs":[-Infinity]}', "-Infinity is no number in JSON"),
    "no inputs": (b"{}", "inputs is missing; expected a list of objects"),
    "inputs that are an object": (b'{"inputs":{}}', "inputs is something else; expected a list of objects"),
    "an input that is a number": (b'{"inputs":[1]}', "inputs is something else; expected a list of objects"),
    "an empty list of inputs": (request(), "input 'x' is missing; expected 'x'"),
    "an unknown input": (request(X | {"name": "z"}), "input 'z' is not one of the model's; expected 'x'"),
    "an input without a name": (request({"data": []} | {"shape": []}), "input None is not one of the model's"),
    "an input with a list for a name": (request(X | {"name": ["x"]}), "input ['x'] is not one of the model's"),
    "an input twice": (request(X, X), "input 'x' is given 2 times; expected once"),
    "another datatype": (request(X | {"datatype": "FP64"}), "input 'x' has datatype 'FP64'; expected FP32"),
    "another rank": (request(X | {"shape": [2]}), "input 'x' has shape [2]; expected [-1,2]"),
    "another size": (request(X | {"shape": [1, 3]}), "input 'x' has shape [1,3]; expected [-1,2]"),
    "a negative size": (request(X | {"shape": [-1, 2]}), "input 'x' has shape [-1, 2]; expected whole numbers"),
    "a fraction for a size": (request(X | {"shape": [1.0, 2]}), "input 'x' has shape [1.0, 2]; expected whole numbers"),
    "a truth for a size": (request(X | {"shape": [True, 2]}), "input 'x' has shape [True, 2]; expected whole numbers"),
    "a shape that is no list": (request(X | {"shape": 2}), "input 'x' has shape 2; expected a list of sizes"),
    "a huge shape": (request(X | {"shape": [2**39, 2]}), f"has 2 elements of data; expected {2**40}"),
    "a shape beyond counting": (
        request(X | {"shape": [2**70, 2], "data": []}),
        "input 'x' has shape [1180591620717411303424, 2]; expected at most 2^40 elements",
    ),
    "a shape beyond counting, and empty": (
        request(X | {"shape": [2**62, 0], "data": []}),
        "input 'x' has shape [4611686018427387904, 0]; expected at most 2^40 elements",
    ),
    "a shape without end": (
        request(X | {"shape": [2**62] * 200_000, "data": []}),
        "input 'x' has a shape of 200000 sizes; expected [-1,2]",
    ),
    "a name without end": (request(X | {"name": "x" * 100_000}), "is not one of the model's; expected 'x'"),
    "a name without end of an output": (
        request(X, outputs=[{"name": "x" * 100_000, "parameters": 1}]),
        "has parameters that are no object",
    ),
    "a name that is deep": (
        b'{"inputs":[{"name":' + b"[" * 900 + b"]" * 900 + b"}]}",
        "input [[[[...]]]] has shape None; expected a list of sizes",
    ),
    "a shape that is long": (request(X | {"shape": [-1] * 32}), "has shape [-1, -1, -1, -1, -1, -1, -1, -1, ...]"),
    "more lists than a request needs": (b"[" + b"[]," * 2**18 + b"[]]", "the JSON has more than 262144 lists and obje"),
    "no data": (request({k: v for k, v in X.items() if k != "data"}), "input 'x' has no data; expected a list"),
    "data that is a number": (request(X | {"data": 1}), "input 'x' has data that is a number (int); expected a list"),
    "too few elements": (request(X | {"data": [1]}), "input 'x' has 1 elements of data; expected 2 for shape [1,2]"),
    "too many elements": (request(X | {"data": [1, 2, 3]}), "input 'x' has 3 elements of data; expected 2"),
    "null among numbers": (request(X | {"data": [1, None]}), "input 'x' has null in its data at 1; expected numbers"),
    "a string among numbers": (request(X | {"data": ["1", 2]}), "input 'x' has a string in its data at 0"),
    "a truth among numbers": (request(X | {"data": [1, True]}), "input 'x' has a boolean in its data at 1"),
    "a list among numbers": (request(X | {"data": [1, [2]]}), "input 'x' has a list in its data at 1"),
    "a number among lists": (request(X | {"data": [[1, 2], 3]}), "nested otherwise than its shape [1,2]"),
    "lists nested otherwise": (request(X | {"data": [[1], [2]]}), "nested otherwise than its shape [1,2]"),
    "ragged lists": (request(X | {"shape": [2, 2], "data": [[1, 2, 3], [4]]}), "nested otherwise than its shape [2,2]"),
    "lists nested too deeply": (request(X | {"data": [[[1], [2]]]}), "input 'x' has a list in its data at 0"),
    "a number over FP32": (request(X | {"data": [1, 1e39]}), "input 'x' has 1e+39 in its data at 1; expected a number"),
    "a number over FP64": (b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,1e999]}]}', "has inf in"),
    "an integer over FP64": (request(X | {"data": [1, 10**400]}), "a number outside the range of FP32"),
    "data twice": (request(X | XB), "input 'x' has both data and binary_data_size; expected one of them"),
    "binary data that is missing": (request(XB), "has binary_data_size 8; expected at most the 0 bytes left"),
    "binary data of a negative size": (
        request(X | {"parameters": {"binary_data_size": -8}}),
        "has binary_data_size -8; expected a whole number from 0",
    ),
    "parameters that are a list": (request(X | {"parameters": []}), "input 'x' has parameters that are no object"),
    "shared memory": (
        request(X | {"parameters": {"shared_memory_region": "r"}}),
        "input 'x' lies in shared memory, which is not supported",
    ),
    "an unknown output": (
        request(X, outputs=[{"name": "z"}]),
        "output 'z' is not one of the model's; expected 'y', 't'",
    ),
    "an output twice": (request(X, outputs=[{"name": "y"}] * 2), "output 'y' is asked for 2 times; expected once"),
    "an odd binary_data": (
        request(X, outputs=[{"name": "y", "parameters": {"binary_data": 1}}]),
        "output 'y' has binary_data 1; expected true or false",
    ),
    "an odd binary_data_output": (
        request(X, parameters={"binary_data_output": "yes"}),
        "binary_data_output is 'yes'; expected true or false",
    ),
    "an odd classification": (
        request(X, outputs=[{"name": "y", "parameters": {"classification": -1}}]),
        "output 'y' has classification -1; expected a whole number from 0 to 1000",
    ),
    "a classification without end": (
        request(X, outputs=[{"name": "y", "parameters": {"classification": 10**9}}]),
        "output 'y' has classification 1000000000; expected a whole number from 0 to 1000",
    ),
    "classification of text": (
        request(X, outputs=[{"name": "t", "parameters": {"classification": 1}}]),
        "output 't' is BYTES; expected numbers for classification",
    ),
    "an id that is a number": (request(X, id=7), "id is 7; expected a string"),
}


@pytest.mark.parametrize(("body", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(body: memoryview | bytes, expected: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_request(signature("x"), memoryview(body), None)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("given_input", "name", "expected"),
    [
        (K | {"data": [1, 128]}, "k", "input 'k' has a number outside the range of INT8"),
        (K | {"data": [1, 1.0]}, "k", "input 'k' has a number (float) in its data at 1; expected whole numbers"),
        (S | {"data": [1]}, "s", "input 's' has a number (int) in its data at 0; expected strings"),
        (S | {"data": ["\ud800"]}, "s", "input 's' has a lone surrogate in its data at 0; expected Unicode text"),
        (B | {"data": [1]}, "b", "input 'b' has a number (int) in its data at 0; expected true or false"),
    ],
)
def test_refused_elements(given_input: dict[str, Any], name: str, expected: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_request(signature(name), request(given_input), None)
    assert expected in str(caught.value)


def test_the_json_part_is_bounded() -> None:
    with pytest.raises(TooLarge, match="send tensors as binary data"):
        decode_request(signature("x"), memoryview(b" " * (LARGEST_JSON + 1)), None)


def _binary(head: memoryview, *tensors: bytes) -> tuple[memoryview, int]:
    return memoryview(bytes(head) + b"".join(tensors)), len(head)


@pytest.mark.parametrize(
    ("head", "tail", "expected"),
    [
        (XB | {"parameters": {"binary_data_size": 7}}, b"1234567", "has 7 bytes of data; expected 8 for FP32 [1,2]"),
        (XB, b"123456789", "the body has 1 bytes after its last tensor; expected none"),
        (XB, b"1234", "has binary_data_size 8; expected at most the 4 bytes left in the body"),
    ],
)
def test_refused_binary(head: dict[str, Any], tail: bytes, expected: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_request(signature("x"), *_binary(request(head), tail))
    assert expected in str(caught.value)


def test_a_header_longer_than_the_body_is_refused() -> None:
    with pytest.raises(BadRequest, match="Inference-Header-Content-Length is 99; expected at most the body's 2 bytes"):
        decode_request(signature("x"), memoryview(b"{}"), 99)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (struct.pack("<I", 5) + b"abc", "input 's' ends inside element 0"),
        (b"\1\0", "input 's' ends inside element 0"),
        (struct.pack("<I", 1) + b"a" + b"\1\0", "input 's' ends inside element 1"),
        (b"", "input 's' has 0 elements of data; expected 1"),
        ((struct.pack("<I", 1) + b"a") * 2, "input 's' has data behind its last element; expected 1"),
        (struct.pack("<I", 1) + b"\xff", "input 's' is not UTF-8 in element 0"),
    ],
)
def test_refused_text(data: bytes, expected: str) -> None:
    with pytest.raises(BadRequest) as caught:
        from_raw(SPECS["s"], (1,), memoryview(data))
    assert expected in str(caught.value)


def test_a_bare_tensor_takes_its_shape_from_its_size() -> None:
    body = np.arange(6, dtype="<f4").tobytes()
    asked = decode_request(signature("x"), memoryview(body), 0)
    assert asked.inputs["x"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert [output.binary for output in asked.outputs] == [True, True]


@pytest.mark.parametrize(
    ("names", "size", "expected"),
    [
        (("x",), 12, "input 'x' has 3 elements; expected a whole multiple of 2 for shape [-1,2]"),
        (("x",), 7, "input 'x' has 7 bytes of data; expected a whole multiple of 4"),
        (("k",), 3, "input 'k' has 3 elements; expected 2 for shape [2]"),
        (("x", "k"), 8, "the model has 2 inputs; expected one when a request has no JSON header"),
    ],
)
def test_refused_bare_tensors(names: tuple[str, ...], size: int, expected: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_request(signature(*names), memoryview(bytes(size)), 0)
    assert expected in str(caught.value)


def test_bare_text_is_one_element() -> None:
    assert decode_request(signature("s"), memoryview(b"hello"), 0).inputs["s"].tolist() == ["hello"]


def test_aligned_bytes_are_not_copied() -> None:
    memory = np.zeros(64, np.uint8)
    offset = -memory.ctypes.data % 8
    array = from_raw(SPECS["x"], (2, 2), memory[offset : offset + 16].data)
    assert np.shares_memory(array, memory)


def test_bytes_out_of_place_are_moved() -> None:
    memory = np.zeros(64, np.uint8)
    offset = -memory.ctypes.data % 8 + 1
    assert from_raw(SPECS["x"], (2, 2), memory[offset : offset + 16].data).flags.aligned


def test_classes_are_named_best_first() -> None:
    asked = InferRequest("", {}, (RequestedOutput("y", binary=False, classes=3),))
    parts, length = encode_answer(signature("x"), asked, {"y": np.array([[0.25, 0.75], [1, 1]], np.float32)})
    assert length is None
    output = json.loads(bytes(parts[0]))["outputs"][0]
    assert output == {
        "name": "y",
        "datatype": "BYTES",
        "shape": [2, 2],
        "data": ["0.750000:1", "0.250000:0:zero", "1.000000:0:zero", "1.000000:1"],
    }


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, NDArray[Any]]:
    """A datatype with an array of it, infinities and NaN left out."""
    datatype = draw(st.sampled_from(sorted(DTYPES)))
    shape = draw(SHAPES)
    if datatype == "BYTES":
        count = int(np.prod(shape))
        array = np.empty(count, np.object_)
        array[:] = draw(st.lists(TEXT, min_size=count, max_size=count))
        return datatype, array.reshape(shape)
    dtype = DTYPES[datatype]
    elements = None if dtype.kind != "f" else arrays.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    array = draw(arrays.arrays(dtype, shape, elements=elements))
    return datatype, np.nan_to_num(rounded(array), posinf=0, neginf=0) if datatype == "BF16" else array


@given(tensors())
def test_raw_bytes_round_trip(tensor: tuple[str, NDArray[Any]]) -> None:
    datatype, array = tensor
    again = from_raw(TensorSpec("x", datatype, array.shape), array.shape, memoryview(to_raw(array, datatype)))
    np.testing.assert_array_equal(again, array)
    assert again.dtype == array.dtype


def test_more_texts_than_are_asked_for_take_no_memory() -> None:
    data = memoryview((struct.pack("<I", 1) + b"a") * 1_200_000)
    tracemalloc.start()
    try:
        with pytest.raises(BadRequest, match="has data behind its last element; expected 1"):
            from_raw(SPECS["s"], (1,), data)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_texts_that_an_engine_answers_as_bytes_are_texts_in_json() -> None:
    answered = np.array(["grüße".encode(), "ok", b""], np.object_)
    assert json.loads(b"".join(to_json("x", answered))) == ["grüße", "ok", ""]
    with pytest.raises(AnswerFailed, match="not UTF-8; expected a request for binary data"):
        b"".join(to_json("x", np.array([b"\xff"], np.object_)))


@given(tensors(), st.booleans())
def test_json_round_trips_flat_and_nested(tensor: tuple[str, NDArray[Any]], nested: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    datatype, array = tensor
    flat = json.loads(b"".join(to_json("x", array)))
    data = json.loads(json.dumps(array.tolist())) if nested and array.ndim else flat
    if nested and 0 in array.shape:
        data = flat
    again = from_json(TensorSpec("x", datatype, array.shape), array.shape, data)
    np.testing.assert_array_equal(again, array)
    assert again.dtype == array.dtype


@pytest.mark.parametrize("shape", [(0, 4), (2, 0), (0,)])
def test_nothing_cannot_be_classified(shape: tuple[int, ...]) -> None:
    asked = InferRequest("", {}, (RequestedOutput("y", binary=False, classes=1),))
    with pytest.raises(BadRequest, match="has nothing to classify; expected scores"):
        encode_answer(signature("x"), asked, {"y": np.empty(shape, np.float32)})


def test_the_classes_named_are_bounded() -> None:
    asked = InferRequest("", {}, (RequestedOutput("y", binary=False, classes=1000),))
    with pytest.raises(BadRequest, match="1000 classes of 1000 samples are over 65536; expected fewer at once"):
        encode_answer(signature("x"), asked, {"y": np.zeros((1000, 100), np.float32)})
    parts, _ = encode_answer(signature("x"), asked, {"y": np.zeros((100, 100), np.float32)})
    assert len(json.loads(b"".join(parts))["outputs"][0]["data"]) == 10_000


@given(st.lists(st.tuples(tensors(), st.booleans()), min_size=1, max_size=5))
def test_tritonclient_reads_every_answer(given_outputs: list[tuple[tuple[str, NDArray[Any]], bool]]) -> None:
    answers = {f"o{index}": array for index, ((_, array), _) in enumerate(given_outputs)}
    outputs = tuple(RequestedOutput(f"o{index}", binary) for index, (_, binary) in enumerate(given_outputs))
    parts, length = encode_answer(signature("x"), InferRequest("7", {}, outputs), answers)
    result = InferResult.from_response_body(b"".join(parts), header_length=length)
    for name, array in answers.items():
        found = result.as_numpy(name)
        if array.dtype.kind == "O":
            texts = [item.decode() if isinstance(item, bytes) else item for item in found.ravel()]
            assert texts == list(array.ravel())
            assert found.shape == array.shape
        else:
            np.testing.assert_array_equal(found, array)
            assert found.dtype == array.dtype
    assert result.get_response()["id"] == "7"


@given(st.binary(max_size=200), st.one_of(st.none(), st.integers(0, 250)))
def test_any_bytes_are_answered_or_refused(body: bytes, header_length: int | None) -> None:
    try:
        decode_request(signature("x"), memoryview(body), header_length)
    except BadRequest as error:
        assert str(error)  # noqa: PT017 - either end is fine
