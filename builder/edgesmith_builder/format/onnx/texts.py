"""A model's names: a protocol buffer of ONNX's version takes any bytes for a text, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from google.protobuf.message import Message

from edgesmith_builder.errors import ModelInvalid


def check_texts(model: onnx.ModelProto, what: str) -> None:
    """Refuse names and other text that are not UTF-8: what reads them as text would fail one by one.

    Raises:
        ModelInvalid: naming the field of the first.
    """
    for field in _bytes(model):
        raise ModelInvalid(f"{what} has bytes in a field {field!r} that are not UTF-8; text was expected")


def is_text(name: str) -> bool:
    """Whether a text can be written down: JSON lets halves of letters through."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bytes(message: Message) -> Iterator[str]:
    """Fields of a message, and of those within, whose text came as bytes."""
    for field in message.DESCRIPTOR.fields:
        text = field.type == field.TYPE_STRING
        if not text and field.type != field.TYPE_MESSAGE:
            continue  # not so much as looked at: weights are among them
        if not field.is_repeated and not message.HasField(field.name):
            continue
        found = getattr(message, field.name)
        for value in found if field.is_repeated else (found,):
            if not text:
                yield from _bytes(value)
            elif isinstance(value, bytes):
                yield field.name
