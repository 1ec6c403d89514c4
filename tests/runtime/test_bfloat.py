"""BF16: as ml_dtypes has it, and as it travels and is computed with."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from hypothesis import given
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from edgesmith_runtime.bfloat import halves as halved
from edgesmith_runtime.bfloat import rounded, whole
from edgesmith_runtime.bundle import Bundle
from edgesmith_runtime.engine import EngineError, load_engine
from edgesmith_runtime.golden import Golden
from edgesmith_runtime.triton.repository import Fitting, config_text
from tests.runtime.test_clients import BOTH, connect

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from tests.runtime.conftest import Server, StartServer

EDGES = np.array(
    [*(0, -0.0, 1, -1, 1.00390625, 1.01171875, 1.001953125, 3.3895314e38, 3.3961776e38, 3.4028235e38, 1e-45, 1e-40),
     *(np.inf, -np.inf, np.nan)],
    np.float32,
)  # fmt: skip


def same(ours: NDArray[np.uint16], theirs: NDArray[np.float32]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        bits = theirs.astype(ml_dtypes.bfloat16).view(np.uint16)
    numbers = ~np.isnan(theirs)
    np.testing.assert_array_equal(ours[numbers], bits[numbers])
    assert np.isnan(whole(ours[~numbers])).all()


def test_edges_are_rounded_as_by_ml_dtypes() -> None:
    same(halved(EDGES), EDGES)


@given(arrays.arrays(np.uint32, 50))
def test_any_bits_are_rounded_as_by_ml_dtypes(bits: NDArray[np.uint32]) -> None:
    same(halved(bits.view(np.float32)), bits.view(np.float32))


def test_every_bf16_comes_back() -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    numbers = whole(bits)
    np.testing.assert_array_equal(halved(numbers)[~np.isnan(numbers)], bits[~np.isnan(numbers)])
    np.testing.assert_array_equal(rounded(numbers), numbers)


@pytest.fixture(scope="module")
def server(halves: Bundle, start_module_server: StartServer) -> Server:
    """A server that answered its golden samples, so that these are BF16, too."""
    return start_module_server(halves.folder)


X = np.array([[1, -2.5], [3.389e38, 0.1], [1e-40, -0.0]], np.float32)


@BOTH
def test_clients_send_and_read_it(library: ModuleType, server: Server) -> None:
    given_input = library.InferInput("x", [3, 2], "BF16")
    sent = rounded(X)
    given_input.set_data_from_numpy(sent.astype(ml_dtypes.bfloat16))
    with closing(connect(library, server)) as client:
        answer = client.infer("halves", [given_input])
    expected = {"y": sent, "wide": sent, "relu": np.maximum(sent, 0)}
    for name, array in expected.items():
        np.testing.assert_array_equal(answer.as_numpy(name).astype(np.float32), array)
    output = answer.get_output("y")
    assert (output["datatype"] if isinstance(output, dict) else output.datatype) == "BF16"


def test_as_json_the_nearest_is_taken(server: Server) -> None:
    library = tritonclient.http
    given_input = library.InferInput("x", [1, 2], "BF16")
    given_input._data = [1.00390625, 0.1]  # the first is half-way between 1 and the next BF16
    outputs = [library.InferRequestedOutput(name, binary_data=False) for name in ("y", "wide")]
    with closing(connect(library, server)) as client:
        answer = client.infer("halves", [given_input], outputs=outputs)
    for name in ("y", "wide"):
        assert answer.get_output(name)["data"] == [1, 0.100097656]


@pytest.mark.parametrize("size", [3, 8])
def test_another_number_of_bytes_is_refused(server: Server, size: int) -> None:
    messages = tritonclient.grpc.service_pb2
    request = messages.ModelInferRequest(model_name="halves", raw_input_contents=[bytes(size)])
    request.inputs.add(name="x", datatype="BF16", shape=[1, 2])
    with (
        closing(connect(tritonclient.grpc, server)) as client,
        pytest.raises(tritonclient.grpc.grpc.RpcError, match=rf"{size} bytes of data; expected 4 for BF16 \[1,2\]"),
    ):
        client._client_stub.ModelInfer(request)


def test_engines_take_fp32_for_it(halves: Bundle) -> None:
    engine = load_engine("onnxruntime", halves.model_path, threads=1)
    found = engine.infer({"x": X}, ["relu", "y"])
    assert list(found) == ["relu", "y"]
    np.testing.assert_array_equal(found["y"], rounded(X))
    empty = engine.infer({"x": np.empty((0, 2), np.float32)}, ["y"])["y"]
    assert empty.shape == (0, 2)
    assert empty.dtype == np.float32
    wrong: Any = np.zeros((1, 2), np.float64)
    with pytest.raises(EngineError, match=r"'x' is FP64 \[1,2\]; expected BF16 \[-1,2\]"):
        engine.infer({"x": wrong})


def test_triton_does_not_serve_it(halves: Bundle, tmp_path: Path) -> None:
    golden = Golden.read(*halves.golden_paths)
    with pytest.raises(EngineError, match="'x' is BF16; expected another datatype to serve it with Triton"):
        config_text(halves, golden, Fitting(threads=1, max_batch=8, cache=tmp_path))
