"""Toolchains besides ONNX Runtime: what each makes of which source, byte by byte the same, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from candidates import FLOAT, built, made, node, numbers
from tflite import fully_connected

from edgesmith_builder.contract import TOOLCHAINS, Artifact, BuildReport, Gates, Precision, Toolchain
from edgesmith_builder.contract.report import REPORT_ANNOTATION
from edgesmith_builder.dataset import samples_for
from edgesmith_builder.errors import NoCandidate, RequestInvalid
from edgesmith_builder.failures import CompileFailed
from edgesmith_builder.format import ModelFacts, read_source
from edgesmith_builder.toolchain import Compiled, Material, toolchain_of
from edgesmith_runtime.bundle import read_bundle
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.tensors import TensorSpec

FIRST, SECOND = numbers(16, 256, seed=1), numbers(256, 4, seed=2)
NODES = [node("MatMul", ["x", "a"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "b"], ["y"])]
SOURCE = made(NODES, [("x", FLOAT, ["n", 16])], [("y", FLOAT, ["n", 4])], {"a": FIRST, "b": SECOND})
X = numbers(96, 16, seed=7)
LABELS = (np.maximum(X @ FIRST, 0) @ SECOND).argmax(axis=1)
PRECISIONS: tuple[Precision, ...] = ("int8", "fp16", "fp32")


def source(folder: Path, data: bytes) -> ModelFacts:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "source").write_bytes(data)
    return read_source(folder / "source", "spec.source.uri s3://m/model")


def material(facts: ModelFacts, device: str = "CPU") -> Material:
    samples = samples_for({"x": X}, [TensorSpec("x", "FP32", (-1, 16))], field="spec.calibration", labels=None)
    return Material(facts, samples, {"device": device}, 1)


def compiled(folder: Path, precision: Precision, data: bytes | None = None, device: str = "CPU") -> Compiled:
    """What OpenVINO's toolchain makes of a source in a folder of its own."""
    facts = source(folder, SOURCE.SerializeToString() if data is None else data)
    (folder / "out").mkdir()
    toolchain = toolchain_of("OpenVINO")
    assert toolchain.refusal(precision, material(facts)) is None
    return toolchain.compile(precision, material(facts, device), folder / "out")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_openvino_s_ir_answers_as_the_source_does(tmp_path: Path, precision: Precision) -> None:
    found = compiled(tmp_path, precision)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.bin", "model.xml"]
    assert found.size == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    engine = load_engine(
        found.engine, found.model_file, threads=1, options=toolchain_of("OpenVINO").told_here(found.options)
    )
    said = engine.infer({"x": X})["y"]
    engine.close()
    right = np.maximum(X @ FIRST, 0) @ SECOND
    assert np.abs(said - right).max() < {"int8": 0.1, "fp16": 0.02, "fp32": 1e-4}[precision] * np.abs(right).max()


def test_fewer_bits_are_fewer_bytes(tmp_path: Path) -> None:
    sizes = [compiled(tmp_path / precision, precision).others[0].stat().st_size for precision in PRECISIONS]
    assert sizes[0] < 0.7 * sizes[1] < 0.4 * sizes[2]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_source_gives_the_same_ir_wherever_it_lies(tmp_path: Path, precision: Precision) -> None:
    files = [
        [path.read_bytes() for path in (found.model_file, *found.others)]
        for found in (compiled(tmp_path / name, precision) for name in ("a", "somewhere/else"))
    ]
    assert files[0] == files[1]
    assert str(tmp_path).encode() not in files[0][0]


def test_openvino_climbs_the_ladder_and_its_bundle_has_both_files(tmp_path: Path) -> None:
    outcome = built(
        tmp_path, SOURCE, {"x": X}, {"x": X, "labels": LABELS}, gates=Gates(max_accuracy_drop=0.2),
        toolchain=Toolchain(name="OpenVINO", precisions=PRECISIONS),
    )  # fmt: skip
    winner = outcome.winner.candidate
    assert (winner.precision, winner.rejected) == ("int8", None)
    assert winner.agreement is not None, "an IR is another model than the source, whatever its precision"
    bundle = read_bundle(tmp_path / "work" / "int8" / "bundle")
    assert (bundle.engine, bundle.file, dict(bundle.options)) == ("openvino", "model.xml", {"device": "CPU"})
    assert {"model.xml", "model.bin"} <= set(bundle.digests)


def test_a_device_that_the_builder_lacks_is_what_the_bundle_says_and_not_what_it_is_measured_on(tmp_path: Path) -> None:
    outcome = built(
        tmp_path, SOURCE, {"x": X}, {"x": X, "labels": LABELS},
        toolchain=Toolchain(name="OpenVINO", precisions=("fp16",), options={"device": "NPU"}),
    )  # fmt: skip
    assert outcome.winner.candidate.accuracy == 1.0
    assert dict(read_bundle(tmp_path / "work" / "fp16" / "bundle").options) == {"device": "NPU"}


