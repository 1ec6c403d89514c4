"""LiteRT, once TensorFlow Lite, on the CPU with XNNPACK.

An interpreter serves one thread at a time and keeps what a run needed, so that there are several: a *wide* one that
spreads a run over all threads, for a lone request, and *narrow* ones of one thread for requests that come together.
Measured on two cores with MobileNetV2 in uint8: a request takes 8.0 ms of processor time on two threads and 7.2 ms on
one. Each interpreter holds weights packed anew, 11 MB of that model's 3.6; it is made when it is first needed.
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

from edgesmith_runtime.engine.feeds import REFUSED, LargeRuns, check_feeds, check_wanted
from edgesmith_runtime.engine.interface import EngineError, EngineInputError
from edgesmith_runtime.engine.options import check_options
from edgesmith_runtime.tensors import ANY_SIZE, DTYPES, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["LiteRTEngine", "load", "version"]

_MOST_COPIES: Final = 256 * 2**20
"""As many bytes of a model may be there in narrow interpreters; a larger one has the wide one only."""
_DATATYPES: Final = {dtype.type: name for name, dtype in DTYPES.items() if name != "BYTES"} | {np.bytes_: "BYTES"}
_NODE: Final = re.compile(r"\s*Node number (?P<number>\d+) \((?P<kind>[^)]*)\) failed to (?:prepare|invoke)\.")
_CUSTOM: Final = re.compile(r"unresolved custom op: (?P<name>[^.\s]+)")
_EDGE_TPU: Final = "edgetpu-custom-op"
_ABOUT_MEMORY: Final = re.compile(r"allocate|memory|bad_alloc|overflow", re.IGNORECASE)
_ABOUT_VALUES: Final = re.compile(
    r"dimension|shape|broadcast|\baxis\b|\brank\b|\bsizes?\b|bounds|\bindex|indices", re.IGNORECASE
)


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


class LiteRTEngine:
    """A model in LiteRT's interpreters.

    Sizes that the model leaves open (-1 in its ``shape_signature``) follow the inputs; all others are as they are.

    Args:
        model_file: The TFLite file.
        threads: How many cores one run may use, and how many runs are expected at once; at least 1.

    Raises:
        EngineError: The file is no model that this LiteRT can run, or it has inputs or outputs that no datatype of the
            protocol describes.
    """

    def __init__(self, model_file: Path, *, threads: int) -> None:
        self._wide = _Slot(model_file, threads)
        details = self._wide.interpreter
        self._inputs = tuple(_spec(detail, "input") for detail in details.get_input_details())
        self._outputs = tuple(_spec(detail, "output") for detail in details.get_output_details())
        narrow = threads if threads > 1 and model_file.stat().st_size * threads <= _MOST_COPIES else 0
        self._wide_free: LifoQueue[_Slot] = _queue([self._wide])
        self._narrow_free = _queue([_Slot(model_file, 1) for _ in range(narrow)]) if narrow else self._wide_free
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
        free = self._narrow_free if busy else self._wide_free
        slot = free.get()
        try:
            answers = slot.run([inputs[spec.name] for spec in self._inputs])
        finally:
            if large:
                slot.empty()
            free.put(slot)
            with self._lock:
                self._running -= 1
        found = {spec.name: answer for spec, answer in zip(self._outputs, answers, strict=True)}
        return {name: found[name] for name in names}

    def settle(self) -> None:
        """Nothing is left of a large run: its interpreter went with it."""

    def close(self) -> None:
        """Let go of all interpreters."""
        del self._wide, self._wide_free, self._narrow_free


class _Slot:
    """A place for an interpreter, which is made when it is needed.

    Args:
        model_file: The TFLite file.
        threads: How many cores a run may use.
    """

    def __init__(self, model_file: Path, threads: int) -> None:
        self._model_file = model_file
        self._threads = threads
        self._interpreter: Any = None
        self._shapes: list[tuple[int, ...]] = []

    @property
    def interpreter(self) -> Any:
        """The interpreter, with its tensors allocated."""
        if self._interpreter is None:
            self._interpreter = _interpreter(self._model_file, self._threads)
            self._shapes = [tuple(detail["shape"]) for detail in self._interpreter.get_input_details()]
        return self._interpreter

    def empty(self) -> None:
        """Give the interpreter and its memory back."""
        self._interpreter = None

    def run(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the model on its inputs, in its own order."""
        interpreter = self.interpreter
        details = interpreter.get_input_details()
        try:
            self._resize(details, [array.shape for array in arrays])
            for detail, array in zip(details, arrays, strict=True):
                interpreter.set_tensor(detail["index"], array)
            interpreter.invoke()
            return [np.asarray(interpreter.get_tensor(detail["index"])) for detail in interpreter.get_output_details()]
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


def _queue(slots: Sequence[_Slot]) -> LifoQueue[_Slot]:
    queue: LifoQueue[_Slot] = LifoQueue()
    for slot in reversed(slots):
        queue.put(slot)
    return queue


def _interpreter(model_file: Path, threads: int) -> Any:
    try:
        with _without_greeting():
            interpreter = Interpreter(model_path=str(model_file), num_threads=threads)
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
    return f"{model_file.name} has operator {name!r}, which LiteRT does not have; expected its built-in operators"


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
        raise EngineError(f"{kind} {name!r} has type {np.dtype(dtype).name}; expected a tensor of {', '.join(DTYPES)}")
    sizes = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
    return TensorSpec(name, datatype, tuple(int(size) if size >= 0 else ANY_SIZE for size in sizes))


def _converted(error: Exception) -> EngineError:
    """Tell the client's mistake from the model's.

    A model that has answered its golden samples fails on other inputs because of them where their sizes do not go
    together, or an index lies outside.
    """
    found = _NODE.search(str(error))
    where = f" in its {found['kind']} node {found['number']}" if found else ""
    text = _sentence(str(error)) or type(error).__name__
    if isinstance(error, MemoryError) or _ABOUT_MEMORY.search(text):
        return EngineError(f"the model needs more memory than there is{where}", text)
    if _ABOUT_VALUES.search(text):
        return EngineInputError(f"{REFUSED}{where}", text)
    return EngineError(f"the model failed{where}", text)


def _sentence(text: str) -> str:
    """The first line of a LiteRT message, without the node behind it."""
    return _NODE.sub("", text.strip()).partition("\n")[0].strip()[:500]
