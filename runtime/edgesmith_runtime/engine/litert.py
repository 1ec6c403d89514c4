"""LiteRT, once TensorFlow Lite, on the CPU with XNNPACK.

An interpreter serves one thread at a time and keeps what a run needed, so that there are several: a wide one, and
narrow ones for as many runs at once as there are threads (`PairedEngine`). Measured on two cores with MobileNetV2 in
uint8: a request takes 8.0 ms of processor time on two threads and 7.2 ms on one. Each interpreter holds weights packed
anew, 11 MB of that model's 3.6; it is made when it is first needed.
"""

from __future__ import annotations

import os
import re
import threading
from contextlib import contextmanager
from queue import LifoQueue
from typing import TYPE_CHECKING, Any, Final

import ai_edge_litert
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from edgesmith_runtime.engine.failures import run_failure
from edgesmith_runtime.engine.interface import EngineError
from edgesmith_runtime.engine.options import check_options
from edgesmith_runtime.engine.pair import MOST_COPIED, PairedEngine
from edgesmith_runtime.tensors import ANY_SIZE, DTYPES, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["LiteRTEngine", "load", "version"]

_NAMES: Final = [name for name in DTYPES if name != "BF16"]
_DATATYPES: Final = {DTYPES[name].type: name for name in _NAMES if name != "BYTES"} | {np.bytes_: "BYTES"}
_NODE: Final = re.compile(r"\s*Node number (?P<number>\d+) \((?P<kind>[^)]*)\) failed to (?:prepare|invoke)\.")
_CUSTOM: Final = re.compile(r"unresolved custom op: (?P<name>[^.\s]+)")
_EDGE_TPU: Final = "edgetpu-custom-op"
_ABOUT_MEMORY: Final = re.compile(r"allocate|memory|bad_alloc|overflow", re.IGNORECASE)


def load(model_file: Path, *, threads: int, options: Mapping[str, str]) -> LiteRTEngine:
    """Load a model; see `LiteRTEngine`.

    Args:
        model_file: The TFLite file.
        threads: How many cores one run may use, and how many runs are expected at once; at least 1.
        options: None are known.

    Raises:
        EngineError: The model cannot be loaded, or there is an option.
    """
    check_options("litert", options)
    return LiteRTEngine(model_file, threads=threads)


def version() -> str:
    """The version of LiteRT."""
    return str(ai_edge_litert.__version__)


class LiteRTEngine(PairedEngine["_Slots"]):
    """A model in LiteRT's interpreters.

    Sizes that the model leaves open (-1 in its ``shape_signature``) follow the inputs; all others are as they are.

    Args:
        model_file: The TFLite file.
        threads: How many cores one run may use, and how many runs are expected at once; at least 1.
        delegate: LiteRT's delegate for a device. There is one interpreter then: a device runs one model at a time.
        warning: What is not as it should be, see `Engine.warning`.

    Raises:
        EngineError: The file is no model that this LiteRT can run, or it has inputs or outputs that no datatype of the
            protocol describes.
    """

    def __init__(self, model_file: Path, *, threads: int, delegate: Any = None, warning: str | None = None) -> None:
        wide = _Slot(model_file, threads, delegate)
        inputs = [_spec(detail, "input") for detail in wide.interpreter.get_input_details()]
        outputs = [_spec(detail, "output") for detail in wide.interpreter.get_output_details()]
        pair = threads > 1 and delegate is None and model_file.stat().st_size * threads <= MOST_COPIED
        narrow = _Slots([_Slot(model_file, 1) for _ in range(threads)]) if pair else None
        super().__init__(_Slots([wide]), narrow, inputs=inputs, outputs=outputs, warning=warning)


class _Slots:
    """Interpreters that take turns; the one that ran last is taken first.

    Args:
        slots: Their places.
    """

    def __init__(self, slots: Sequence[_Slot]) -> None:
        self._free: LifoQueue[_Slot] = LifoQueue()
        for slot in slots:
            self._free.put(slot)

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], *, large: bool) -> list[NDArray[Any]]:
        """Run the model, once an interpreter is free; a large run's is not kept."""
        slot = self._free.get()
        try:
            return slot.run(inputs, outputs)
        finally:
            if large:
                slot.empty()
            self._free.put(slot)

    def settle(self) -> None:
        """Nothing is left of a large run: its interpreter went with it."""


