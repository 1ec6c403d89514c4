"""A model of somebody else's, from its file to checked answers: one sample at a time, an old opset, odd names."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from bad_input import npz
from published import digits, mnist
from variant import model_of

from edgesmith_stage.fleet import Fleet
from edgesmith_stage.predict import Protocol, predict

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

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
