"""Inference requests and answers as protobuf messages, their raw tensors left where they lie."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from google.protobuf.message import DecodeError

from edgesmith_runtime.codec.binary import from_raw, text_of, to_raw
from edgesmith_runtime.codec.classification import answered
from edgesmith_runtime.codec.parameters import FINAL, check_parameters
from edgesmith_runtime.codec.wire import WireError, fields, prefix
from edgesmith_runtime.errors import BadRequest
from edgesmith_runtime.protocol import inference_pb2 as messages
from edgesmith_runtime.signature import VERSION, InferRequest, ModelSignature
from edgesmith_runtime.tensors import DTYPES, TensorSpec, shape_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message
    from numpy.typing import NDArray

__all__ = ["decode_request", "encode_answer", "identity_of", "parse", "split_request"]

M = TypeVar("M", bound="Message")

_ID: Final = messages.ModelInferRequest.ID_FIELD_NUMBER
_RAW_INPUTS: Final = messages.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
_RAW_OUTPUTS: Final = messages.ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER

_FINAL: Final = "triton_final_response"

_FIELDS: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def parse(kind: type[M], data: bytes | memoryview) -> M:
    """Read a message.

    Args:
        kind: What it should be.
        data: Its bytes.

    Raises:
        BadRequest: They are no such message.
    """
    try:
        return kind.FromString(bytes(data))
    except DecodeError as error:
        raise BadRequest(f"the message is no {kind.DESCRIPTOR.name} in protobuf's wire format") from error


def split_request(data: bytes | memoryview) -> tuple[messages.ModelInferRequest, list[memoryview]]:
    """Read a request but for its raw tensors, which are found and not copied.

    Args:
        data: The request as it came.

    Returns:
        The request without ``raw_input_contents``, and these.

    Raises:
        BadRequest: It is no such message.
    """
    rest: list[memoryview] = []
    raw: list[memoryview] = []
    try:
        for number, whole, content in fields(memoryview(data)):
            if number == _RAW_INPUTS and content is not None:
                raw.append(content)
            else:
                rest.append(whole)
    except WireError as error:
        raise BadRequest(f"the message {error}") from error
    return parse(messages.ModelInferRequest, b"".join(rest)), raw


def identity_of(data: bytes | memoryview) -> str:
    """Find what a request is called by its client without reading it; empty where it is no request."""
    found: memoryview | None = None
    try:
        for number, _, content in fields(memoryview(data)):
            found = content if number == _ID else found
        return "" if found is None else str(found, "utf-8")
    except (WireError, UnicodeDecodeError):
        return ""


def decode_request(
    signature: ModelSignature, message: messages.ModelInferRequest, raw: Sequence[memoryview]
) -> InferRequest:
    """Check a request and take up its tensors.

    Args:
        signature: What the model accepts.
        message: The request without its raw tensors.
        raw: These.

    Raises:
        BadRequest: It does not fit the model.
    """
    if raw and len(raw) != len(message.inputs):
        raise BadRequest(f"raw_input_contents has {len(raw)} elements; expected {len(message.inputs)}, one an input")
    tensors: dict[str, NDArray[Any]] = {}
    for index, tensor in enumerate(message.inputs):
        spec, shape = signature.check_input(tensor.name, tensor.datatype, tensor.shape, tensor.parameters)
        if raw:
            if tensor.HasField("contents"):
                raise BadRequest(f"input {spec.name!r} has contents beside raw_input_contents; expected one of them")
            tensors[spec.name] = from_raw(spec, shape, raw[index])
        else:
            tensors[spec.name] = _typed(spec, shape, tensor.contents)
    signature.check_complete([tensor.name for tensor in message.inputs])
    asked = [
        signature.check_output(output.name, _plain(output.parameters) | {"binary_data": True}, binary=True)
        for output in message.outputs
    ]
    timeout = check_parameters(_plain(message.parameters), (FINAL,))
    return InferRequest(message.id, tensors, signature.check_outputs(asked, binary=True), timeout)


def encode_answer(
    signature: ModelSignature, request: InferRequest, answers: Mapping[str, NDArray[Any]], *, final: bool = False
) -> bytes:
    """Write an answer, its tensors in ``raw_output_contents``.

    Args:
        signature: The model's signature.
        request: What was asked.
        answers: The engine's outputs.
        final: Whether to say that no other answer to the request follows, as Triton does in a stream.
    """
    response = messages.ModelInferResponse(model_name=signature.name, model_version=VERSION, id=request.id)
    if final:
        response.parameters[_FINAL].bool_param = True
    parts: list[bytes | memoryview] = [b""]
    for asked in request.outputs:
        array, datatype = answered(signature, asked, answers[asked.name])
        response.outputs.add(name=asked.name, datatype=datatype, shape=array.shape)
        raw = to_raw(array, datatype)
        parts += (prefix(_RAW_OUTPUTS, len(raw)), raw)
    parts[0] = response.SerializeToString()
    return b"".join(parts)


def _typed(spec: TensorSpec, shape: tuple[int, ...], contents: messages.InferTensorContents) -> NDArray[Any]:
    field = _FIELDS.get(spec.datatype)
    if field is None:
        raise BadRequest(f"input {spec.name!r} is {spec.datatype}, which contents cannot carry; use raw_input_contents")
    for descriptor, _ in contents.ListFields():
        if descriptor.name != field:
            raise BadRequest(f"input {spec.name!r} has {descriptor.name}; expected {field} for {spec.datatype}")
    elements = getattr(contents, field)
    if len(elements) != math.prod(shape):
        raise BadRequest(
            f"input {spec.name!r} has {len(elements)} elements of data; expected {math.prod(shape)} for shape "
            f"{shape_text(shape)}"
        )
    if spec.datatype == "BYTES":
        array: NDArray[Any] = np.empty(len(elements), dtype=np.object_)
        array[:] = [text_of(spec.name, index, item) for index, item in enumerate(elements)]
        return array.reshape(shape)
    try:
        return np.array(list(elements), dtype=DTYPES[spec.datatype]).reshape(shape)
    except OverflowError as error:
        raise BadRequest(f"input {spec.name!r} has a number outside the range of {spec.datatype}") from error


def _plain(parameters: Mapping[str, messages.InferParameter]) -> dict[str, Any]:
    return {
        name: getattr(value, value.WhichOneof("parameter_choice") or "", None) for name, value in parameters.items()
    }
