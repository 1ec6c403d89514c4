"""QNN in its simulator: what its toolchain makes and refuses, what its compiler says, and its engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from candidates import FLOAT, Value, asked, made, node, numbers
from needs import emulator
from numpy.typing import NDArray
from onnx import numpy_helper
from qnns import folder_with_qnn

from edgesmith_builder.build import climb
from edgesmith_builder.contract import TOOLCHAINS, Precision, Toolchain
from edgesmith_builder.dataset import Samples, samples_for
from edgesmith_builder.errors import NoCandidate
from edgesmith_builder.failures import CompileFailed, machine_failed
from edgesmith_builder.ladder import Outcome
from edgesmith_builder.quantize import Quantization, quantize
from edgesmith_builder.toolchain.sizes import one_sample
from edgesmith_runtime.engine import EngineError, EngineInputError, load_engine

EXAMPLES = Path(__file__).parents[2] / "examples"
CONTEXT = "edgesmith_builder.toolchain.qnn_context"
SOCS = TOOLCHAINS["QNN"].options["soc"].values


@pytest.fixture(scope="session", name="qnn")
def qnn_toolchain() -> Iterator[ModuleType]:
    """The toolchain's module. It stays importable: ONNX Runtime has its provider for the life of the process."""
    folder = str(folder_with_qnn())
    sys.path.append(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([*sys.path, folder]))
        from edgesmith_builder.toolchain import qnn  # noqa: PLC0415 - importable from here on

        yield qnn


def closing_engine(file: Path, model: onnx.ModelProto) -> Any:
    file.write_bytes(model.SerializeToString())
    return closing(load_engine("onnxruntime", file, threads=1))


# Candidates -----------------------------------------------------------------------------------------------------------

X: tuple[Value, ...] = (("x", FLOAT, ["n", 32]),)
Y: tuple[Value, ...] = (("y", FLOAT, ["n", 32]),)
Z: Value = ("z", FLOAT, ["n", 32])
WEIGHTS = {"a": numbers(32, 32, seed=1)}
SAMPLES = {"x": numbers(60, 32, seed=3)}


def product(*after: onnx.NodeProto, weights: Mapping[str, NDArray[Any]] = WEIGHTS) -> onnx.ModelProto:
    """A product of matrices, `h`, and what comes after it."""
    return made([node("MatMul", ["x", "a"], ["h"]), *after], X, Y, dict(weights))


RELU = node("Relu", ["h"], ["y"])


def outcome(
    folder: Path,
    model: onnx.ModelProto,
    *precisions: Precision,
    sets: Mapping[str, NDArray[Any]] | None = SAMPLES,
    **options: str,
) -> Outcome:
    toolchain = Toolchain(name="QNN", precisions=precisions or ("int8",), options=options)
    wanted, inputs = asked(folder, model, sets, toolchain=toolchain)
    (folder / "work").mkdir()
    return climb(wanted, inputs, 0, folder / "work", 1)


