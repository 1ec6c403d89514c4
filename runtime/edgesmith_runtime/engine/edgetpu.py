"""The Edge TPU: LiteRT with Google's delegate, or the model's twin on the processor where there is no such device.

A bundle for it has two files: the compiled one, whose one operator only the delegate knows, and its *twin* from before
it was compiled, beside it, which LiteRT alone runs. Both answer alike. Where the library of the delegate or the device
is not there the twin serves, and `warning` says why: a node that is slow is better than one without an answer, if
somebody is told. Anything else, a compiled model that the library refuses say, is a failure.

The library is not part of any image of ours: it is found where the loader looks for it, or in `FOLDER`, which a profile
can have mounted from the node (`spec.runtime.volumes`).
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Final

from ai_edge_litert.interpreter import load_delegate

from edgesmith_runtime.engine.interface import EngineError
from edgesmith_runtime.engine.litert import LiteRTEngine, version
from edgesmith_runtime.engine.options import check_options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["FOLDER", "LIBRARY", "load", "version"]

LIBRARY: Final = "libedgetpu.so.1"
FOLDER: Final = "/opt/edgetpu"

_CREATE: Final = "tflite_plugin_create_delegate"
"""What LiteRT calls in a library that is a delegate."""
_DEVICES: Final = ("tpu", "cpu")


class _Missing(Exception):  # noqa: N818 - an outcome, turned into a warning
    """The library or the device is not there; the message says which."""


def load(model_file: Path, *, threads: int, options: Mapping[str, str]) -> LiteRTEngine:
    """Load a model.

    Args:
        model_file: The compiled TFLite file.
        threads: How many cores the twin may use, and how many runs of it are expected at once; at least 1.
        options: ``twin`` is the name of the file from before it was compiled, beside it. ``device`` is ``tpu``, which
            is the default, or ``cpu``: the twin, without a warning.

    Raises:
        EngineError: The model cannot be loaded, or there is another option.
    """
    check_options("edgetpu", options, ("twin", "device"))
    twin, device = options.get("twin"), options.get("device", "tpu")
    if device not in _DEVICES:
        raise EngineError(f"option 'device' is {device!r}; expected one of {', '.join(_DEVICES)}")
    if twin is None:
        raise EngineError(f"option 'twin' is missing; expected the file from before {model_file.name} was compiled")
    beside = model_file.with_name(twin)
    if device == "cpu":
        return LiteRTEngine(beside, threads=threads)
    try:
        delegate = _delegate()
    except _Missing as missing:
        return LiteRTEngine(beside, threads=threads, warning=f"runs on the CPU: {missing}")
    return LiteRTEngine(model_file, threads=1, delegate=delegate)


def _delegate() -> Any:
    """LiteRT's delegate for the device.

    Raises:
        _Missing: The library or the device is not there.
        EngineError: The library is no delegate.
    """
    place = _library()
    try:
        return load_delegate(place)
    except ValueError as error:
        said = str(error).partition("\n")[2].strip()
        raise _Missing(f"{place} finds no Edge TPU{f' ({said[:200]})' if said else ''}") from error


def _library() -> str:
    """Where the library is. It is opened here first: LiteRT writes a trace to standard error where it cannot do so."""
    said = []
    for place in (LIBRARY, f"{FOLDER}/{LIBRARY}"):
        try:
            library = ctypes.PyDLL(place)
        except OSError as error:
            said.append((place, str(error)))
            continue
        if not hasattr(library, _CREATE):
            raise EngineError(f"{place} has no function {_CREATE}; expected the Edge TPU's delegate")
        return place
    # A library that is there and lacks another one names that.
    lacking = (words for place, words in said if not words.startswith(place))
    raise _Missing(next(lacking, said[0][1]))
