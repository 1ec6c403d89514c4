"""ONNX Runtime on the CPU.

Two sessions of one model stand ready (`PairedEngine`). Measured on two cores with MobileNetV2 in int8, two narrow
callers answer 18 % more requests than one wide caller, and one wide caller answers a lone request in 60 % of the time.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

# ONNX Runtime 1.32's wheels for Linux report usage to their maker unless this is set before the import (the wheel's
# Privacy.md); nothing leaves a site that its owner did not send.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime as ort

from edgesmith_runtime.engine.failures import run_failure
from edgesmith_runtime.engine.feeds import check_feeds
from edgesmith_runtime.engine.interface import EngineError
from edgesmith_runtime.engine.options import check_options
from edgesmith_runtime.engine.ortvalues import BFLOAT16, run_with_halves
from edgesmith_runtime.engine.pair import MOST_COPIED, PairedEngine
from edgesmith_runtime.engine.saturation import products_saturate
from edgesmith_runtime.tensors import ANY_SIZE, DTYPES, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["OnnxRuntimeEngine", "load", "opened", "session_options", "version"]

_DATATYPES: Final = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    BFLOAT16: "BF16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}

_FATAL_ONLY: Final = 4
"""ONNX Runtime's own log lines repeat what a request held; what fails is raised as well."""
_SPIN_MICROSECONDS: Final = "50"
"""How long an idle worker thread spins for more work before it sleeps; between runs it does not spin at all.

Spinning joins the threads of one run at once, but spinning on between requests, as is the default, burns a core that
the server, its clients and its neighbours on the device need. MobileNetV2 in int8 on two cores beside much other work,
with 1 ms between runs, processor time of a run and the time of the quickest of 960: 7.7 ms with 1000 µs, as is the
default, 5.9 and 2.22 ms with 100, 5.4 and 2.20 ms with 50 and none between runs, 4.5 and 3.13 ms without any.
"""
_IN_NODE: Final = re.compile(
    r"while running (?P<kind>\w+) node\. Name:'(?P<name>[^']*)' Status Message: (?P<status>.*)", re.DOTALL
)
_NO_OPERATOR: Final = re.compile(
    r"No Op registered for (?P<name>\w+) with|Fatal error: (?P<domain>[\w.]+):(?P<own>\w+)\(-?\d+\) is not a registered"
)
_TOO_NEW: Final = re.compile(
    r"(?P<what>Opset) (?P<has>\d+) is under development.* is till opset (?P<most>\d+)"
    r"|Unsupported model (?P<ir>IR version): (?P<ir_has>\d+), max supported IR version: (?P<ir_most>\d+)",
    re.DOTALL,
)
_IR_GROUPS: Final = ("ir", "ir_has", "ir_most")
_ABOUT_MEMORY: Final = re.compile(r"allocate memory|size overflow|bad_alloc")
_LOCALE: Final = re.compile(r"Failed to construct locale with name:(?P<name>[\w.@-]*)")
_CODE: Final = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |"  # the code of an error
    r"\S+\.(?:h|cc|cpp|hpp):\d+ (?:\w+ (?=[A-Z]))?|"  # the place in the source, at times with the function's name
    r"[\w:*&<>, ]*\bonnxruntime::[\w:<>~]+\([^()]*\)(?: const)?(?:::<lambda\([^()]*\)>)? |"  # the function
    r".* was false\. "  # the condition
)


def load(model_file: Path, *, threads: int, options: Mapping[str, str]) -> OnnxRuntimeEngine:
    """Load a model; see `OnnxRuntimeEngine`.

    Args:
        model_file: The ONNX file.
        threads: How many cores one run may use; at least 1.
        options: None are known.

    Raises:
        EngineError: The model cannot be loaded, or there is an option.
    """
    check_options("onnxruntime", options)
    return OnnxRuntimeEngine(model_file, threads=threads)


def version() -> str:
    """The version of ONNX Runtime."""
    return str(ort.__version__)


