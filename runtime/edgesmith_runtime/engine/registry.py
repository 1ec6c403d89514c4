"""Finds an engine by its name: the module of this folder that is called so.

Such a module has ``load(model_file, *, threads, options) -> Engine`` and ``version() -> str``. It is imported only when
its engine is asked for, since that costs up to a second and tens of megabytes, and since an image holds one engine.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import edgesmith_runtime.engine as folder
from edgesmith_runtime.engine.interface import Engine, EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["ENGINES", "engine_version", "load_engine"]

_OTHERS: Final = {"failures", "feeds", "interface", "options", "ortvalues", "pair", "registry", "saturation"}
"""The modules of this folder that are no engines."""

ENGINES: Final = tuple(sorted({module.name for module in iter_modules(folder.__path__)} - _OTHERS))
"""The engine names that a bundle may carry."""

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


def load_engine(name: str, model_file: Path, *, threads: int, options: Mapping[str, str] = _NONE) -> Engine:
    """Load a model.

    Args:
        name: The engine, one of `ENGINES`.
        model_file: The compiled model.
        threads: How many cores one run may use, and how many runs are expected at once; at least 1.
        options: What the engine is told beside that; each engine's module says what it knows.

    Raises:
        EngineError: There is no such engine, it does not know an option, or it cannot load the model.
    """
    if threads < 1:
        raise EngineError(f"threads is {threads}; expected at least 1")
    engine: Engine = _module(name).load(model_file, threads=threads, options=options)
    return engine


def engine_version(name: str) -> str:
    """Name an engine with its version, ``onnxruntime 1.32.0`` for example.

    Raises:
        EngineError: There is no such engine, or it is not installed.
    """
    return f"{name} {_module(name).version()}"


def _module(name: str) -> Any:
    if name not in ENGINES:
        raise EngineError(f"engine {name!r} is not known; expected one of {', '.join(ENGINES)}")
    try:
        return import_module(f"edgesmith_runtime.engine.{name}")
    except ImportError as error:
        raise EngineError(f"engine {name!r} cannot be imported: {error}") from error
