"""What OpenVINO does beyond what all engines do."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from toys import LAYERS, TOYS, ir_file, onnx_file

from edgesmith_runtime.bundle import Bundle, TensorSpec, write_bundle
from edgesmith_runtime.engine import EngineError, EngineInputError, load_engine
from edgesmith_runtime.golden import Golden
from edgesmith_runtime.loading import LoadFailed, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KINDS = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
}


def identity(folder: Path, kind: int) -> Path:
    """A model that answers its input [-1,2] as it came."""
    node, value = helper.make_node("Identity", ["x"], ["y"]), (kind, ("n", 2))
    return ir_file(onnx_file(folder / "model.onnx", [node], {"x": value}, {"y": value}))


@pytest.mark.parametrize("datatype", KINDS)
def test_every_type_comes_back(tmp_path: Path, datatype: str) -> None:
    engine = load_engine("openvino", identity(tmp_path, KINDS[datatype]), threads=1)
    assert engine.inputs == (TensorSpec("x", datatype, (-1, 2)),)
    kind = {"BOOL": "bool", "FP16": "f2", "FP32": "f4", "FP64": "f8"}.get(datatype, datatype.lower())
    x = np.array([[0, 1], [1, 0], [1, 1]]).astype(kind)
    (answer,) = engine.infer({"x": x}).values()
    assert answer.dtype == x.dtype
    assert np.array_equal(answer, x)


@pytest.mark.parametrize(
    ("kind", "word"), [(TensorProto.STRING, "string"), (TensorProto.BFLOAT16, "bf16"), (TensorProto.INT4, "i4")]
)
def test_other_types_are_refused(tmp_path: Path, kind: int, word: str) -> None:
    with pytest.raises(EngineError, match=f"input 'x' has type {word}; expected a tensor of BOOL, .*, FP64$"):
        load_engine("openvino", identity(tmp_path, kind), threads=1)


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"few")])
def test_weights_that_are_not_there_are_told(tmp_path: Path, spoil: Callable[[Path], Any]) -> None:
    model = LAYERS["openvino"][0](tmp_path)
    spoil(model.with_suffix(".bin"))
    with pytest.raises(EngineError, match=r"^model\.xml cannot be loaded by OpenVINO: .* bin file") as caught:
        load_engine("openvino", model, threads=1)
    assert not re.search(r"\n|\.cpp", str(caught.value))


def test_devices_that_are_not_there_are_told(tmp_path: Path) -> None:
    model = TOYS["openvino"](tmp_path)
    with pytest.raises(EngineError, match=r"^device NPU is not there; expected one that OpenVINO finds: CPU"):
        load_engine("openvino", model, threads=1, options={"device": "NPU"})
    with pytest.raises(EngineError, match=r"^option 'device' is 'TPU'; expected one of CPU, GPU, NPU$"):
        load_engine("openvino", model, threads=1, options={"device": "TPU"})
    assert load_engine("openvino", model, threads=1, options={"device": "CPU"}).inputs


def test_a_failed_run_names_its_node(tmp_path: Path) -> None:
    node, value = helper.make_node("MatMul", ["x", "x"], ["y"]), (TensorProto.FLOAT, ("n", "m"))
    model = ir_file(onnx_file(tmp_path / "model.onnx", [node], {"x": value}, {"y": value}))
    engine = load_engine("openvino", model, threads=2)
    with pytest.raises(EngineInputError) as caught:
        engine.infer({"x": np.ones((2, 3), np.float32)})
    assert str(caught.value).startswith(
        "the model refused its inputs in its MatMul node y: Matmul input shapes are inc"
    )
    assert not re.search(r"\n|\.cpp", str(caught.value))
    assert engine.infer({"x": np.ones((2, 2), np.float32)})["y"].tolist() == [[2, 2], [2, 2]]


def test_the_wide_one_has_a_stream_and_the_narrow_one_many(tmp_path: Path) -> None:
    engine: Any = load_engine("openvino", TOYS["openvino"](tmp_path), threads=2)
    told = [runner._compiled.get_property for runner in (engine._wide, engine._narrow)]
    assert [ask("NUM_STREAMS") for ask in told] == [1, 2]
    assert [ask("INFERENCE_NUM_THREADS") for ask in told] == [2, 2]
    assert not any(ask("ENABLE_CPU_PINNING") for ask in told)
    assert {ask("INFERENCE_PRECISION_HINT").get_type_name() for ask in told} == {"f32"}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle of the layers in OpenVINO's two files."""
    model = LAYERS["openvino"][0](tmp_path)
    engine = load_engine("openvino", model, threads=1)
    images = np.random.default_rng(1).normal(size=(3, 3, 4, 4)).astype(np.float32)
    golden = Golden.of({"x": images}, engine.infer({"x": images}), 0.05)
    return write_bundle(
        tmp_path / "bundle",
        engine="openvino",
        precision="fp32",
        model_file=model,
        others=[model.with_suffix(".bin")],
        options={"device": "CPU"},
        inputs=engine.inputs,
        outputs=engine.outputs,
        labels=None,
        golden=golden,
    )


def test_a_bundle_of_two_files_is_loaded_and_answers(bundle: Bundle) -> None:
    loaded = load(bundle.folder, threads=2, max_batch=4)
    assert loaded.parity.passed
    assert loaded.model.signature.platform == "openvino"


def test_a_bundles_options_reach_its_engine(bundle: Bundle) -> None:
    manifest = bundle.folder / "bundle.json"
    manifest.write_text(manifest.read_text().replace('"device":"CPU"', '"device":"NPU"'))
    with pytest.raises(LoadFailed, match="device NPU is not there"):
        load(bundle.folder, threads=2, max_batch=4)


REPORTS = """
import sys
seen = []
sys.addaudithook(lambda event, arguments: seen.append(event) if event.startswith(("socket.", "urllib.")) else None)
from edgesmith_runtime.engine import load_engine
from pathlib import Path
load_engine("openvino", Path(sys.argv[1]), threads=1)
import threading
[thread.join(10) for thread in threading.enumerate() if thread is not threading.current_thread()]
print(seen, [name for name, module in sys.modules.items() if name.startswith("openvino_telemetry") and module])
"""


def test_nothing_is_reported_to_its_maker(tmp_path: Path) -> None:
    model = TOYS["openvino"](tmp_path)
    answer = subprocess.run([sys.executable, "-c", REPORTS, model], check=True, capture_output=True, text=True)
    assert answer.stdout == "[] []\n"


SIGNALLED = """
import faulthandler, gc, os, pathlib, signal, sys
from edgesmith_runtime.engine import load_engine
faulthandler.enable()  # gives the main thread memory of its own to take signals on
signal.signal(signal.SIGUSR1, lambda *_: print("taken"))
first, second = (load_engine("openvino", pathlib.Path(sys.argv[1]), threads=1) for _ in range(2))
first.close()
del first
gc.collect()
second.close()
del second
gc.collect()
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_a_signal_is_taken_after_two_engines_that_were_closed_in_the_order_of_loading(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SIGNALLED, str(identity(tmp_path, TensorProto.FLOAT))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "taken\n"), done.stderr
