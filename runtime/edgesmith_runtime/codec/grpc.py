"""Inference requests and answers as protobuf messages."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.codec.binary import from_raw, text_of, to_raw
from edgesmith_runtime.codec.classification import best_classes
from edgesmith_runtime.errors import BadRequest
from edgesmith_runtime.protocol import inference_pb2 as messages
from edgesmith_runtime.signature import VERSION, InferRequest, ModelSignature
from edgesmith_runtime.tensors import DTYPES, TensorSpec, datatype_of, shape_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["decode_message", "encode_message"]

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


def decode_message(signature: ModelSignature, message: messages.ModelInferRequest) -> InferRequest:
    """Read and check a request.

    Args:
        signature: What the model accepts.
        message: The request.

    Raises:
        BadRequest: It does not fit the model.
    """
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise BadRequest(f"raw_input_contents has {len(raw)} elements; expected {len(message.inputs)}, one an input")
    tensors: dict[str, NDArray[Any]] = {}
    for index, tensor in enumerate(message.inputs):
        spec, shape = signature.check_input(tensor.name, tensor.datatype, tensor.shape, tensor.parameters)
        if raw:
            if tensor.HasField("contents"):
                raise BadRequest(f"input {spec.name!r} has contents beside raw_input_contents; expected one of them")
            tensors[spec.name] = from_raw(spec, shape, memoryview(raw[index]))
        else:
            tensors[spec.name] = _typed(spec, shape, tensor.contents)
    signature.check_complete([tensor.name for tensor in message.inputs])
    asked = [
        signature.check_output(output.name, _plain(output.parameters) | {"binary_data": True}, binary=True)
        for output in message.outputs
    ]
    return InferRequest(message.id, tensors, signature.check_outputs(asked, binary=True))


def encode_message(
    signature: ModelSignature, request: InferRequest, answers: Mapping[str, NDArray[Any]]
) -> messages.ModelInferResponse:
    """Write an answer, its tensors in ``raw_output_contents``."""
    response = messages.ModelInferResponse(model_name=signature.name, model_version=VERSION, id=request.id)
    for asked in request.outputs:
        array = answers[asked.name]
        if asked.classes:
            array = best_classes(array, asked.classes, signature.labels)
        response.outputs.add(name=asked.name, datatype=datatype_of(array) or "", shape=array.shape)
        response.raw_output_contents.append(bytes(to_raw(array)))
    return response


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
