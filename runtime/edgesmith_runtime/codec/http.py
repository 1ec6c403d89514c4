"""Inference requests and answers as HTTP bodies: JSON, JSON with binary tensors behind it, or one bare tensor."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.codec.binary import element_size, from_raw, text_of, to_raw
from edgesmith_runtime.codec.classification import answered
from edgesmith_runtime.codec.jsondata import from_json, to_json
from edgesmith_runtime.codec.jsontext import alone, json_bytes, parsed
from edgesmith_runtime.codec.parameters import check_parameters
from edgesmith_runtime.errors import BadRequest, TooLarge, shown
from edgesmith_runtime.signature import VERSION, InferRequest, ModelSignature

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

__all__ = ["LARGEST_ANSWER", "LARGEST_JSON", "decode_request", "encode_answer"]

LARGEST_JSON: Final = 8 * 2**20
"""The longest JSON part of a request in bytes.

Python reads JSON without letting another thread run: this bounds how long one request can keep the health probes
waiting. Binary tensors have no such limit.
"""

LARGEST_ANSWER: Final = 16 * 2**20
"""The longest JSON part of an answer in bytes: some 1.5 million numbers. Binary tensors have no such limit."""

_WORTH_JOINING: Final = 64 * 1024


def decode_request(signature: ModelSignature, body: memoryview, header_length: int | None) -> InferRequest:
    """Read and check a request.

    Args:
        signature: What the model accepts.
        body: The whole body, inflated.
        header_length: The value of ``Inference-Header-Content-Length``: how many bytes of the body are JSON. ``None``
            says all of it, 0 none: the body is then the one input's raw data.

    Raises:
        BadRequest: The request is not well-formed, or does not fit the model.
        TooLarge: The JSON is longer than `LARGEST_JSON`.
    """
    if header_length == 0:
        return _bare(signature, body)
    length = len(body) if header_length is None else header_length
    if length > len(body):
        raise BadRequest(f"Inference-Header-Content-Length is {length}; expected at most the body's {len(body)} bytes")
    if length > LARGEST_JSON:
        raise TooLarge(f"the JSON is {length} bytes; expected at most {LARGEST_JSON}, send tensors as binary data")
    with alone(length):
        return _decode(signature, body[:length], body[length:])


def _decode(signature: ModelSignature, text: memoryview, rest: memoryview) -> InferRequest:
    document = _object(text)
    inputs = _list(document, "inputs", None)
    tensors: dict[str, NDArray[Any]] = {}
    names: list[str] = []
    for item in inputs:
        name, array, rest = _input(signature, item, rest)
        tensors[name] = array
        names.append(name)
    signature.check_complete(names)
    if len(rest):
        raise BadRequest(f"the body has {len(rest)} bytes after its last tensor; expected none")
    parameters = _parameters(document)
    timeout = check_parameters(parameters)
    binary = parameters.get("binary_data_output", False)
    if not isinstance(binary, bool):
        raise BadRequest(f"binary_data_output is {shown(binary)}; expected true or false")
    asked = [
        signature.check_output(item.get("name"), _parameters(item, "output"), binary=binary)
        for item in _list(document, "outputs", [])
    ]
    return InferRequest(_id(document), tensors, signature.check_outputs(asked, binary=binary), timeout)


def encode_answer(
    signature: ModelSignature, request: InferRequest, answers: Mapping[str, NDArray[Any]]
) -> tuple[list[bytes | memoryview], int | None]:
    """Write an answer.

    Args:
        signature: The model's signature.
        request: What was asked.
        answers: The engine's outputs.

    Returns:
        The body in parts, and the length of its JSON where binary tensors follow it.

    Raises:
        AnswerFailed: An output has no form in JSON, and was not asked for as binary data.
        BadRequest: The JSON would be longer than `LARGEST_ANSWER`, or an output has nothing to classify.
    """
    head = {"model_name": signature.name, "model_version": VERSION} | ({"id": request.id} if request.id else {})
    parts: list[bytes | memoryview] = [json_bytes(head)[:-1] + b',"outputs":[']
    tensors: list[bytes | memoryview] = []
    length = len(parts[0])
    for index, asked in enumerate(request.outputs):
        array, datatype = answered(signature, asked, answers[asked.name])
        entry: dict[str, Any] = {"name": asked.name, "datatype": datatype, "shape": list(array.shape)}
        if asked.binary:
            tensors.append(to_raw(array, datatype))
            entry["parameters"] = {"binary_data_size": memoryview(tensors[-1]).nbytes}
        texts: Iterable[bytes] = () if asked.binary else chain([b',"data":'], to_json(asked.name, array))
        for text in chain([(b"," if index else b"") + json_bytes(entry)[:-1]], texts, [b"}"]):
            parts.append(text)
            length += len(text)
            if length > LARGEST_ANSWER:
                raise BadRequest(f"output {asked.name!r} is too long for JSON; ask for it as binary data")
    parts.append(b"]}")
    length += 2
    if length < _WORTH_JOINING:
        parts = [b"".join(parts)]
    return [*parts, *tensors], length if tensors else None


def _bare(signature: ModelSignature, body: memoryview) -> InferRequest:
    if len(signature.inputs) != 1:
        raise BadRequest(
            f"the model has {len(signature.inputs)} inputs; expected one when a request has no JSON header"
        )
    spec = next(iter(signature.inputs.values()))
    if spec.datatype == "BYTES":
        # One element, which is the whole body.
        array: NDArray[Any] = np.empty(1, dtype=np.object_)
        array[0] = text_of(spec.name, 0, body)
        array = array.reshape(signature.raw_shape(spec, 1))
    else:
        size = element_size(spec.datatype)
        if len(body) % size:
            raise BadRequest(f"input {spec.name!r} has {len(body)} bytes of data; expected a whole multiple of {size}")
        array = from_raw(spec, signature.raw_shape(spec, len(body) // size), body)
    return InferRequest("", {spec.name: array}, signature.check_outputs([], binary=True))


def _input(signature: ModelSignature, item: dict[str, Any], rest: memoryview) -> tuple[str, NDArray[Any], memoryview]:
    name = item.get("name")
    parameters = _parameters(item, "input")
    shape = item.get("shape")
    if not isinstance(shape, list):
        raise BadRequest(f"input {shown(name)} has shape {shown(shape)}; expected a list of sizes")
    spec, sizes = signature.check_input(name, item.get("datatype"), shape, parameters)
    size = parameters.get("binary_data_size")
    if size is None:
        if "data" not in item:
            raise BadRequest(f"input {spec.name!r} has no data; expected a list, or a binary_data_size")
        return spec.name, from_json(spec, sizes, item["data"]), rest
    if type(size) is not int or size < 0:
        raise BadRequest(f"input {spec.name!r} has binary_data_size {shown(size)}; expected a whole number from 0")
    if "data" in item:
        raise BadRequest(f"input {spec.name!r} has both data and binary_data_size; expected one of them")
    if size > len(rest):
        raise BadRequest(
            f"input {spec.name!r} has binary_data_size {size}; expected at most the {len(rest)} bytes left in the body"
        )
    return spec.name, from_raw(spec, sizes, rest[:size]), rest[size:]


def _object(text: memoryview) -> dict[str, Any]:
    document = parsed(text)
    if not isinstance(document, dict):
        raise BadRequest("the body is not a JSON object; expected an inference request")
    return document


def _list(document: dict[str, Any], field: str, default: list[Any] | None) -> list[dict[str, Any]]:
    value = document.get(field, default)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadRequest(f"{field} is {'missing' if value is None else 'something else'}; expected a list of objects")
    return value


def _parameters(document: dict[str, Any], kind: str = "") -> dict[str, Any]:
    value = document.get("parameters", {})
    if not isinstance(value, dict):
        owner = f"{kind} {shown(document.get('name'))}" if kind else "the request"
        raise BadRequest(f"{owner} has parameters that are no object; expected names with values")
    return value


def _id(document: dict[str, Any]) -> str:
    value = document.get("id", "")
    if not isinstance(value, str):
        raise BadRequest(f"id is {shown(value)}; expected a string")
    return value
