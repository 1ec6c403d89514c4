"""Every way from a source to answers on a device: toolchains and engines, alternatives, pruning, a simulated processor.

All EdgeModels are applied at once, so that what one waits for is another's time.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnxruntime
import pytest
from boxes import DIGITS, NODES, STEPS, THREE, VECTORS, WEIGHTS, apply_all, box, boxes_of, loud, recurrence
from mobilenets import UNIFORM, said_of_hopper
from namespaces import keep_evidence
from outliers import pictures
from published import grace_hopper, imagenet, mobilenet
from sequences import series
from tflite import fully_connected
from variant import bundle_layers, model_of
from web_server import WebServer, web_server

from edgesmith_runtime.engine import load_engine
from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground, kubeconfig_environment
from edgesmith_stage.predict import BATCH, Protocol, predict
from edgesmith_stage.shell import ROOT, run

pytestmark = pytest.mark.timeout(600)

Arrays = Mapping[str, Any]
PATIENCE = 400
"""Seconds for what is under way already: fourteen builds on two cores, and other tiers beside them."""


@pytest.fixture(scope="module")
def web(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """A web server in the cluster's network."""
    with web_server(ground, tmp_path_factory.mktemp("web")) as found:
        yield found


@pytest.fixture(scope="module")
def boxes(ground: Ground, web: WebServer) -> Iterator[Fleet]:
    """A node for each class, and every EdgeModel of this module applied."""
    with boxes_of(ground) as fleet:
        apply_all(fleet, web)
        yield fleet


