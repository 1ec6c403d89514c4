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
import pytest
from boxes import NODES, VECTORS, WEIGHTS, apply_all, box, boxes_of
from mobilenets import UNIFORM, said_of_hopper
from namespaces import keep_evidence
from published import grace_hopper, imagenet, mobilenet
from tflite import fully_connected
from variant import bundle_layers, model_of

from edgesmith_runtime.engine import load_engine
from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground, kubeconfig_environment
from edgesmith_stage.predict import BATCH, Protocol, predict
from edgesmith_stage.shell import ROOT, run

pytestmark = pytest.mark.timeout(600)

Arrays = Mapping[str, Any]
PATIENCE = 400
"""Seconds for what is under way already: eleven builds on two cores, and other tiers beside them."""


@pytest.fixture(scope="module")
def boxes(ground: Ground, images: dict[str, str]) -> Iterator[Fleet]:
    """A node for each engine, and every EdgeModel of this module applied."""
    with boxes_of(ground, images["runtime-onnxruntime"]) as fleet:
        apply_all(fleet)
        yield fleet


@pytest.fixture
def fleet(boxes: Fleet, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """What a test works in; logs are kept where it fails."""
    yield boxes
    keep_evidence(request, boxes)


def test_a_quantised_tflite_file_goes_the_whole_way_to_litert(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(fully_connected(WEIGHTS, "int8"))
    assert _served(fleet, "vectors-litert", "litert")["precision"] == "int8"
    right = np.concatenate([_source(tmp_path / "model.tflite", {"x": vector[None]}) for vector in VECTORS[:3]])
    for answer in _answers(fleet, "vectors-litert", "litert", {"x": VECTORS[:3]}, batch=1):
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


def test_a_tflite_file_goes_the_whole_way_to_openvino(fleet: Fleet) -> None:
    assert _served(fleet, "vectors-openvino", "openvino")["precision"] == "fp16"
    vectors = VECTORS[:3].astype(np.float32) / 16
    for answer in _answers(fleet, "vectors-openvino", "openvino", {"x": vectors}, batch=1):
        np.testing.assert_allclose(answer, vectors @ WEIGHTS, rtol=1e-2, atol=1e-2)


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
    assert "It was chosen by latency." in rows[trial["winner"]]
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


def test_a_model_for_a_hexagon_is_compiled_in_a_job_and_waits_for_a_board(fleet: Fleet) -> None:
    fleet.wait("digits", "BuildsReady", seconds=PATIENCE)
    variant = fleet.variants("digits")[box("qnn")]
    assert (variant["precision"], variant["nodes"]["desired"]) == ("int8", 0)
    with tarfile.open(fileobj=io.BytesIO(bundle_layers(variant["image"])[-1])) as tar:
        (name,) = (name for name in tar.getnames() if name.endswith(".onnx"))
        member = tar.extractfile(name)
        assert member is not None
        assert b"soc_type=QCS6490;arch=68;" in member.read()
    waiting = fleet.condition("digits", "RolloutComplete") or {}
    assert (waiting["status"], waiting["reason"]) == ("False", "NoNodes")
    assert waiting["message"].startswith(f"No node has the labels of DeviceProfile {box('qnn')}")


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


def _source(path: Path, inputs: Arrays) -> Any:
    """What a TFLite file itself answers."""
    return next(iter(load_engine("litert", path, threads=1).infer(inputs).values()))


def _served(fleet: Fleet, name: str, engine: str) -> dict[str, Any]:
    """The variant once its server answers, whose self-test says which engine it ran in."""
    fleet.wait_settled(name, PATIENCE)
    (server,) = fleet.servers(name).values()
    assert server.node == NODES[engine]
    pod = fleet.ground.kube.get("pod", server.pod, fleet.namespace) or {}
    (tested,) = pod["status"]["initContainerStatuses"]
    said = json.loads(tested["state"]["terminated"]["message"])
    assert (said["verdict"], said["parity"]) == ("Passed", 1.0)
    assert said["device"]["engine"].split()[0] == engine
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
