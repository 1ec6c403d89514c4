"""Models of somebody else's, from their files to checked answers.

One takes one sample at a time and has an old opset and odd names; one gives its state out and takes it in again; one
takes bytes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from answering import PROTOCOLS, asking
from bad_input import npz
from cases import Case, bare, file_kinds, heard, voice_detector
from published import digits, mnist
from pulled import pulled
from variant import model_of
from voices import recording

from edgesmith_runtime.bundle import read_bundle
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.golden import Golden, compare
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.predict import Protocol, predict

pytestmark = [pytest.mark.timeout(900), pytest.mark.long]

NAME = "handwriting"
CALIBRATION, EVALUATION, ASKED = 64, 600, 4


def test_a_published_model_goes_the_whole_way(fleet: Fleet) -> None:
    model = mnist().read_bytes()
    images, labels = digits()
    evaluation = npz(Input3=images[-EVALUATION:], labels=labels[-EVALUATION:])
    manifest = fleet.manifest(
        NAME,
        fleet.publish_bytes("mnist", model),
        calibration={"uri": fleet.publish_set("calibration", npz(Input3=images[:CALIBRATION]))},
        evaluation={"uri": fleet.publish_set("evaluation", evaluation), "metric": "Accuracy"},
        gates={"maxAccuracyDrop": "2%", "minAccuracy": "0.85"},
        deviceProfiles={"names": ["generic-amd64"]},
        picture=None,
    )
    fleet.apply(manifest)
    fleet.wait_settled(NAME, 300)

    variant = fleet.variants(NAME)["generic-amd64"]
    assert variant["precision"] == "int8"
    assert float(variant["accuracy"].rstrip("%")) >= 85
    servers = fleet.servers(NAME)
    assert set(servers) == {"edge-1", "edge-2"}
    for server in servers.values():
        built = model_of(server.image)
        expected = np.concatenate([built.run(None, {"Input3": image[None]})[0] for image in images[-ASKED:]])
        for protocol in get_args(Protocol):
            answer = predict(
                fleet.ground.kube,
                server,
                model=NAME,
                inputs={"Input3": images[-ASKED:]},
                protocol=protocol,
                namespace=fleet.namespace,
                batch=1,
            )
            np.testing.assert_allclose(answer, expected, rtol=1e-3, atol=1e-3)


@dataclass
class Exposed:
    """The ports of nodes at which a Service answers."""

    http: int
    grpc: int


def test_models_of_packages_answer_through_their_services_as_they_did_when_they_were_built(
    fleet: Fleet, tmp_path: Path
) -> None:
    voice, (kinds, _, _) = voice_detector("silero_vad.onnx"), file_kinds(tmp_path)
    cases = {"voice": voice, "kinds": kinds}
    for name, case in cases.items():
        fleet.apply(_of_a_package(fleet, name, case))
    for name in cases:
        fleet.wait_settled(name, 400)
        assert fleet.variants(name)["generic-amd64"]["precision"] == "fp32"
        assert set(fleet.servers(name)) == {"edge-1", "edge-2"}
        _answer_as_built(fleet, name, tmp_path)

    sound, _ = recording(5, pitch=170)
    expected, _ = heard(bare(voice.model), sound, rate=True)
    host, ports = _service(fleet, "voice", "edge-1")
    with asking(ports, "voice", "grpc", host=host) as ask:
        likely, _ = heard(ask, sound, rate=True)
    np.testing.assert_allclose(likely, expected, atol=1e-3)


def _of_a_package(fleet: Fleet, name: str, case: Case) -> dict[str, Any]:
    """An EdgeModel of a model that a package ships, whose Service answers at ports of nodes."""
    assert case.evaluation is not None
    scored = {"output": case.output} if case.output else {}
    sets = {"calibration": npz(**case.calibration), "evaluation": npz(**case.evaluation)}
    uris = {kind: fleet.publish_set(f"{name}-{kind}", content) for kind, content in sets.items()}
    manifest = fleet.manifest(
        name,
        fleet.publish_bytes(name, case.model.read_bytes()),
        calibration={"uri": uris["calibration"]},
        evaluation={"uri": uris["evaluation"], "metric": "Accuracy", **scored},
        gates={"maxAccuracyDrop": "5%"},
        deviceProfiles={"names": ["generic-amd64"]},
        picture=None,
    )
    manifest["spec"]["serving"]["expose"] = {"type": "NodePort"}
    return manifest


def _service(fleet: Fleet, name: str, node: str) -> tuple[str, Exposed]:
    """Where a Service answers on a node: its address and ports."""
    service = fleet.ground.kube.get("service", name, fleet.namespace) or {}
    ports = {one["name"]: one["nodePort"] for one in service["spec"]["ports"]}
    addresses = (fleet.ground.kube.get("node", node) or {})["status"]["addresses"]
    (host,) = (one["address"] for one in addresses if one["type"] == "InternalIP")
    return host, Exposed(ports["http"], ports["grpc"])


def _answer_as_built(fleet: Fleet, name: str, folder: Path) -> None:
    """Each node answers the golden samples of its image, over both protocols, as the build recorded."""
    for node, server in fleet.servers(name).items():
        bundle = read_bundle(asyncio.run(pulled(server.image, folder / f"{name}-{node}")))
        golden = Golden.read(*bundle.golden_paths)
        samples = golden.samples(load_engine("onnxruntime", bundle.model_path, threads=1))
        host, ports = _service(fleet, name, node)
        for protocol in PROTOCOLS:
            with asking(ports, name, protocol, host=host) as ask:
                for index, sample in enumerate(samples):
                    share, words = compare(golden, index, ask({key: np.asarray(one) for key, one in sample.items()}))
                    assert share <= 1, f"{name} on {node} over {protocol}: {words}"
