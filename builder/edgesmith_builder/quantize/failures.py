"""What goes wrong while a model is quantised, told apart: what the model cannot, and what the machine could not."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from google.protobuf.message import DecodeError

_MACHINE = re.compile(
    r"bad_alloc|No space left|system error number \d+|[Ff]ailed to allocate|Cannot allocate memory"
    r"|[Pp]rotobuf (serialization|parsing) failed"
)
"""How ONNX Runtime, which has no error of its own for it, says that memory or the disk is used up. What is parsed here
was written a moment before, so a file that does not parse was not written whole."""

_SOURCE = re.compile(r"/onnxruntime_src/\S+ (?:\S+::[^()]*\([^)]*\) ?)?")
"""Where in ONNX Runtime an error came up: a file, a line and a function of its source."""


class QuantizationFailed(Exception):  # noqa: N818 - an outcome of the ladder, turned into a sentence there
    """The model cannot be quantised; the message says why, in the model's own terms."""


def machine_failed(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says nothing of the model: a full disk, no memory.

    The same build can succeed elsewhere or later, so it must not decide which candidate wins.
    """
    while error is not None:
        if isinstance(error, OSError | MemoryError | DecodeError) or _MACHINE.search(str(error)):
            return True
        error = error.__cause__
    return False


@contextlib.contextmanager
def failing_as(what: str) -> Iterator[None]:
    """Turn whatever ONNX and ONNX Runtime raise, which have no base class of their own, into `QuantizationFailed`.

    Args:
        what: What could not be done, in the model's terms.

    Raises:
        QuantizationFailed: where the model is the reason.
        Exception: as it came, where the machine is.
    """
    try:
        yield
    except QuantizationFailed:
        raise
    except Exception as error:
        if machine_failed(error):
            raise
        raise QuantizationFailed(f"{what} ({words(error)})") from error


def words(error: Exception) -> str:
    """The first line of what a tool says, without its codes and the paths of its files and ours."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).strip())
    text = re.sub(r"Load model from \S+ failed:\s*", "", text)
    line = (text.strip().splitlines() or [type(error).__name__])[0]
    return " ".join(_SOURCE.sub("", line).split())[:200]
