"""OpenVINO: its intermediate representation on a CPU, or on another device that it drives.

`ov` is the package itself, which whoever needs it takes from here: imported otherwise, it reports to its maker.

On the CPU two compilations of one model stand ready (`PairedEngine`); the narrow one has a stream of one thread for
each run. Measured on two cores with MobileNetV2 in uint8: a request takes 12 ms of processor time wide and 9 ms narrow,
and two callers get 25 to 40 % more answers. The second compilation costs 58 MB there.
"""

from __future__ import annotations

import re
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.engine.failures import run_failure
from edgesmith_runtime.engine.interface import EngineError
from edgesmith_runtime.engine.options import check_options
from edgesmith_runtime.engine.pair import MOST_COPIED, PairedEngine
from edgesmith_runtime.signalstack import kept_signal_stack
from edgesmith_runtime.tensors import ANY_SIZE, DTYPES, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["OpenVINOEngine", "load", "ov", "version"]


def _openvino() -> Any:
    """Import OpenVINO without the package through which its import reports to its maker, where that is installed."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # how Python says that there is none
    return import_module("openvino")


ov: Final = _openvino()

_DEVICES: Final = ("CPU", "GPU", "NPU")
_DATATYPES: Final = {
    "boolean": "BOOL",
    "u8": "UINT8",
    "u16": "UINT16",
    "u32": "UINT32",
    "u64": "UINT64",
    "i8": "INT8",
    "i16": "INT16",
    "i32": "INT32",
    "i64": "INT64",
    "f16": "FP16",
    "f32": "FP32",
    "f64": "FP64",
}
"""Strings are not among them: OpenVINO's tensors of NumPy's strings end at a NUL."""

_EXACT: Final = {"INFERENCE_PRECISION_HINT": "f32"}
"""Processors with bf16 or fp16 would compute in it, and answer otherwise than the build measured."""
_UNPINNED: Final = {"ENABLE_CPU_PINNING": False}
"""Threads tied to cores would share them with the next pod's, while others idle."""

_NODE: Final = re.compile(r"\[CPU\] (?P<kind>\w+) node with name '(?P<name>[^']*)'")
_ABOUT_MEMORY: Final = re.compile(r"allocate|out of memory|bad_alloc", re.IGNORECASE)
_CODE: Final = re.compile(r"^(?:Exception from |.*Check '.*' failed at |FrontEnd API failed with ).*$", re.MULTILINE)


def load(model_file: Path, *, threads: int, options: Mapping[str, str]) -> OpenVINOEngine:
    """Load a model; see `OpenVINOEngine`.

    Args:
        model_file: The ``.xml`` file; its weights lie beside it in the ``.bin`` of the same name.
        threads: How many cores one run may use, and how many runs are expected at once; at least 1.
        options: ``device`` is ``CPU``, which is the default, ``GPU`` or ``NPU``.

    Raises:
        EngineError: The model cannot be loaded, the device is not there, or there is another option.
    """
    check_options("openvino", options, ("device",))
    return OpenVINOEngine(model_file, threads=threads, device=options.get("device", "CPU"))


def version() -> str:
    """The version of OpenVINO: three numbers, without the build behind them."""
    return str(ov.get_version()).partition("-")[0]


class OpenVINOEngine(PairedEngine["_Compiled"]):
    """A model in OpenVINO.

    Args:
        model_file: The ``.xml`` file.
        threads: How many cores one run may use; at least 1. Devices beside the CPU choose by themselves.
        device: ``CPU``, ``GPU`` or ``NPU``.

    Raises:
        EngineError: The file is no model that this OpenVINO can run, it has inputs or outputs that no datatype of the
            protocol describes, or the device is not there.
    """

    @kept_signal_stack()
    def __init__(self, model_file: Path, *, threads: int, device: str) -> None:
        core = ov.Core()
        _check_device(core, device)
        wide, narrow = _told(model_file, threads, device)
        try:
            model = core.read_model(model_file)
            inputs = [_spec(port, "input", number) for number, port in enumerate(model.inputs)]
            outputs = [_spec(port, "output", number) for number, port in enumerate(model.outputs)]

            def compiled(told: dict[str, Any]) -> _Compiled:
                return _Compiled(core.compile_model(model, device, told), inputs, outputs)

            super().__init__(
                compiled(wide), None if narrow is None else compiled(narrow), inputs=inputs, outputs=outputs
            )
        except RuntimeError as error:
            raise EngineError(f"{model_file.name} cannot be loaded by OpenVINO: {_sentence(str(error))}") from error


