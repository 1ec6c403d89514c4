"""A request's parameters: what they say, and what they may not.

The names are those of the binary tensor data, schedule policy and sequence extensions
(https://github.com/triton-inference-server/server/tree/main/docs/protocol); others are for models that read them, which
none does here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgesmith_runtime.errors import BadRequest, shown

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

__all__ = ["FINAL", "check_parameters"]

FINAL: Final = "triton_enable_empty_final_response"
"""Asks a stream to say which answer to a request is the last; each is, and always says so."""

_RESERVED: Final = "triton_"
_TRUTHS: Final = ("sequence_start", "sequence_end")
_COUNTS: Final = ("priority", "timeout")
_SEQUENCE: Final = ("sequence_id", "sequence_start", "sequence_end")


def check_parameters(parameters: Mapping[str, Any], reserved: Container[str] = ()) -> int:
    """Check the parameters of a request.

    Args:
        parameters: Names and values.
        reserved: What may be given of the names that begin with ``triton_``.

    Returns:
        For how many microseconds the request may wait for its turn; 0 for as long as it takes.

    Raises:
        BadRequest: A value has no meaning, or asks for what the server does not do.
    """
    for name, value in parameters.items():
        if not isinstance(value, bool | int | float | str):
            raise BadRequest(f"parameter {shown(name)} is {_kind(value)}; expected a number, a boolean or a string")
        if name.startswith(_RESERVED) and name not in reserved:
            raise BadRequest(f"parameter {shown(name)} is reserved; expected no name that begins with {_RESERVED!r}")
        if name in _TRUTHS and not isinstance(value, bool):
            raise BadRequest(f"{name} is {shown(value)}; expected true or false")
        if name in _COUNTS and (type(value) is not int or value < 0):
            raise BadRequest(f"{name} is {shown(value)}; expected a whole number from 0")
        if name in _SEQUENCE and value:
            raise BadRequest(f"{name} is {shown(value)}; expected none, since nothing is kept between requests")
    timeout: int = parameters.get("timeout", 0)
    return timeout


def _kind(value: object) -> str:
    return {dict: "an object", list: "a list", type(None): "null"}.get(type(value), type(value).__name__)
