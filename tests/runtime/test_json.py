"""JSON: what it cannot carry, how long it may be, and that long JSON leaves others their turn."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesmith_runtime.codec.http import decode_request, encode_answer
from edgesmith_runtime.codec.jsondata import from_json, to_json
from edgesmith_runtime.codec.jsontext import json_bytes
from edgesmith_runtime.errors import AnswerFailed, BadRequest
from edgesmith_runtime.signature import InferRequest, ModelSignature, RequestedOutput
from edgesmith_runtime.tensors import DTYPES, TensorSpec

SPEC = TensorSpec("x", "FP32", (-1, 2))
OUTPUT = TensorSpec("y", "FP32", (-1, 2))
SIGNATURE = ModelSignature("m", "onnxruntime_onnx", {"x": SPEC}, {"y": OUTPUT}, ())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_json_never_carries_what_it_cannot(value: float) -> None:
    with pytest.raises(
        AnswerFailed, match="output 'y' holds infinities or NaN, which JSON cannot carry; ask for it as b"
    ):
        b"".join(to_json("y", np.array([value], np.float32)))


@pytest.mark.parametrize("count", [2047, 2048, 2049, 5000])
@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT64", "UINT8", "BOOL", "BYTES"])
def test_a_long_tensor_is_written_in_parts(datatype: str, count: int) -> None:
    numbers = np.random.default_rng(1).normal(size=count) * 10.0 ** np.arange(count % 9, count % 9 + count).clip(-4, 4)
    array = numbers.astype(DTYPES[datatype]) if datatype != "BYTES" else numbers.astype(str).astype(object)
    parts = list(to_json("x", array))
    assert max(map(len, parts)) < 64 * 1024
    again = from_json(TensorSpec("x", datatype, (count,)), (count,), json.loads(b"".join(parts)))
    np.testing.assert_array_equal(again, array)


def test_a_json_answer_is_bounded() -> None:
    scores = {"y": np.full((2**20, 2), 1 / 3, np.float32)}
    with pytest.raises(BadRequest, match="output 'y' is too long for JSON; ask for it as binary data"):
        encode_answer(SIGNATURE, InferRequest("", {}, (RequestedOutput("y", binary=False),)), scores)
    parts, _ = encode_answer(SIGNATURE, InferRequest("", {}, (RequestedOutput("y", binary=True),)), scores)
    assert memoryview(parts[-1]).nbytes == 2**23


def test_the_collector_rests_while_long_json_is_read() -> None:
    seen: list[bool] = []

    class Watching(ModelSignature):
        def check_complete(self, given: Any) -> None:
            seen.append(gc.isenabled())
            super().check_complete(given)

    watching = Watching("m", "p", {"x": SPEC}, {"y": OUTPUT}, ())
    for rows in (40_000, 1):
        asked = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [rows, 2], "data": [1] * (2 * rows)}]}
        decode_request(watching, memoryview(json.dumps(asked).encode()), None)
    assert seen == [False, True]
    with pytest.raises(BadRequest):
        decode_request(watching, memoryview(b"{" + b" " * 100_000), None)
    assert gc.isenabled()


def turns_during(work: Callable[[], object]) -> int:
    """How often another thread gets to run while one works."""
    turns = 0
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        while not future.done():
            time.sleep(0.001)
            turns += 1
        future.result()
    return turns


NUMBERS = (
    b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1000000,2],"data":[' + b"1.5," * (2_000_000 - 1) + b"1]}]}"
)
ANSWER = InferRequest("", {}, (RequestedOutput("y", binary=False),))
LONG = {
    "reading": lambda: decode_request(SIGNATURE, memoryview(NUMBERS), None),
    "writing": lambda: encode_answer(SIGNATURE, ANSWER, {"y": np.full((2**19, 2), 1 / 3, np.float32)}),
}


@pytest.mark.parametrize("work", LONG.values(), ids=LONG.keys())
def test_long_json_leaves_others_their_turn(work: Callable[[], object]) -> None:
    """One that holds the interpreter leaves none however often it is tried; others may have the cores meanwhile."""
    assert any(turns_during(work) >= 15 for _ in range(10))


@given(
    st.recursive(
        st.text(st.characters(exclude_categories=[])),
        lambda deeper: st.lists(deeper) | st.dictionaries(st.text(st.characters(exclude_categories=[])), deeper),
    )
)
def test_any_text_can_be_written(document: Any) -> None:
    assert json.loads(json_bytes(document)) == json.loads(json.dumps(document))
