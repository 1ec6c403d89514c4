"""ONNX Runtime with nothing around it: what a server is held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnxruntime as ort

from edgesmith_runtime.engine.onnxruntime import session_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


def bare(model: Path, threads: int, image: NDArray[Any]) -> Callable[[], None]:
    """A bare session with the engine's own settings; what is returned runs it once."""
    session = ort.InferenceSession(str(model), session_options(threads), providers=["CPUExecutionProvider"])

    def call() -> None:
        session.run(None, {"input": image})

    return call
