"""Tensors as JSON: a list in row-major order, flat or nested as the shape is."""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.bfloat import rounded
from edgesmith_runtime.codec.jsontext import json_bytes
from edgesmith_runtime.errors import AnswerFailed, BadRequest, shown
from edgesmith_runtime.tensors import DTYPES, TensorSpec, shape_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["from_json", "to_json"]

_KINDS: Final[dict[str, tuple[frozenset[type], str]]] = {
    "b": (frozenset({bool}), "true or false"),
    "u": (frozenset({int}), "whole numbers"),
    "i": (frozenset({int}), "whole numbers"),
    "f": (frozenset({int, float}), "numbers"),
    "O": (frozenset({str}), "strings"),
}
_SLICE: Final = 2048
"""Elements read or written at a time. Nothing else runs in the process meanwhile, for some 0.5 ms."""

_FORMS: Final = {"e": "%.5g", "f": "%.9g", "d": "%r"} | dict.fromkeys(np.typecodes["AllInteger"], "%d")
"""How numbers are written: as many digits as tell every two numbers of a type apart (IEEE 754-2019, 5.12.2)."""

_JSON_NAMES: Final = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}


def from_json(spec: TensorSpec, shape: tuple[int, ...], data: Any) -> NDArray[Any]:
    """Read a tensor.

    Args:
        spec: The input that the tensor is for.
        shape: Its shape, already held against the specification.
        data: What the JSON held.

    Raises:
        BadRequest: The data is no list, has another nesting or number of elements than the shape, or holds an element
            that the datatype cannot.
    """
    if not isinstance(data, list):
        raise BadRequest(f"input {spec.name!r} has data that is {_json_name(type(data))}; expected a list")
    flat = _flatten(spec, shape, data)
    count = math.prod(shape)
    if len(flat) != count:
        raise BadRequest(
            f"input {spec.name!r} has {len(flat)} elements of data; expected {count} for shape {shape_text(shape)}"
        )
    array: NDArray[Any] = np.empty(count, dtype=DTYPES[spec.datatype])
    for start in range(0, count, _SLICE):
        array[start : start + _SLICE] = _elements(spec, flat[start : start + _SLICE], start)
    return array.reshape(shape)


def to_json(name: str, array: NDArray[Any]) -> Iterator[bytes]:
    """Write a tensor as a flat list, in parts.

    A number reads back as the same number of its type. As JSON knows one kind of number only, 1.0 is written ``1``.

    Args:
        name: The output's name.
        array: Its answer.

    Raises:
        AnswerFailed: It holds infinities or NaN, which JSON has no form for.
    """
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise AnswerFailed(
            f"output {name!r} holds infinities or NaN, which JSON cannot carry; ask for it as binary data"
        )
    flat = array.ravel()
    form = _FORMS.get(array.dtype.char)
    yield b"["
    for start in range(0, flat.size, _SLICE):
        elements = flat[start : start + _SLICE].tolist()
        if array.dtype.kind in "OS":
            elements = [_text(one) for one in elements]
        if form is None:
            text = json_bytes(elements)[1:-1]
        else:
            text = (",".join([form] * len(elements)) % tuple(elements)).encode("ascii")
        yield b"," + text if start else text
    yield b"]"


def _text(element: Any) -> Any:
    """A text that an engine answers as bytes.

    Raises:
        AnswerFailed: It is not UTF-8, which is all that JSON can say.
    """
    if not isinstance(element, bytes):
        return element
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise AnswerFailed("the model answers bytes that are not UTF-8; expected a request for binary data") from error


def _flatten(spec: TensorSpec, shape: tuple[int, ...], data: list[Any]) -> list[Any]:
    if not data or type(data[0]) is not list:
        return data
    level: list[Any] = data
    for axis in range(len(shape)):
        if len(level) != math.prod(shape[: axis + 1]):
            break
        if axis == len(shape) - 1:
            return level
        if set(map(type, level)) != {list} or set(map(len, level)) != {shape[axis + 1]}:
            break
        level = list(chain.from_iterable(level))
    raise BadRequest(
        f"input {spec.name!r} has lists nested otherwise than its shape {shape_text(shape)}; expected the same"
    )


def _elements(spec: TensorSpec, elements: list[Any], start: int) -> NDArray[Any]:
    """Read some elements, the first of which is at `start` in the data."""
    dtype = DTYPES[spec.datatype]
    allowed, expected = _KINDS[dtype.kind]
    if others := set(map(type, elements)) - allowed:
        index = next(index for index, item in enumerate(elements) if type(item) in others)
        raise _unfit(spec, _json_name(type(elements[index])), start + index, expected)
    if dtype.kind == "O":
        for index, text in enumerate(elements):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise _unfit(spec, "a lone surrogate", start + index, "Unicode text") from error
    try:
        with np.errstate(over="ignore"):
            array: NDArray[Any] = np.array(elements, dtype=dtype)
            if spec.datatype == "BF16":
                array = rounded(array)
    except OverflowError as error:
        raise BadRequest(f"input {spec.name!r} has a number outside the range of {spec.datatype}") from error
    if dtype.kind == "f" and not np.isfinite(array).all():
        index = int(np.flatnonzero(~np.isfinite(array))[0])
        raise _unfit(spec, shown(elements[index]), start + index, f"a number in the range of {spec.datatype}")
    return array


def _unfit(spec: TensorSpec, found: str, index: int, expected: str) -> BadRequest:
    return BadRequest(f"input {spec.name!r} has {found} in its data at {index}; expected {expected}")


def _json_name(kind: type) -> str:
    return _JSON_NAMES.get(kind, f"a number ({kind.__name__})")
