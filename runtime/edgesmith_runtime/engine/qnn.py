"""Qualcomm's Hexagon tensor processor (HTP): ONNX Runtime with the execution provider QNN, a library of its own.

The model is an ONNX file whose one node holds a *context binary*, compiled for the processor of one system on chip.
Nothing of it runs elsewhere: ONNX Runtime may not fall back to its CPU provider, so that a node answers from its
Hexagon or not at all. On x86-64 the provider's library holds a simulator of the processor, with which builds are
scored.

The provider's package is Qualcomm's (`onnxruntime-qnn`). On a device it needs FastRPC besides: the device file, and the
library that talks to it, which is no part of the package and is found where the loader looks for it, or in `FOLDER`.
"""

from __future__ import annotations

import ctypes
import functools
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

# Before ONNX Runtime itself, since it sees to what that reads of the environment.
from edgesmith_runtime.engine.onnxruntime import OnnxRuntimeEngine, opened, session_options

# isort: split
import onnxruntime as ort
import onnxruntime_qnn

from edgesmith_runtime.engine.interface import EngineError
from edgesmith_runtime.engine.options import check_options

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FOLDER", "LIBRARY", "PERFORMANCE", "htp_options", "lacking", "load", "version"]

PERFORMANCE: Final = "performanceMode"
"""The option that says how fast the processor is clocked, in the provider's words (`htp_performance_mode`)."""
FOLDER: Final = "/opt/fastrpc"
LIBRARY: Final = "libcdsprpc.so"

_NAME: Final = "qnn"
_DEVICES: Final = ("dev/fastrpc-cdsp", "dev/fastrpc-cdsp-secure")
_MODES: Final = (
    *("default", "burst", "high_performance", "sustained_high_performance", "balanced", "low_balanced"),
    *("high_power_saver", "power_saver", "low_power_saver", "extreme_power_saver"),
)


def load(model_file: Path, *, threads: int, options: Mapping[str, str]) -> OnnxRuntimeEngine:  # noqa: ARG001 - as each engine has it
    """Load a model.

    Args:
        model_file: The ONNX file with the context binary.
        threads: Not used: the processor runs one request after the other.
        options: ``performanceMode``, one of the provider's ``htp_performance_mode``; ``default`` by default.

    Raises:
        EngineError: The model cannot be loaded, the device is not there, or there is another option.
    """
    check_options(_NAME, options, (PERFORMANCE,))
    mode = options.get(PERFORMANCE, _MODES[0])
    if mode not in _MODES:
        raise EngineError(f"option {PERFORMANCE!r} is {mode!r}; expected one of {', '.join(_MODES)}")
    missing = lacking(platform.machine())
    if missing is not None:
        raise EngineError(f"the Hexagon processor cannot be reached: {missing}")

    def session(file: Path, threads: int) -> Any:
        return opened(file, htp_options(threads, {"htp_performance_mode": mode}), by="QNN")

    return OnnxRuntimeEngine(model_file, threads=1, session=session)


def version() -> str:
    """The version of the provider."""
    return str(onnxruntime_qnn.__version__)


def htp_options(threads: int, provider: Mapping[str, str]) -> Any:
    """ONNX Runtime's options of a session that runs on the Hexagon alone.

    Args:
        threads: How many cores one run may use beside it; at least 1.
        provider: Further options of the provider, by its own names (QNN-ExecutionProvider.md, Configuration Options).

    Raises:
        EngineError: The provider's library cannot be loaded, or finds nothing to run on.
    """
    options = session_options(threads)
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_provider_for_devices([_device()], {"backend_path": onnxruntime_qnn.get_qnn_htp_path(), **provider})
    return options


def lacking(machine: str, root: Path = Path("/")) -> str | None:
    """What a machine lacks for its Hexagon to be reached, as the end of a sentence; None: nothing, or it simulates one.

    Args:
        machine: As `platform.machine` names it.
        root: Where its devices are looked for.
    """
    if machine != "aarch64":
        return None
    if not any((root / device).exists() for device in _DEVICES):
        names = " and ".join(f"/{device}" for device in _DEVICES)
        return f"{names} are not there; expected one of them, a device file of the node, in the container"
    said = []
    for place in (LIBRARY, f"{FOLDER}/{LIBRARY}"):
        try:
            ctypes.CDLL(place, mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            said.append(str(error))
        else:
            return None
    return f"{said[0]}; expected the node's FastRPC library, where the loader finds it or in {FOLDER}"


@functools.cache
def _device() -> Any:
    """What the provider runs on: the NPU, or the processor that simulates it."""
    try:
        ort.register_execution_provider_library(_NAME, onnxruntime_qnn.get_library_path())
    # ONNX Runtime's own errors share no base class of their own.
    except Exception as error:
        raise EngineError("the execution provider QNN cannot be loaded", str(error)) from error
    found = [device for device in ort.get_ep_devices() if device.ep_name == _NAME]
    kinds = (ort.OrtHardwareDeviceType.NPU, ort.OrtHardwareDeviceType.CPU)
    usable = [device for kind in kinds for device in found if device.device.type == kind]
    if not usable:
        raise EngineError("the execution provider QNN finds no device; expected an NPU, or x86-64 to simulate one")
    return usable[0]