class OnnxRuntimeEngine(PairedEngine["_Session"]):
    """A model in ONNX Runtime's CPU execution provider.

    Args:
        model_file: The ONNX file.
        threads: How many cores one run may use; at least 1.
        session: Opens a session of a file that runs on so many threads, for another provider; None: the CPU's.

    Raises:
        EngineError: The file is no model that this ONNX Runtime can run, or it has inputs or outputs that no datatype
            of the protocol describes.
    """

    def __init__(self, model_file: Path, *, threads: int, session: Callable[[Path, int], Any] | None = None) -> None:
        open_session = session or _session
        wide = _Session(open_session(model_file, threads))
        inputs = [_spec(node, "input") for node in wide.session.get_inputs()]
        outputs = [_spec(node, "output") for node in wide.session.get_outputs()]
        pair = threads > 1 and model_file.stat().st_size <= MOST_COPIED
        narrow = _Session(open_session(model_file, 1)) if pair else None
        super().__init__(wide, narrow, inputs=inputs, outputs=outputs)
        self._fresh = True

    def infer(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None, *, busy: bool = False
    ) -> dict[str, NDArray[Any]]:
        """Run the model once; see `Engine.infer`."""
        if self._fresh:
            self._first_run(inputs)
        return super().infer(inputs, outputs, busy=busy)

    def _first_run(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Of an arena, the piece that its first run needed is never given back: let it be a golden sample's in both."""
        check_feeds(self.inputs, inputs)
        with self._lock:
            fresh, self._fresh = self._fresh, False
        if not fresh:
            return
        sample = {name: np.array(array) for name, array in inputs.items()}  # copied, since it may be a slice of more
        for session in (self._wide, self._narrow):
            session.sample = sample
        if self._narrow is not self._wide:
            self._narrow.run(sample, [spec.name for spec in self.outputs], large=False)


def session_options(threads: int) -> Any:
    """Say how a session runs: this many threads, none of them left spinning for long, quiet, int8 exact.

    Args:
        threads: How many cores one run may use; at least 1.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_MICROSECONDS)
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if products_saturate():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


class _Session:
    """A session that gives back what large runs needed.

    An arena keeps what a run needed for the next one. After one run of 20 times the usual size, 735 MB stayed, with
    giving back 60; latency is the same (docs/decisions/0009-calls-on-threads.md). Usual runs keep theirs: taking memory
    anew each time left the heap of an fp32 MobileNetV2 20 to 40 MB larger.

    Args:
        session: ONNX Runtime's.
    """

    def __init__(self, session: Any) -> None:
        self.session = session
        self._halves = any(node.type == BFLOAT16 for node in (*session.get_inputs(), *session.get_outputs()))
        self.sample: dict[str, NDArray[Any]] = {}
        """Inputs of the usual size; empty before the first run."""
        self._owing = False
        """Whether the answer of a large run has left its memory in the arena."""

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], *, large: bool) -> list[NDArray[Any]]:
        """Run the model; a large run's memory goes back at its end, that of its answer at the end of the next run."""
        options = _run_options(shrinks=large or self._owing)
        self._owing = large
        # An array of rank 0 turns into a scalar in NumPy's hands and ONNX Runtime's, which the latter does not take.
        feeds = {name: np.asarray(array) for name, array in inputs.items()}
        try:
            if self._halves:
                return run_with_halves(self.session, feeds, outputs, options)
            return [np.asarray(answer) for answer in self.session.run(outputs, feeds, options)]
        # ONNX Runtime's own errors share no base class of their own.
        except Exception as error:
            raise _converted(error) from error

    def settle(self) -> None:
        """Run once more where a large run's answer has left its memory."""
        if self._owing:
            self.run(self.sample, [node.name for node in self.session.get_outputs()], large=False)


@cache
def _run_options(*, shrinks: bool) -> Any:
    """Say how runs go, several at once among them: quiet; and whether the arena gives back what it does not need."""
    options = ort.RunOptions()
    options.log_severity_level = _FATAL_ONLY
    if shrinks:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _session(model_file: Path, threads: int) -> Any:
    _share_arena()
    options = session_options(threads)
    options.add_session_config_entry("session.use_env_allocators", "1")
    return opened(model_file, options, providers=["CPUExecutionProvider"])


@cache
def _share_arena() -> None:
    """Have all sessions of the process take their memory from one arena: what one does not need the other may use."""
    place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(place, None)


def opened(model_file: Path, options: Any, by: str = "ONNX Runtime", **more: Any) -> Any:
    """Open a session of a model.

    Args:
        model_file: The ONNX file.
        options: ONNX Runtime's options of the session.
        by: What loads it, for messages.
        more: Further arguments of ONNX Runtime's.

    Raises:
        EngineError: It does not load.
    """
    ort.disable_telemetry_events()
    ort.set_default_logger_severity(_FATAL_ONLY)
    try:
        return ort.InferenceSession(str(model_file), options, **more)
    # ONNX Runtime's own errors share no base class of their own.
    except Exception as error:
        raise EngineError(f"{model_file.name} {_unloadable(str(error), model_file, by)}") from error


def _unloadable(said: str, model_file: Path, by: str) -> str:
    """Why a file cannot be loaded, as the end of a sentence about it."""
    if found := _NO_OPERATOR.search(said):
        name = found["name"] or f"{found['domain']}:{found['own']}"
        return f"has operator {name!r}, which {by} {version()} does not have; expected a model of those that it has"
    if found := _TOO_NEW.search(said):
        what, has, most = ("opset", found["has"], found["most"]) if found["what"] else found.group(*_IR_GROUPS)
        return f"has {what} {has}; expected {most} or less with {by} {version()}"
    words = _sentence(said.replace(f"Load model from {model_file} failed:", ""))
    return f"cannot be loaded by {by}: {words}"


def _spec(node: Any, kind: str) -> TensorSpec:
    datatype = _DATATYPES.get(node.type)
    if datatype is None:
        raise EngineError(f"{kind} {node.name!r} has type {node.type}; expected a tensor of {', '.join(DTYPES)}")
    shape = tuple(size if isinstance(size, int) and size >= 0 else ANY_SIZE for size in node.shape)
    return TensorSpec(node.name, datatype, shape)


def _converted(error: Exception) -> EngineError:
    found = _IN_NODE.search(str(error))
    where = f" in its {found['kind']} node {found['name']}".rstrip() if found else ""
    theirs = isinstance(error, ValueError | TypeError) or type(error).__name__ in {"InvalidArgument", "NoSuchFile"}
    text = _sentence(found["status"] if found else str(error))
    return run_failure(error, text, where, about_memory=_ABOUT_MEMORY, theirs=theirs)


def _sentence(text: str) -> str:
    """The first line of an ONNX Runtime message, without the code in front of it."""
    if locale := _LOCALE.search(text):
        return (
            f"its StringNormalizer asks for the locale {locale['name']!r}, which is not on this machine; "
            "'C' was expected, which every machine has (letters A to Z)"
        )
    return _CODE.sub("", text.strip().partition("\n")[0]).strip()[:500]
