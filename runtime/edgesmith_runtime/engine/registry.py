"""Which engines there are."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.engine.interface import Engine, EngineError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ENGINES", "engine_version", "load_engine"]

ENGINES: Final = ("onnxruntime",)
"""The engine names that a bundle may carry; each is also the name of the module that provides it."""


def load_engine(name: str, model_file: Path, *, threads: int) -> Engine:
    """Load a model.

    Args:
        name: The engine, one of `ENGINES`.
        model_file: The compiled model.
        threads: How many cores one run may use, and how many runs are expected at once; at least 1.

    Raises:
        EngineError: There is no such engine, or it cannot load the model.
    """
    if name not in ENGINES:
        raise EngineError(f"engine {name!r} is not known; expected one of {', '.join(ENGINES)}")
    if threads < 1:
        raise EngineError(f"threads is {threads}; expected at least 1")
    # Imported here, because importing an engine costs half a second and tens of megabytes.
    try:
        from edgesmith_runtime.engine.onnx import OnnxRuntimeEngine  # noqa: PLC0415 - see above
    except ImportError as error:
        raise EngineError(f"engine {name!r} cannot be imported: {error}") from error
    return OnnxRuntimeEngine(model_file, threads=threads)


def engine_version(name: str) -> str:
    """Name an engine with its version, ``onnxruntime 1.32.0`` for example.

    Raises:
        EngineError: There is no such engine, or it is not installed.
    """
    if name not in ENGINES:
        raise EngineError(f"engine {name!r} is not known; expected one of {', '.join(ENGINES)}")
    try:
        return f"{name} {import_module(name).__version__}"
    except ImportError as error:
        raise EngineError(f"engine {name!r} cannot be imported: {error}") from error
