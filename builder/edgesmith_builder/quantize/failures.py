"""What goes wrong while a model is quantised, told apart: what the model cannot, and what the machine could not."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from edgesmith_builder.failures import CompileFailed, machine_failed

_SOURCE = re.compile(r"/onnxruntime_src/\S+ (?:\S+::[^()]*\([^)]*\) ?)?")
"""Where in ONNX Runtime an error came up: a file, a line and a function of its source."""


class QuantizationFailed(CompileFailed):
    """The model cannot be quantised; the message says why, in the model's own terms."""


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