@pytest.mark.usefixtures("qnn")
@pytest.mark.parametrize(
    ("model", "precision", "sets", "says"),
    [
        pytest.param(
            product(node("Erf", ["h"], ["y"], name="bell")), "int8", SAMPLES,
            "it cannot be made: the Hexagon V68 of QCS6490 does not run Erf 'bell'; operators that it runs were "
            "expected",
            id="an operator that it has not",
        ),
        pytest.param(
            product(RELU), "fp16", SAMPLES,
            "QCS6490 has a Hexagon V68, which does not compute in fp16; int8 was expected", id="no floating point",
        ),
        pytest.param(
            product(RELU), "int8", None, "calibration is absent; int8 needs spec.calibration", id="no calibration"
        ),
        pytest.param(
            made([node("MatMul", ["x", "a"], ["y"])], [("x", FLOAT, ["n", "m", 32])], [("y", FLOAT, ["n", "m", 32])],
                 WEIGHTS),
            "int8", {"x": numbers(8, 3, 32)},
            "input 'x' has no known size on axis 1; known sizes were expected on every axis but the first, since QNN "
            "compiles a model for its sizes", id="an open size",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_said_in_the_models_own_terms(
    model: onnx.ModelProto, precision: Precision, sets: Mapping[str, NDArray[Any]] | None, says: str, tmp_path: Path
) -> None:
    with pytest.raises(
        NoCandidate, match=re.escape(f"no candidate can be made that works: {precision}: ") + ".*" + re.escape(says)
    ):
        outcome(tmp_path, model, precision, sets=sets)


@pytest.mark.usefixtures("qnn")
def test_other_rungs_go_on_where_one_cannot_be_made(tmp_path: Path) -> None:
    found = outcome(
        tmp_path, product(node("Softmax", ["h"], ["y"])), "int8", "fp16", soc="QCS9100", activations="uint16"
    )
    assert [one.precision for one in found.candidates if one.rejected is None] == ["int8", "fp16"]


@pytest.fixture(scope="module")
def compile_once(qnn: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Compiles each product in int8 once, whoever asks for it, and gives the folder and the samples."""

    @cache
    def compile_it(model: bytes, soc: str, settings: tuple[tuple[str, Any], ...]) -> tuple[Path, Samples]:
        folder = tmp_path_factory.mktemp("compiled")
        source, made = folder / "source.onnx", folder / "made"
        made.mkdir()
        with closing_engine(source, onnx.load_from_string(model)) as engine:
            samples = samples_for(SAMPLES, engine.inputs, field="spec.calibration", labels=None)
        quantised = quantize(source, samples, Quantization(reduce_range=False, hexagon=True, **dict(settings)), made)
        qnn.compile_context(one_sample(quantised, folder / "reference.onnx"), folder / "context.onnx", soc)
        return folder, samples

    return compile_it


@pytest.fixture(name="compiled")
def compiled_product(compile_once: Any, tmp_path: Path) -> Any:
    """Gives a product in int8, compiled; the same model for the CPU; and samples of it. The files are the test's."""

    def copy_of(model: onnx.ModelProto, soc: str = "QCS6490", **settings: Any) -> tuple[Path, Path, Samples]:
        folder, samples = compile_once(model.SerializeToString(), soc, tuple(settings.items()))
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        return tmp_path / "context.onnx", tmp_path / "reference.onnx", samples

    return copy_of


def difference(file: Path, engine: str, other: Path, samples: Samples) -> float:
    """The largest, in the shape of the largest answer, over 20 samples."""
    with (
        closing(load_engine(engine, file, threads=1)) as one,
        closing(load_engine("onnxruntime", other, threads=1)) as two,
    ):
        pairs = [(one.infer(samples.feed(i))["y"], two.infer(samples.feed(i))["y"]) for i in range(20)]
    return max(float(np.abs(a - b).max()) for a, b in pairs) / max(float(np.abs(b).max()) for _, b in pairs)


def test_the_simulator_answers_as_the_cpu_does_to_a_step_and_sixteen_bits_lose_less(
    compiled: Any, tmp_path: Path
) -> None:
    context, reference, samples = compiled(product(node("Tanh", ["h"], ["y"])))
    assert 0 < difference(context, "qnn", reference, samples) < 0.2
    coarse = difference(context, "qnn", tmp_path / "source.onnx", samples)
    (tmp_path / "made").rename(tmp_path / "eight")
    context, reference, samples = compiled(product(node("Tanh", ["h"], ["y"])), activations="uint16")
    assert difference(context, "qnn", tmp_path / "source.onnx", samples) < coarse


@pytest.mark.parametrize("soc", [SOCS[0], *(pytest.param(soc, marks=pytest.mark.long) for soc in SOCS[1:])])
def test_a_binary_is_for_the_system_on_chip_that_is_asked_for(qnn: ModuleType, compiled: Any, soc: str) -> None:
    """QNN's own words in what it compiles, for the number that we give it."""
    context, _, _ = compiled(product(RELU), soc)
    arch = qnn.SOCS[soc].hexagon.removeprefix("V")
    assert f"soc_type={soc};arch={arch};".encode() in context.read_bytes()
    single = one_sample(context.with_name("source.onnx"), context.with_name("single.onnx"))  # in fp32
    if qnn.SOCS[soc].fp16:
        qnn.compile_context(single, context.with_name("half.onnx"), soc)
    else:
        with pytest.raises(CompileFailed, match=f"the Hexagon V68 of {soc} does not run MatMul .*, Relu "):
            qnn.compile_context(single, context.with_name("half.onnx"), soc)
    assert set(qnn.SOCS) == set(SOCS)


def test_a_model_that_came_in_int8_is_compiled_as_it_is_and_has_no_other_form(compiled: Any, tmp_path: Path) -> None:
    _, reference, _ = compiled(product(RELU))
    (tmp_path / "int8").mkdir()
    found = outcome(tmp_path / "int8", onnx.load(reference), "int8", "fp16", sets=None, soc="QCS9100")
    assert [one.rejected is None for one in found.candidates] == [True, False]
    assert "the model came in int8, and there is no fp16 form of it" in str(found.candidates[1].rejected)


def test_tensors_are_quantised_as_qnn_asks_for_them(tmp_path: Path) -> None:
    """One scale for a product of matrices; of a sigmoid in 16 bits the one that QNN computes with."""
    model = product(node("Sigmoid", ["h"], ["y"]))
    with closing_engine(tmp_path / "source.onnx", model) as engine:
        samples = samples_for(SAMPLES, engine.inputs, field="spec.calibration", labels=None)
    (tmp_path / "made").mkdir()
    settings = Quantization("uint16", reduce_range=False, hexagon=True)
    graph = onnx.load(quantize(tmp_path / "source.onnx", samples, settings, tmp_path / "made")).graph
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    dequantised = {one.output[0]: one for one in graph.node if one.op_type == "DequantizeLinear"}
    (dense,) = (one for one in graph.node if one.op_type == "MatMul")
    weights, dense_scale, _ = (constants[name] for name in dequantised[dense.input[1]].input)
    assert (weights.dtype.name, weights.shape, dense_scale.size) == ("int8", (32, 32), 1)
    scale, zero = (constants[name] for name in dequantised["y"].input[1:])
    assert (scale.item(), zero.item(), zero.dtype.name) == (1 / 65536, 0, "uint16")


@pytest.mark.long
@pytest.mark.timeout(280)
def test_the_bytes_do_not_depend_on_the_processor(compiled: Any, tmp_path: Path) -> None:
    """A Haswell, emulated, has neither AVX-512 nor VNNI."""
    context, reference, _ = compiled(product(node("Softmax", ["h"], ["y"])))
    other = tmp_path / "haswell.onnx"
    haswell = [emulator("x86_64"), "-cpu", "Haswell-v1", sys.executable]
    done = subprocess.run([*haswell, "-m", CONTEXT, reference, other, "93"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert other.read_bytes() == context.read_bytes()


def test_golden_answers_are_held_against_the_cpus(qnn: ModuleType, compiled: Any) -> None:
    context, reference, samples = compiled(product(RELU))
    candidate = qnn.Compiled("qnn", context)
    assert reference.name == "reference.onnx"
    others = qnn.other_answers(candidate, samples.take(range(4)))
    with closing(load_engine("onnxruntime", reference, threads=1)) as engine:
        assert [one["y"].tolist() for one in others] == [engine.infer(samples.feed(i))["y"].tolist() for i in range(4)]
    with closing(load_engine("qnn", context, threads=1)) as engine:
        assert [one["y"].tolist() for one in others] != [engine.infer(samples.feed(i))["y"].tolist() for i in range(4)]
    reference.unlink()
    assert qnn.other_answers(candidate, samples.take(range(4))) is None


@pytest.mark.parametrize(
    ("script", "ends"),
    [
        ("kill -9 $$", (MemoryError, "QNN was killed")),
        ("exec sleep 60", (CompileFailed, "QNN did not compile the model within 0.2 s")),
        ("kill -11 $$", (CompileFailed, "QNN does not compile it for the Hexagon V68 of QCS6490 .status -11.")),
        ("exit 0", (CompileFailed, "QNN does not compile it")),
    ],
)
def test_a_compiler_that_ends_otherwise_is_told_from_one_that_refuses(
    qnn: ModuleType, script: str, ends: tuple[type[Exception], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, says = ends
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(qnn, "PATIENCE", 0.2 if "sleep" in script else 60.0)
    with pytest.raises(error, match=says) as caught:
        qnn.compile_context(tmp_path / "source.onnx", tmp_path / "context.onnx", "QCS6490")
    assert machine_failed(caught.value) == (error is not CompileFailed)


def test_a_builder_that_lacks_a_library_of_qnns_names_it_and_blames_no_model(
    qnn: ModuleType, compiled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, reference, _ = compiled(product(RELU))
    (tmp_path / "libatomic.so.1").write_bytes(b"")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    with pytest.raises(
        CompileFailed, match=r"^QNN's own libraries do not start in this builder \(.*libatomic\.so\.1: "
    ):
        qnn.compile_context(reference, tmp_path / "other.onnx", "QCS6490")


def test_a_builder_on_another_machine_says_that_it_has_no_simulator(
    qnn: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qnn.platform, "machine", lambda: "aarch64")
    with pytest.raises(NoCandidate, match="this builder runs on aarch64, where QNN has no simulator"):
        outcome(tmp_path, product(RELU))


# The engine -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"performanceMode": "fast"}, "option 'performanceMode' is 'fast'; expected one of default, burst"),
        (
            {"soc": "QCS6490"},
            "option 'soc' is 'QCS6490', which engine qnn does not know; expected one of performanceMode",
        ),
    ],
)
def test_an_option_that_the_engine_does_not_know_is_refused(compiled: Any, options: dict[str, str], says: str) -> None:
    context, _, _ = compiled(product(RELU))
    with pytest.raises(EngineError, match=says):
        load_engine("qnn", context, threads=1, options=options)


def test_every_mode_that_a_profile_can_ask_for_is_one_of_the_engines(compiled: Any) -> None:
    context, _, samples = compiled(product(RELU))
    for mode in TOOLCHAINS["QNN"].options["performanceMode"].values:
        loaded: Any = load_engine("qnn", context, threads=2, options={"performanceMode": mode})
        with closing(loaded) as engine:
            assert engine.infer(samples.feed(0))["y"].shape == (1, 32)
            assert engine._wide.session.get_provider_options()["qnn"]["htp_performance_mode"] == mode


def test_a_model_that_would_run_on_the_cpu_or_is_spoilt_is_not_loaded(compiled: Any, tmp_path: Path) -> None:
    context, _, _ = compiled(product(RELU))
    (tmp_path / "source.onnx").write_bytes(product(node("Erf", ["h"], ["y"])).SerializeToString())
    with pytest.raises(EngineError, match=r"single.onnx cannot be loaded by QNN: .*fallback to CPU EP has been"):
        load_engine("qnn", one_sample(context.with_name("source.onnx"), context.with_name("single.onnx")), threads=1)
    context.write_bytes(context.read_bytes()[:-1000])
    with pytest.raises(EngineError, match=r"context.onnx cannot be loaded by QNN"):
        load_engine("qnn", context, threads=1)


def test_it_takes_one_sample_and_says_so(compiled: Any) -> None:
    context, _, samples = compiled(product(RELU))
    with closing(load_engine("qnn", context, threads=2)) as engine:
        assert [spec.shape for spec in (*engine.inputs, *engine.outputs)] == [(1, 32), (1, 32)]
        with pytest.raises(EngineInputError, match="the model refused its inputs"):
            engine.infer({"x": samples.inputs["x"][:2]})


def test_many_callers_get_their_own_answers_in_the_order_asked_for(compiled: Any) -> None:
    context, _, samples = compiled(
        made([node("MatMul", ["x", "a"], ["y"]), node("Relu", ["y"], ["z"])], X, (*Y, Z), WEIGHTS)
    )
    engine = load_engine("qnn", context, threads=2)
    alone = [engine.infer(samples.feed(index))["z"] for index in range(8)]

    def call(index: int) -> bool:
        found = engine.infer(samples.feed(index), ["z", "y"], busy=bool(index % 2))
        return list(found) == ["z", "y"] and np.array_equal(found["z"], alone[index])

    with closing(engine), ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(8)))
        with pytest.raises(EngineInputError, match="w"):
            engine.infer(samples.feed(0), ["w"])


@pytest.mark.usefixtures("qnn")
def test_a_device_without_its_hexagon_says_what_is_missing(tmp_path: Path) -> None:
    from edgesmith_runtime.engine.qnn import lacking  # noqa: PLC0415 - importable where the package is

    assert lacking("x86_64", tmp_path) is None
    device = (
        "/dev/fastrpc-cdsp and /dev/fastrpc-cdsp-secure are not there; expected one of them, a device file of the node"
    )
    assert str(lacking("aarch64", tmp_path)).startswith(device)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/fastrpc-cdsp").touch()
    said = str(lacking("aarch64", tmp_path))
    assert said.startswith("libcdsprpc.so: cannot open shared object file")
    assert said.endswith("; expected the node's FastRPC library, where the loader finds it or in /opt/fastrpc")


def test_a_builder_without_the_package_names_it() -> None:
    text = "from edgesmith_builder.toolchain import toolchain_of\ntoolchain_of('QNN')"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if "edgesmith/qnn" not in path)}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, env=environment)
    assert "build.toolchain.name is QNN, of which this builder lacks the package onnxruntime_qnn" in done.stderr
