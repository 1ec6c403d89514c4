"""tritonclient, unchanged, over HTTP and gRPC."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import ModuleType
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.service import EXTENSIONS
from tests.runtime.conftest import TYPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import Server, StartServer

BOTH = pytest.mark.parametrize("library", [tritonclient.http, tritonclient.grpc], ids=["http", "grpc"])


def connect(library: ModuleType, server: Server, **options: Any) -> Any:
    port = server.http if library is tritonclient.http else server.grpc
    return library.InferenceServerClient(f"127.0.0.1:{port}", **options)


def tensor(library: ModuleType, name: str, array: NDArray[Any], datatype: str, **options: Any) -> Any:
    made = library.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, **options)
    return made


@pytest.fixture(scope="module")
def slow_server(slow: Bundle, start_module_server: StartServer) -> Server:
    """A server of a model without a batch."""
    return start_module_server(slow.folder)


@pytest.fixture
def x() -> NDArray[Any]:
    return np.array([[1, -2, 3, -4], [0.5, 0, 0, 0]], np.float32)


@BOTH
def test_probes_and_metadata(library: ModuleType, toy_server: Server) -> None:
    with closing(connect(library, toy_server)) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("toy")
        assert client.is_model_ready("toy", "1")
        options = {} if library is tritonclient.http else {"as_json": True}
        server = client.get_server_metadata(**options)
        model = client.get_model_metadata("toy", **options)
    assert server["name"] == "edgesmith"
    assert server["extensions"] == list(EXTENSIONS)
    assert (model["name"], model["versions"], model["platform"]) == ("toy", ["1"], "onnxruntime_onnx")
    assert [entry["name"] for entry in model["inputs"]] == ["x"]
    assert [entry["name"] for entry in model["outputs"]] == ["relu", "softmax"]
    assert [int(size) for size in model["inputs"][0]["shape"]] == [-1, 4]


@BOTH
def test_the_configuration_is_tritons(library: ModuleType, types_server: Server, slow_server: Server) -> None:
    options = {} if library is tritonclient.http else {"as_json": True}

    def config_of(server: Server, name: str) -> Any:
        with closing(connect(library, server)) as client:
            answer = client.get_model_config(name, **options)
        return answer if library is tritonclient.http else answer["config"]

    config = config_of(types_server, "types")
    assert (config["name"], config["platform"], config["backend"]) == ("types", "onnxruntime_onnx", "onnxruntime")
    assert config["max_batch_size"] == 8
    assert [entry["data_type"].removeprefix("TYPE_") for entry in config["input"]] == [
        name.replace("BYTES", "STRING") for name in TYPES
    ]
    assert {tuple(map(int, entry["dims"])) for entry in config["input"] + config["output"]} == {(2,)}
    config = config_of(slow_server, "slow")
    assert config.get("max_batch_size", 0) == 0, "the model has no batch"
    assert [int(size) for size in config["input"][0]["dims"]] == [-1, -1]
    with pytest.raises(InferenceServerException, match="'other' is not served here"):
        config_of(slow_server, "other")


@BOTH
def test_another_model_is_not_ready(library: ModuleType, toy_server: Server) -> None:
    with closing(connect(library, toy_server)) as client:
        assert not client.is_model_ready("other")
        assert not client.is_model_ready("toy", "2")


@BOTH
def test_answers_are_the_engines_own(library: ModuleType, toy_server: Server, toy: Bundle, x: NDArray[Any]) -> None:
    expected = load_engine("onnxruntime", toy.model_path, threads=1).infer({"x": x})
    with closing(connect(library, toy_server)) as client:
        result = client.infer("toy", [tensor(library, "x", x, "FP32")], request_id="42")
    for name, array in expected.items():
        np.testing.assert_array_equal(result.as_numpy(name), array)
    response = result.get_response()
    assert (response["id"] if isinstance(response, dict) else response.id) == "42"


@BOTH
def test_outputs_are_chosen(library: ModuleType, toy_server: Server, x: NDArray[Any]) -> None:
    with closing(connect(library, toy_server)) as client:
        asked = [library.InferRequestedOutput("softmax", class_count=2), library.InferRequestedOutput("relu")]
        result = client.infer("toy", [tensor(library, "x", x, "FP32")], outputs=asked)
    assert [item.split(b":")[1:] for item in result.as_numpy("softmax")[0]] == [[b"2", b"c"], [b"0", b"a"]]
    assert result.as_numpy("relu").tolist() == np.maximum(x, 0).tolist()


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("packing", [None, "gzip", "deflate"])
def test_every_form_over_http(
    toy_server: Server,
    x: NDArray[Any],
    binary_in: bool,  # noqa: FBT001 - pytest gives it
    binary_out: bool,  # noqa: FBT001 - pytest gives it
    packing: str | None,
) -> None:
    x = np.repeat(x, 200, axis=0)
    with closing(connect(tritonclient.http, toy_server)) as client:
        result = client.infer(
            "toy",
            [tensor(tritonclient.http, "x", x, "FP32", binary_data=binary_in)],
            outputs=[tritonclient.http.InferRequestedOutput("relu", binary_data=binary_out)],
            request_compression_algorithm=packing,
            response_compression_algorithm=packing,
        )
    np.testing.assert_array_equal(result.as_numpy("relu"), np.maximum(x, 0))


@BOTH
def test_every_datatype(library: ModuleType, types_server: Server, examples: dict[str, NDArray[Any]]) -> None:
    inputs = [tensor(library, f"in_{name}", array, name) for name, array in examples.items()]
    with closing(connect(library, types_server)) as client:
        result = client.infer("types", inputs)
    for name, array in examples.items():
        found = result.as_numpy(f"out_{name}")
        if name == "BYTES":
            assert [item.decode() for item in found.ravel()] == list(array.ravel())
        else:
            np.testing.assert_array_equal(found, array)
            assert found.dtype == array.dtype


def test_every_datatype_as_json(types_server: Server, examples: dict[str, NDArray[Any]]) -> None:
    library = tritonclient.http
    inputs = [
        tensor(library, f"in_{name}", array, name, **({} if name == "FP16" else {"binary_data": False}))
        for name, array in examples.items()
    ]
    outputs = [library.InferRequestedOutput(f"out_{name}", binary_data=False) for name in examples]
    with closing(connect(library, types_server)) as client:
        result = client.infer("types", inputs, outputs=outputs)
    for name, array in examples.items():
        np.testing.assert_array_equal(result.as_numpy(f"out_{name}"), array)


FIELDS = {"BOOL": "bool", "INT64": "int64", "UINT64": "uint64", "FP32": "fp32", "FP64": "fp64", "BYTES": "bytes"}
FIELDS |= dict.fromkeys(("INT8", "INT16", "INT32"), "int") | dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint")


def typed_request(examples: dict[str, NDArray[Any]]) -> Any:
    """A request with an input for every datatype, each in the field of contents that the protocol gives it."""
    request = tritonclient.grpc.service_pb2.ModelInferRequest(model_name="types")
    for name, array in examples.items():
        given_input = request.inputs.add(name=f"in_{name}", datatype=name, shape=array.shape)
        if name in FIELDS:
            items = [item.encode() for item in array.ravel()] if name == "BYTES" else array.ravel().tolist()
            getattr(given_input.contents, f"{FIELDS[name]}_contents").extend(items)
    return request


def test_typed_contents_of_every_datatype(typed_server: Server, examples: dict[str, NDArray[Any]]) -> None:
    examples = {name: array for name, array in examples.items() if name in FIELDS}
    with closing(connect(tritonclient.grpc, typed_server)) as client:
        response = client._client_stub.ModelInfer(typed_request(examples))
    result = tritonclient.grpc.InferResult(response)
    for name, array in examples.items():
        found = result.as_numpy(f"out_{name}")
        expected = [item.encode() for item in array.ravel()] if name == "BYTES" else array.ravel().tolist()
        assert found.ravel().tolist() == expected


CONTENTS: dict[str, tuple[str, list[int], list[bytes], str]] = {
    "too few": ("int_contents", [1] * 5, [], "input 'in_INT8' has 5 elements of data; expected 6 for shape [3,2]"),
    "another field": (
        "int64_contents",
        [1] * 6,
        [],
        "input 'in_INT8' has int64_contents; expected int_contents for INT8",
    ),
    "out of range": ("int_contents", [1] * 5 + [128], [], "input 'in_INT8' has a number outside the range of INT8"),
    "raw beside typed": ("int_contents", [1] * 6, [b"123456"], "has contents beside raw_input_contents; expected one"),
    "too many raw": ("", [], [b"", b""], "raw_input_contents has 2 elements; expected 1, one an input"),
    "short raw": ("", [], [b"12345"], "input 'in_INT8' has 5 bytes of data; expected 6 for INT8 [3,2]"),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_contents_are_checked(types_server: Server, case: str) -> None:
    field, items, raw, expected = CONTENTS[case]
    request = tritonclient.grpc.service_pb2.ModelInferRequest(model_name="types", raw_input_contents=raw)
    given_input = request.inputs.add(name="in_INT8", datatype="INT8", shape=[3, 2])
    if field:
        getattr(given_input.contents, field).extend(items)
    with closing(connect(tritonclient.grpc, types_server)) as client, pytest.raises(grpc.RpcError) as caught:
        client._client_stub.ModelInfer(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert expected in str(caught.value.details())


def test_halves_have_no_typed_contents(types_server: Server, examples: dict[str, NDArray[Any]]) -> None:
    with (
        closing(connect(tritonclient.grpc, types_server)) as client,
        pytest.raises(grpc.RpcError, match="'in_FP16' is FP16, which contents cannot carry; use raw_input_contents"),
    ):
        client._client_stub.ModelInfer(typed_request(examples))


def test_typed_contents_over_grpc(toy_server: Server, x: NDArray[Any]) -> None:
    messages = tritonclient.grpc.service_pb2
    request = messages.ModelInferRequest(model_name="toy", outputs=[{"name": "relu"}])
    given_input = request.inputs.add(name="x", datatype="FP32", shape=x.shape)
    given_input.contents.fp32_contents.extend(x.ravel().tolist())
    with closing(connect(tritonclient.grpc, toy_server)) as client:
        response = client._client_stub.ModelInfer(request)
    assert np.frombuffer(response.raw_output_contents[0], "<f4").tolist() == np.maximum(x, 0).ravel().tolist()


@BOTH
def test_larger_batches_are_refused(
    library: ModuleType, types_server: Server, examples: dict[str, NDArray[Any]]
) -> None:
    def inputs(batch: int) -> list[Any]:
        return [tensor(library, f"in_{name}", np.resize(array, (batch, 2)), name) for name, array in examples.items()]

    with closing(connect(library, types_server)) as client:
        assert client.infer("types", inputs(8)).as_numpy("out_INT8").shape == (8, 2)
        with pytest.raises(
            InferenceServerException, match=r"a batch of 9; expected at most 8 \(serving.maxBatch\)"
        ) as caught:
            client.infer("types", inputs(9))
    assert caught.value.status() in {"400", "StatusCode.INVALID_ARGUMENT"}


ERRORS: dict[str, tuple[str, NDArray[Any], str, str]] = {
    "name": ("z", np.zeros((1, 4), np.float32), "FP32", "input 'z' is not one of the model's; expected 'x'"),
    "type": ("x", np.zeros((1, 4), np.float64), "FP64", "input 'x' has datatype 'FP64'; expected FP32"),
    "shape": ("x", np.zeros((1, 5), np.float32), "FP32", r"input 'x' has shape \[1,5\]; expected \[-1,4\]"),
}


@BOTH
@pytest.mark.parametrize("error", ERRORS)
def test_errors_arrive(library: ModuleType, toy_server: Server, error: str) -> None:
    name, array, datatype, expected = ERRORS[error]
    with (
        closing(connect(library, toy_server)) as client,
        pytest.raises(tritonclient.grpc.InferenceServerException, match=expected) as caught,
    ):
        client.infer("toy", [tensor(library, name, array, datatype)])
    assert caught.value.status() in {"400", "StatusCode.INVALID_ARGUMENT"}


@BOTH
def test_many_clients_at_once_get_their_own_answers(library: ModuleType, toy_server: Server) -> None:
    def ask(seed: int) -> bool:
        generator = np.random.default_rng(seed)
        with closing(connect(library, toy_server)) as client:
            for _ in range(20):
                x = generator.normal(size=(int(generator.integers(1, 50)), 4)).astype(np.float32)
                result = client.infer("toy", [tensor(library, "x", x, "FP32")])
                if not np.array_equal(result.as_numpy("relu"), np.maximum(x, 0)):
                    return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(16)))