@pytest.fixture
def fleet(boxes: Fleet, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """What a test works in; logs are kept where it fails."""
    yield boxes
    keep_evidence(request, boxes)


def test_a_quantised_tflite_file_goes_the_whole_way_to_litert(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(fully_connected(WEIGHTS, "int8"))
    assert _served(fleet, "vectors-int8", "litert")["precision"] == "int8"
    right = np.concatenate([_source(tmp_path / "model.tflite", {"x": vector[None]}) for vector in VECTORS[:3]])
    for answer in _answers(fleet, "vectors-int8", "litert", {"x": VECTORS[:3]}, batch=1):
        np.testing.assert_array_equal(answer, right)


def test_a_published_tflite_file_knows_grace_hopper(fleet: Fleet) -> None:
    variant = _served(fleet, "mobilenet", "litert")
    assert (variant["precision"], variant["accuracy"]) == ("int8", "100.00%")
    assert not variant["deviceWarnings"]
    _knows_grace_hopper(fleet, "mobilenet", "litert")


def test_its_form_for_an_edge_tpu_answers_on_the_processor_and_says_so(fleet: Fleet) -> None:
    variant = _served(fleet, "coral", "edgetpu")
    (warning,) = variant["deviceWarnings"]
    assert NODES["edgetpu"] in warning, warning
    assert "CPU" in warning, warning
    _knows_grace_hopper(fleet, "coral", "edgetpu")


def test_an_onnx_file_goes_the_whole_way_to_openvino(fleet: Fleet) -> None:
    inputs, _ = surface.samples(32)
    right = surface.reference(inputs)
    assert _served(fleet, "parts", "openvino")["precision"] == "int8"
    for answer in _answers(fleet, "parts", "openvino", inputs):
        assert np.abs(answer - right).mean() < 0.02
        assert (answer.argmax(axis=1) == right.argmax(axis=1)).mean() > 0.9


@pytest.mark.parametrize(("engine", "precision", "near"), [("openvino", "fp16", 1e-2), ("litert", "fp32", 1e-5)])
def test_a_tflite_file_goes_the_whole_way_to_two_classes(
    fleet: Fleet, engine: str, precision: str, near: float
) -> None:
    assert _served(fleet, "vectors-float32", engine)["precision"] == precision
    vectors = VECTORS[:3].astype(np.float32) / 16
    for answer in _answers(fleet, "vectors-float32", engine, {"x": vectors}, batch=1):
        np.testing.assert_allclose(answer, vectors @ WEIGHTS, rtol=near, atol=near)


def test_the_device_chooses_among_models_for_a_pump_and_the_report_says_why(fleet: Fleet) -> None:
    (trial,) = fleet.wait_settled("pump", PATIENCE)["status"]["trials"]
    variant, tried = fleet.variants("pump")[box("onnxruntime")], _tried(trial)
    assert set(tried) == {f"{name}/fp32" for name in ("source", "svm", "forest", "gru")}
    assert f"{variant['alternative']}/{variant['precision']}" == trial["winner"]

    with np.load(ROOT / "examples/predictive-maintenance/evaluation.npz") as found:
        windows, labels = found["window"][:32], found["labels"][:32]
    right = model_of(fleet.servers("pump")[NODES["onnxruntime"]].image).run(None, {"window": windows})[0]
    assert (right == labels).mean() > 0.7
    for answer in _answers(fleet, "pump", "onnxruntime", {"window": windows}):
        np.testing.assert_array_equal(answer, right)

    command = [sys.executable, "-m", "edgesmith.cli", "report", "pump", "-n", fleet.namespace]
    report = run(command, env=kubeconfig_environment(fleet.ground))
    rows = {line.split()[1]: line for line in report.splitlines()[1:]}
    assert "It was chosen by latency" in rows[trial["winner"]]
    for name, one in tried.items():
        assert one["latency"] in rows[name], report
        assert NODES["onnxruntime"] in rows[name], report


def test_pruned_candidates_are_tried_beside_the_whole_ones(fleet: Fleet) -> None:
    (trial,) = fleet.wait_settled("pruned", PATIENCE)["status"]["trials"]
    tried = _tried(trial)
    assert set(tried) == {"int8", "int8-pruned", "fp32", "fp32-pruned"}
    left = {name: float(one["multiplications"].rstrip("%")) for name, one in tried.items() if "multiplications" in one}
    assert set(left) == {"int8-pruned", "fp32-pruned"}
    assert all(50 < share <= 70 for share in left.values())
    assert tried["int8-pruned"]["size"] < tried["int8"]["size"]
    assert fleet.variants("pruned")[box("onnxruntime")]["precision"] == trial["winner"]
    inputs, labels = surface.samples(32)
    right = model_of(fleet.servers("pruned")[NODES["onnxruntime"]].image).run(None, inputs)[0]
    for answer in _answers(fleet, "pruned", "onnxruntime", inputs):
        np.testing.assert_allclose(answer, right, rtol=1e-3, atol=1e-4)
        assert (answer.argmax(axis=1) == labels).mean() > 0.9


def test_the_nodes_that_lose_most_stay_in_float_where_int8_misses_its_gate(fleet: Fleet) -> None:
    inputs = pictures(14)
    right = _source_onnx(loud(), inputs)
    variant = _served(fleet, "loud", "ladder")
    assert variant["precision"] == "int8-mixed"
    (plain,) = (one for one in variant["refused"] if one["precision"] == "int8")
    assert "spec.gates." in plain["message"], plain
    for answer in _answers(fleet, "loud", "ladder", inputs):
        assert np.abs(answer - right).mean() < 0.05
        np.testing.assert_array_equal(answer.argmax(axis=1), right.argmax(axis=1))


def test_a_recurrence_is_served_in_int8_with_ranges_that_are_taken_at_run_time(fleet: Fleet) -> None:
    inputs, _ = series(40, STEPS, 4)
    right = _source_onnx(recurrence(), inputs)
    assert _served(fleet, "series", "ladder")["precision"] == "int8-dynamic"
    for answer in _answers(fleet, "series", "ladder", inputs):
        assert np.abs(answer - right).mean() < 0.02
        assert (answer.argmax(axis=1) == right.argmax(axis=1)).mean() > 0.9


def test_a_file_on_a_web_server_is_fetched_with_its_login_and_the_charts_authority(
    fleet: Fleet, web: WebServer
) -> None:
    fleet.wait_settled("series", PATIENCE)
    assert fleet.model("series")["spec"]["source"]["uri"].startswith(f"https://{web.host}/")
    assert web.answers() == ["GET /series.onnx 200"]


def test_a_ticket_that_is_sent_comes_back_with_its_fault(fleet: Fleet) -> None:
    folder = ROOT / "examples/language"
    with np.load(folder / "evaluation.npz") as found:
        texts, labels = found["text"][:40].astype(np.object_), found["labels"][:40]
    right = _source_onnx((folder / "model.onnx").read_bytes(), {"text": texts})
    assert _served(fleet, "tickets", "ladder")["precision"] == "int8"
    for answer in _answers(fleet, "tickets", "ladder", {"text": texts}):
        assert np.abs(answer - right).mean() < 0.02
        assert (answer.argmax(axis=1) == labels).mean() > 0.8


def test_a_model_for_a_hexagon_is_compiled_in_a_job_and_answers_in_the_simulator(fleet: Fleet) -> None:
    variant = _served(fleet, "digits", "qnn")
    assert variant["precision"] == "int8"
    with tarfile.open(fileobj=io.BytesIO(bundle_layers(variant["image"])[-1])) as tar:
        (name,) = (name for name in tar.getnames() if name.endswith(".onnx"))
        member = tar.extractfile(name)
        assert member is not None
        assert b"soc_type=QCS6490;arch=68;" in member.read()


def test_one_model_is_built_for_three_classes_and_answers_alike_in_three_engines(fleet: Fleet) -> None:
    with np.load(DIGITS / "evaluation.npz") as found:
        images = found["image"][:3]
    right = _source_onnx((DIGITS / "model.onnx").read_bytes(), {"image": images})
    variants = {engine: _served(fleet, "digits", engine) for engine in THREE}
    assert {one["precision"] for one in variants.values()} == {"int8"}
    assert len({one["image"] for one in variants.values()}) == len(THREE)
    for engine in THREE:
        for answer in _answers(fleet, "digits", engine, {"image": images}, batch=1):
            assert np.abs(answer - right).max() < 0.15, engine
            np.testing.assert_array_equal(answer.argmax(axis=1), right.argmax(axis=1))


def _tried(trial: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a trial measured, by candidate; the winner is the fastest, but for what counts as noise."""
    assert trial["node"] == NODES["onnxruntime"]
    tried = {"/".join(filter(None, (one.get("alternative"), one["precision"]))): one for one in trial["finalists"]}
    kept = {name: float(one["latency"].removesuffix("ms")) for name, one in tried.items() if one["reason"] == "Passed"}
    assert kept[trial["winner"]] <= 1.1 * min(kept.values())
    return tried


def _knows_grace_hopper(fleet: Fleet, name: str, engine: str) -> None:
    classes = imagenet()
    right = _source(mobilenet(), {"input": grace_hopper()})
    for answer in said_of_hopper(fleet, name, NODES[engine]):
        assert classes[int(answer.argmax())] == UNIFORM
        np.testing.assert_array_equal(answer, right)


def _source_onnx(model: bytes, inputs: Arrays) -> Any:
    """What an ONNX file itself answers."""
    session: Any = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, dict(inputs))[0]


def _source(path: Path, inputs: Arrays) -> Any:
    """What a TFLite file itself answers."""
    return next(iter(load_engine("litert", path, threads=1).infer(inputs).values()))


def _served(fleet: Fleet, name: str, engine: str) -> dict[str, Any]:
    """The variant once its server answers, whose self-test says which engine it ran in."""
    fleet.wait_settled(name, PATIENCE)
    servers = fleet.servers(name)
    assert len(servers) == len(fleet.variants(name)), "one node for each class"
    server = servers[NODES[engine]]
    pod = fleet.ground.kube.get("pod", server.pod, fleet.namespace) or {}
    (tested,) = pod["status"]["initContainerStatuses"]
    said = json.loads(tested["state"]["terminated"]["message"])
    assert (said["verdict"], said["parity"]) == ("Passed", 1.0)
    assert said["device"]["engine"].split()[0] == ("onnxruntime" if engine == "ladder" else engine)
    return fleet.variants(name)[box(engine)]


def _answers(fleet: Fleet, name: str, engine: str, inputs: Arrays, batch: int = BATCH) -> Iterator[Any]:
    """What the engine's node answers, over each protocol."""
    server = fleet.servers(name)[NODES[engine]]
    for protocol in get_args(Protocol):
        yield predict(
            fleet.ground.kube,
            server,
            model=name,
            inputs=dict(inputs),
            protocol=protocol,
            namespace=fleet.namespace,
            batch=batch,
        )