class _Slot:
    """A place for an interpreter, which is made when it is needed.

    Args:
        model_file: The TFLite file.
        threads: How many cores a run may use.
        delegate: LiteRT's delegate for a device.
    """

    def __init__(self, model_file: Path, threads: int, delegate: Any = None) -> None:
        self._model_file = model_file
        self._threads = threads
        self._delegates = [delegate] if delegate is not None else []
        self._interpreter: Any = None
        self._shapes: list[tuple[int, ...]] = []

    @property
    def interpreter(self) -> Any:
        """The interpreter, with its tensors allocated."""
        if self._interpreter is None:
            self._interpreter = _interpreter(self._model_file, self._threads, self._delegates)
            self._shapes = [tuple(detail["shape"]) for detail in self._interpreter.get_input_details()]
        return self._interpreter

    def empty(self) -> None:
        """Give the interpreter and its memory back."""
        self._interpreter = None

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Run the model on its inputs."""
        interpreter = self.interpreter
        details = interpreter.get_input_details()
        arrays = [inputs[detail["name"]] for detail in details]
        try:
            self._resize(details, [array.shape for array in arrays])
            for detail, array in zip(details, arrays, strict=True):
                interpreter.set_tensor(detail["index"], array)
            interpreter.invoke()
            places = {detail["name"]: detail["index"] for detail in interpreter.get_output_details()}
            return [np.asarray(interpreter.get_tensor(places[name])) for name in outputs]
        except (RuntimeError, ValueError, MemoryError) as error:
            raise _converted(error) from error

    def _resize(self, details: Sequence[Any], shapes: list[tuple[int, ...]]) -> None:
        if shapes == self._shapes:
            return
        self._shapes = []  # what a failure leaves behind is not known
        for detail, shape in zip(details, shapes, strict=True):
            self._interpreter.resize_tensor_input(detail["index"], shape, strict=True)
        self._interpreter.allocate_tensors()
        self._shapes = shapes


def _interpreter(model_file: Path, threads: int, delegates: Sequence[Any]) -> Any:
    try:
        with _without_greeting():
            interpreter = Interpreter(
                model_path=str(model_file), num_threads=threads, experimental_delegates=list(delegates)
            )
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError, MemoryError) as error:
        if custom := _CUSTOM.search(str(error)):
            raise EngineError(_unknown_operator(model_file, custom["name"])) from error
        words = _sentence(str(error).replace(str(model_file), model_file.name))
        raise EngineError(f"{model_file.name} cannot be loaded by LiteRT: {words}") from error
    return interpreter


def _unknown_operator(model_file: Path, name: str) -> str:
    if name == _EDGE_TPU:
        return f"{model_file.name} is compiled for the Edge TPU, which engine litert has not; expected plain TFLite"
    return f"{model_file.name} has operator {name!r}, which LiteRT does not have; expected a model of its built-in ones"


@contextmanager
def _without_greeting() -> Iterator[None]:
    """Keep a line that XNNPACK writes, once and whatever the level of logs is, off standard error.

    The container's log holds one JSON document a line. What others write meanwhile comes after it.
    """
    with _GREETING, open(os.memfd_create("stderr"), "w+b") as held:  # noqa: PTH123 - a descriptor
        real = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(real, 2)
            held.seek(0)
            for line in held:
                if not line.startswith(b"INFO: Created TensorFlow Lite XNNPACK delegate"):
                    os.write(2, line)
            os.close(real)


_GREETING: Final = threading.Lock()


def _spec(detail: Mapping[str, Any], kind: str) -> TensorSpec:
    name, dtype = detail["name"], detail["dtype"]
    datatype = _DATATYPES.get(dtype)
    if datatype is None:
        raise EngineError(f"{kind} {name!r} has type {np.dtype(dtype).name}; expected a tensor of {', '.join(_NAMES)}")
    sizes = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
    return TensorSpec(name, datatype, tuple(int(size) if size >= 0 else ANY_SIZE for size in sizes))


def _converted(error: Exception) -> EngineError:
    found = _NODE.search(str(error))
    where = f" in its {found['kind']} node {found['number']}" if found else ""
    return run_failure(error, _sentence(str(error)), where, about_memory=_ABOUT_MEMORY)


def _sentence(text: str) -> str:
    """The first line of a LiteRT message, without the node behind it."""
    return _NODE.sub("", text.strip()).partition("\n")[0].strip()[:500]