def test_an_fp32_ir_is_held_against_the_source_like_any_candidate(tmp_path: Path) -> None:
    outcome = built(
        tmp_path, SOURCE, {"x": X}, {"x": X, "labels": LABELS},
        toolchain=Toolchain(name="OpenVINO", precisions=("fp32",)),
    )  # fmt: skip
    assert outcome.winner.candidate.agreement == 1.0
    assert outcome.winner.candidate.accuracy_drop_error is not None


def test_a_tflite_file_becomes_ir_in_the_precision_that_it_came_in(tmp_path: Path) -> None:
    data = fully_connected(FIRST)
    found = compiled(tmp_path / "a", "fp16", data)
    assert found.engine == "openvino"
    facts = source(tmp_path / "b", fully_connected(FIRST, "int8"))
    toolchain = toolchain_of("OpenVINO")
    assert toolchain.refusal("int8", material(facts)) is None
    assert "came in int8, and there is no fp32 form" in str(toolchain.refusal("fp32", material(facts)))
    wide = source(tmp_path / "c", data)
    assert toolchain.refusal("int8", material(wide)) == (
        "the model is a TFLite file in fp32; int8 is made of ONNX models only"
    )


def test_what_openvino_does_not_read_is_rejected_with_its_own_words(tmp_path: Path) -> None:
    own = made([onnx.helper.make_node("Gelu", ["x"], ["y"], domain="com.example")], [("x", FLOAT, ["n", 16])],
               [("y", FLOAT, ["n", 16])], {})  # fmt: skip
    with pytest.raises(CompileFailed, match="OpenVINO does not read it") as caught:
        compiled(tmp_path, "fp32", own.SerializeToString())
    assert "Gelu" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_int8_without_a_calibration_set_is_refused(tmp_path: Path) -> None:
    facts = source(tmp_path, SOURCE.SerializeToString())
    without = Material(facts, None, {"device": "CPU"}, 1)
    for name in ("OpenVINO", "ONNXRuntime"):
        assert str(toolchain_of(name).refusal("int8", without)).startswith("calibration is absent")


REPORTING = """
import sys
events = []
sys.addaudithook(lambda name, args: events.append((name, str(args)[:200])) if name in {
    "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.fork", "os.posix_spawn"} else None)
from pathlib import Path
from edgesmith_builder.format import read_source
from edgesmith_builder.toolchain import Material, toolchain_of
facts = read_source(Path(sys.argv[1]), "a model")
toolchain_of("OpenVINO").compile("fp32", Material(facts, None, {"device": "CPU"}, 1), Path(sys.argv[2]))
import json, threading
print(json.dumps([events, sorted(thread.name for thread in threading.enumerate())]))
"""


def test_nothing_is_reported_to_openvino_s_maker(tmp_path: Path) -> None:
    """Its import and each conversion with its own front send an event to Google Analytics unless that is kept off."""
    (tmp_path / "source").write_bytes(SOURCE.SerializeToString())
    for name in ("out", "home"):
        (tmp_path / name).mkdir()
    environment = {"HOME": str(tmp_path / "home"), "PYTHONPATH": ":".join(sys.path), "PYTHONDONTWRITEBYTECODE": "1",
                   "ORT_DISABLE_TELEMETRY": "1"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", REPORTING, str(tmp_path / "source"), str(tmp_path / "out")],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    events, threads = json.loads(done.stdout.splitlines()[-1])
    assert (events, threads) == ([], ["MainThread"])
    assert list((tmp_path / "home").iterdir()) == [], "no number of this machine is kept there"


@pytest.mark.parametrize("name", ["LiteRT", "OpenVINO"])
async def test_a_tflite_file_is_built_from_the_bucket_to_the_registry(world: Any, sets: Any, name: Any) -> None:
    weights = numbers(16, 4, seed=8)
    uri = world.store.put("surface/model.tflite", fully_connected(weights))
    evaluation = world.store.put("surface/rows.npz", sets.npz(x=X, labels=(X @ weights).argmax(axis=1)))
    asked = {
        "source": Artifact(uri=uri), "evaluation": Artifact(uri=evaluation), "calibration": None,
        "toolchain": Toolchain(name=name, precisions=("int8", "fp32")),
    }  # fmt: skip
    manifest = await world.manifest(await world.build(world.request(**asked)))
    report = BuildReport.model_validate_json(manifest.annotations[REPORT_ANNOTATION])
    assert (report.precision, report.accuracy, report.samples) == ("fp32", 1.0, 96)
    assert report.candidates[0].rejected is not None
    with pytest.raises(NoCandidate, match="the model is a TFLite file, which ONNX Runtime does not run"):
        await world.build(world.request(**{**asked, "toolchain": Toolchain(precisions=("fp32",))}))


def test_every_toolchain_of_the_ordinary_builder_is_found_by_its_name() -> None:
    for name, facts in TOOLCHAINS.items():
        if facts.builder is None:
            assert callable(toolchain_of(name).compile)


def test_a_builder_without_a_toolchain_s_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of builders differ in what they carry."""
    for name in ("openvino", "edgesmith_runtime.engine.openvino", "edgesmith_builder.toolchain.openvino"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(RequestInvalid, match="is OpenVINO, of which this builder lacks the package openvino"):
        toolchain_of("OpenVINO")
