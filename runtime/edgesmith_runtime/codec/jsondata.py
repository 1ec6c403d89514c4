"""Tensors as JSON: a list in row-major order, flat or nested as the shape is."""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.errors import AnswerFailed, BadRequest
from edgesmith_runtime.tensors import DTYPES, TensorSpec, shape_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["from_json", "to_json"]

_KINDS: Final[dict[str, tuple[frozenset[type], str]]] = {
    "b": (frozenset({bool}), "true or false"),
    "u": (frozenset({int}), "whole numbers"),
    "i": (frozenset({int}), "whole numbers"),
    "f": (frozenset({int, float}), "numbers"),
    "O": (frozenset({str}), "strings"),
}
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
    dtype = DTYPES[spec.datatype]
    allowed, expected = _KINDS[dtype.kind]
    if others := set(map(type, flat)) - allowed:
        index = next(index for index, item in enumerate(flat) if type(item) in others)
        raise BadRequest(
            f"input {spec.name!r} has {_json_name(type(flat[index]))} in its data at {index}; expected {expected}"
        )
    if dtype.kind == "O":
        array = np.empty(count, dtype=dtype)
        array[:] = flat
        return array.reshape(shape)
    return _numbers(spec, flat, dtype).reshape(shape)


def to_json(name: str, array: NDArray[Any]) -> list[Any]:
    """Write a tensor as a flat list.

    Raises:
        AnswerFailed: It holds infinities or NaN, which JSON has no form for.
    """
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise AnswerFailed(
            f"output {name!r} holds infinities or NaN, which JSON cannot carry; ask for it as binary data"
        )
    elements: list[Any] = array.ravel().tolist()
    return elements


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


def _numbers(spec: TensorSpec, flat: list[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        with np.errstate(over="ignore"):
            array = np.array(flat, dtype=dtype)
    except OverflowError as error:
        raise BadRequest(f"input {spec.name!r} has a number outside the range of {spec.datatype}") from error
    if dtype.kind == "f" and not np.isfinite(array).all():
        index = int(np.flatnonzero(~np.isfinite(array))[0])
        raise BadRequest(
            f"input {spec.name!r} has {flat[index]!r} in its data at {index}; expected a number in the range of "
            f"{spec.datatype}"
        )
    return array


def _json_name(kind: type) -> str:
    return _JSON_NAMES.get(kind, f"a number ({kind.__name__})")