class _Compiled:
    """A compiled model and requests of it that wait for a run.

    Args:
        compiled: OpenVINO's compiled model.
        inputs: Its inputs, in its own order.
        outputs: Its outputs, in its own order.
    """

    def __init__(self, compiled: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self._compiled = compiled
        self._inputs = [spec.name for spec in inputs]
        self._outputs = [spec.name for spec in outputs]
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._owing = False
        """Whether a large run has left its memory behind."""

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], *, large: bool) -> list[NDArray[Any]]:
        """Run the model; a large run's request is not kept."""
        with self._lock:
            request = self._idle.pop() if self._idle else None
            self._owing = self._owing or large
        try:
            if request is None:
                request = self._compiled.create_infer_request()
            request.infer({number: inputs[name] for number, name in enumerate(self._inputs)})
            found = dict(zip(self._outputs, request.output_tensors, strict=True))
            answers = [np.array(found[name].data) for name in outputs]
        except (RuntimeError, ValueError, MemoryError) as error:
            raise _converted(error) from error
        if not large:
            with self._lock:
                self._idle.append(request)
        return answers

    def settle(self) -> None:
        """Give back the memory between two layers, where a large run has left some."""
        with self._lock:
            owing, self._owing = self._owing, False
        if owing:
            self._compiled.release_memory()


def _check_device(core: Any, device: str) -> None:
    if device not in _DEVICES:
        raise EngineError(f"option 'device' is {device!r}; expected one of {', '.join(_DEVICES)}")
    there = core.available_devices
    if all(name.partition(".")[0] != device for name in there):  # several of a kind are GPU.0, GPU.1
        raise EngineError(f"device {device} is not there; expected one that OpenVINO finds: {', '.join(there)}")


def _told(model_file: Path, threads: int, device: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What the wide compilation is told, and the narrow one where there is to be one."""
    if device != "CPU":
        return {}, None
    both = _EXACT | _UNPINNED | {"INFERENCE_NUM_THREADS": threads}
    weights = model_file.with_suffix(".bin")
    pair = threads > 1 and weights.is_file() and weights.stat().st_size <= MOST_COPIED
    return both | {"PERFORMANCE_HINT": "LATENCY"}, both | {"NUM_STREAMS": threads} if pair else None


def _spec(port: Any, kind: str, number: int) -> TensorSpec:
    if not port.names:
        raise EngineError(f"{kind} {number} has no name; expected one")
    name = min(port.names)
    type_name = port.element_type.get_type_name()
    datatype = _DATATYPES.get(type_name)
    if datatype is None:
        names = ", ".join(name for name in DTYPES if name in _DATATYPES.values())
        raise EngineError(f"{kind} {name!r} has type {type_name}; expected a tensor of {names}")
    if port.partial_shape.rank.is_dynamic:
        raise EngineError(f"{kind} {name!r} has any number of dimensions; expected a fixed number")
    sizes = (size.get_length() if size.is_static else ANY_SIZE for size in port.partial_shape)
    return TensorSpec(name, datatype, tuple(sizes))


def _converted(error: Exception) -> EngineError:
    found = _NODE.search(str(error))
    where = f" in its {found['kind']} node {found['name']}" if found else ""
    return run_failure(error, _sentence(str(error)), where, about_memory=_ABOUT_MEMORY)


def _sentence(text: str) -> str:
    """The first line of an OpenVINO message that is not of its source code."""
    return _CODE.sub("", text).strip().partition("\n")[0].strip()[:500]
