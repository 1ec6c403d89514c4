"""Protocol Buffers' text form, as far as a model configuration needs it.

https://protobuf.dev/reference/protobuf/textformat-spec/ describes it. Triton's own message type is not on the device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Word", "pairs", "text"]

_INDENT: Final = "  "
_PLAIN: Final = range(32, 127)


class Word(str):
    """A value of an enumeration: written without quotes."""

    __slots__ = ()


def text(fields: Mapping[str, Any]) -> str:
    """Write a message.

    Args:
        fields: Its fields by name: numbers, strings, `Word`s, booleans, mappings for messages, lists of those.

    Returns:
        One field a line.
    """
    return "".join(f"{line}\n" for line in _lines(fields, ""))


def pairs(entries: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write a map as the messages that it stands for."""
    return [{"key": key, "value": value} for key, value in entries.items()]


def _lines(fields: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield f"{indent}{name} {{"
                yield from _lines(one, indent + _INDENT)
                yield f"{indent}}}"
            else:
                yield f"{indent}{name}: {_scalar(one)}"


def _scalar(value: Any) -> str:
    if isinstance(value, Word):
        return str(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(_character(byte) for byte in value.encode()) + '"'
    return str(value)


def _character(byte: int) -> str:
    """Bytes that could end the string, or that are none of ASCII, by their number in base 8."""
    return chr(byte) if byte in _PLAIN and chr(byte) not in '"\\' else f"\\{byte:03o}"
