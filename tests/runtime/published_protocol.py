"""What the Open Inference Protocol's own files say, as facts: paths, messages, fields, types and what is required.

Of https://github.com/kserve/open-inference-protocol, `specification/protocol/`: open_inference_rest.yaml at commit
18d5991e9e45d291f53103cc79e13ecc6212ffae and open_inference_grpc.proto at 29ca333e3a6f86e2232108850a170696e28e256f.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

REST: Final[dict[tuple[str, str], dict[str, str]]] = {
    ("get", "/v2/health/live"): {"200": ""},
    ("get", "/v2/health/ready"): {"200": ""},
    ("get", "/v2/models/{model}/versions/{version}/ready"): {"200": ""},
    ("get", "/v2/"): {"200": "metadata_server_response", "400": "metadata_server_error_response"},
    ("get", "/v2/models/{model}/versions/{version}"): {"200": "metadata_model_response"},
    ("post", "/v2/models/{model}/versions/{version}/infer"): {
        "request": "inference_request",
        "200": "inference_response",
        "400": "inference_error_response",
    },
}
"""By method and path, with our placeholders: the schema of the request and of each status; empty: there is none."""


@dataclass(frozen=True)
class Field:
    """A field of a JSON object.

    Attributes:
        kind: A JSON type, or the schema of an object.
        required: Whether it must be there.
        items: What an array's elements are, likewise; empty where it is none, `any` where they are of several kinds.
    """

    kind: str
    required: bool = False
    items: str = ""


def _text(*, required: bool = False) -> Field:
    return Field("string", required)


def _list(items: str, *, required: bool = False) -> Field:
    return Field("array", required, items)


_PARAMETERS = Field("object")
_ERROR = {"error": _text(required=True)}
_TENSOR = {
    "name": _text(required=True),
    "datatype": _text(required=True),
    "shape": _list("integer", required=True),
}
_DATA = {"parameters": _PARAMETERS, "data": _list("any", required=True)}

SCHEMAS: Final[dict[str, dict[str, Field]]] = {
    "metadata_server_response": {
        "name": _text(required=True),
        "version": _text(required=True),
        "extensions": _list("string", required=True),
    },
    "metadata_server_error_response": _ERROR,
    "metadata_model_response": {
        "name": _text(required=True),
        "versions": _list("string"),
        "platform": _text(required=True),
        "inputs": _list("metadata_tensor"),
        "outputs": _list("metadata_tensor"),
    },
    "metadata_tensor": _TENSOR,
    "inference_request": {
        "id": _text(),
        "parameters": _PARAMETERS,
        "inputs": _list("request_input", required=True),
        "outputs": _list("request_output"),
    },
    "request_input": _TENSOR | _DATA,
    "request_output": {"name": _text(required=True), "parameters": _PARAMETERS},
    "response_output": _TENSOR | _DATA,
    "inference_response": {
        "model_name": _text(required=True),
        "model_version": _text(),
        "id": _text(),
        "parameters": _PARAMETERS,
        "outputs": _list("response_output", required=True),
    },
    "inference_error_response": {"error": _text()},
}

CALLS: Final = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")
"""Of GRPCInferenceService: each takes a message called Request behind its name and answers one called Response."""

MESSAGES: Final[dict[str, str]] = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live 1 bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready 1 bool",
    "ModelReadyRequest": "name 1 string, version 2 string",
    "ModelReadyResponse": "ready 1 bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name 1 string, version 2 string, extensions 3 repeated string",
    "ModelMetadataRequest": "name 1 string, version 2 string",
    "ModelMetadataResponse": "name 1 string, versions 2 repeated string, platform 3 string, "
    "inputs 4 repeated ModelMetadataResponse.TensorMetadata, outputs 5 repeated ModelMetadataResponse.TensorMetadata",
    "ModelMetadataResponse.TensorMetadata": "name 1 string, datatype 2 string, shape 3 repeated int64",
    "ModelInferRequest": "model_name 1 string, model_version 2 string, id 3 string, parameters 4 map InferParameter, "
    "inputs 5 repeated ModelInferRequest.InferInputTensor, "
    "outputs 6 repeated ModelInferRequest.InferRequestedOutputTensor, raw_input_contents 7 repeated bytes",
    "ModelInferRequest.InferInputTensor": "name 1 string, datatype 2 string, shape 3 repeated int64, "
    "parameters 4 map InferParameter, contents 5 InferTensorContents",
    "ModelInferRequest.InferRequestedOutputTensor": "name 1 string, parameters 2 map InferParameter",
    "ModelInferResponse": "model_name 1 string, model_version 2 string, id 3 string, parameters 4 map InferParameter, "
    "outputs 5 repeated ModelInferResponse.InferOutputTensor, raw_output_contents 6 repeated bytes",
    "ModelInferResponse.InferOutputTensor": "name 1 string, datatype 2 string, shape 3 repeated int64, "
    "parameters 4 map InferParameter, contents 5 InferTensorContents",
    "InferParameter": "bool_param 1 oneof bool, int64_param 2 oneof int64, string_param 3 oneof string, "
    "double_param 4 oneof double, uint64_param 5 oneof uint64",
    "InferTensorContents": "bool_contents 1 repeated bool, int_contents 2 repeated int32, "
    "int64_contents 3 repeated int64, uint_contents 4 repeated uint32, uint64_contents 5 repeated uint64, "
    "fp32_contents 6 repeated float, fp64_contents 7 repeated double, bytes_contents 8 repeated bytes",
}
"""By message: each field's name, number, and type; `map X` has texts for keys and X for values."""
