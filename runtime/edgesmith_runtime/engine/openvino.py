"""OpenVINO: its intermediate representation on a CPU, or on another device that it drives.

`ov` is the package itself, which whoever needs it takes from here: imported otherwise, it reports to its maker.

On the CPU two compilations of one model stand ready: a *wide* one that spreads a run over all threads, for a lone
request, and a *narrow* one with a stream of one thread for each, for requests that come together. Measured on two cores
with MobileNetV2 in uint8: a request takes 12 ms of processor time wide and 9 ms narrow, and two callers get 25 to 40 %
more answers. The second compilation costs 58 MB there.
"""

from __future__ import annotations

import re
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.engine.feeds import REFUSED, LargeRuns, check_feeds, check_wanted
from edgesmith_runtime.engine.interface import EngineError, EngineInputError
from edgesmith_runtime.engine.options import check_options
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
_LARGEST_PAIR: Final = 256 * 2**20
"""Models above this size in bytes are compiled once: a second copy of the weights costs more than it gives."""

_NODE: Final = re.compile(r"\[CPU\] (?P<kind>\w+) node with name '(?P<name>[^']*)'")
_ABOUT_SIZES: Final = re.compile(
    r"dimension|dims|shape|broadcast|\baxis\b|\brank\b|\bsizes?\b|bounds|\bindex|indices", re.IGNORECASE
)
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


class OpenVINOEngine:
    """A model in OpenVINO.

    Args:
        model_file: The ``.xml`` file.
        threads: How many cores one run may use; at least 1. Devices beside the CPU choose by themselves.
        device: ``CPU``, ``GPU`` or ``NPU``.

    Raises:
        EngineError: The file is no model that this OpenVINO can run, it has inputs or outputs that no datatype of the
            protocol describes, or the device is not there.
    """

    def __init__(self, model_file: Path, *, threads: int, device: str) -> None:
        core = ov.Core()
        _check_device(core, device)
        wide, narrow = _told(model_file, threads, device)
        try:
            model = core.read_model(model_file)
            self._inputs = tuple(_spec(port, "input", number) for number, port in enumerate(model.inputs))
            self._outputs = tuple(_spec(port, "output", number) for number, port in enumerate(model.outputs))
            self._wide = _Compiled(core.compile_model(model, device, wide))
            self._narrow = self._wide if narrow is None else _Compiled(core.compile_model(model, device, narrow))
        except RuntimeError as error:
            raise EngineError(f"{model_file.name} cannot be loaded by OpenVINO: {_sentence(str(error))}") from error
        self._large_runs = LargeRuns()
        self._lock = threading.Lock()
        self._running = 0

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs, in its own order."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs, in its own order."""
        return self._outputs

    def infer(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None, *, busy: bool = False
    ) -> dict[str, NDArray[Any]]:
        """Run the model once; see `Engine.infer`."""
        names = check_wanted(self._outputs, outputs)
        check_feeds(self._inputs, inputs)
        large = self._large_runs.is_large(inputs)
        with self._lock:
            busy = busy or self._running > 0
            self._running += 1
        compiled = self._narrow if busy else self._wide
        try:
            answers = compiled.run([inputs[spec.name] for spec in self._inputs], large=large)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise _converted(error) from error
        finally:
            with self._lock:
                self._running -= 1
        found = {spec.name: answer for spec, answer in zip(self._outputs, answers, strict=True)}
        return {name: found[name] for name in names}

    def settle(self) -> None:
        """Give back what large runs left behind; see `Engine.settle`."""
        for compiled in {self._wide, self._narrow}:
            compiled.settle()

    def close(self) -> None:
        """Let go of both compilations."""
        del self._wide, self._narrow


class _Compiled:
    """A compiled model and requests of it that wait for a run.

    Args:
        compiled: OpenVINO's compiled model.
    """

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._owing = False
        """Whether a large run has left its memory behind."""

    def run(self, arrays: Sequence[NDArray[Any]], *, large: bool) -> list[NDArray[Any]]:
        """Run the model on its inputs, in its own order; a large run's request is not kept."""
        with self._lock:
            request = self._idle.pop() if self._idle else None
            self._owing = self._owing or large
        if request is None:
            request = self._compiled.create_infer_request()
        request.infer(dict(enumerate(arrays)))
        answers = [np.array(tensor.data) for tensor in request.output_tensors]
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
    pair = threads > 1 and weights.is_file() and weights.stat().st_size <= _LARGEST_PAIR
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
    """Tell the client's mistake from the model's.

    A model that has answered its golden samples fails on other inputs because of them where their sizes do not go
    together.
    """
    found = _NODE.search(str(error))
    where = f" in its {found['kind']} node {found['name']}" if found else ""
    text = _sentence(str(error)) or type(error).__name__
    if isinstance(error, MemoryError) or _ABOUT_MEMORY.search(text):
        return EngineError(f"the model needs more memory than there is{where}", text)
    if _ABOUT_SIZES.search(text):
        return EngineInputError(f"{REFUSED}{where}", text)
    return EngineError(f"the model failed{where}", text)


def _sentence(text: str) -> str:
    """The first line of an OpenVINO message that is not of its source code."""
    return _CODE.sub("", text).strip().partition("\n")[0].strip()[:500]
