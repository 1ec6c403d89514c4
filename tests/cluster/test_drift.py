"""Drift on a real node: told without losing a request, answered by a new model without a hand, known after its power.

The light of a camera changes. The test sends what it sees, says what that shows as somebody at the line would, and
looks on: the server finds out, the pod beside it tells, the operator starts the example's Job of retraining, which
teaches with the samples that the node sent, and its model is built and rolled out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from layered_image import PLACE, push_over
from shifted import Plates, plates

from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.kube import Object
from edgesmith_stage.load import Load
from edgesmith_stage.predict import Server, predict
from edgesmith_stage.waiting import until

pytestmark = [pytest.mark.timeout(900), pytest.mark.lent, pytest.mark.long]

NAME = surface.NAME
"""That of the example, which its Job's account may change."""
PROFILE = "panel-pc"
"""Of one node, which takes the model as it is: what is built here is built in seconds."""
SEEN, JUDGED, ENOUGH = 400, 200, 80
"""Plates that pass the camera, again and again; others, to judge by; how many of the first the Job waits for."""


WATCHED = 500
"""Samples of which a server knows for sure that its model was made with nothing like them: it says so after 300."""


def test_drift_is_told_and_a_model_that_knows_the_new_light_follows_by_itself(
    fleet: Fleet, images: dict[str, str], tmp_path: Path
) -> None:
    seen, judged = plates(SEEN, 1), plates(JUDGED, 2)
    labels = f"s3://samples/{fleet.namespace}/labels.npz"
    fleet.ground.bucket.put(f"{labels}.part", b"")  # makes the bucket
    fleet.ground.kube.apply_file(surface.FOLDER / "retraining.yaml", namespace=fleet.namespace)
    image = push_over(images["builder"], "retraining", surface.FOLDER / "retrain.py", tmp_path)
    asked = {"deviceProfiles": {"names": [PROFILE]}, "gates": {}, "feedback": _feedback(fleet, image, labels)}
    fleet.apply(fleet.manifest(NAME, fleet.publish("1"), **asked))
    fleet.wait_settled(NAME, 300)
    ((node, first),) = fleet.servers(NAME).items()
    assert _usual(fleet, node) > 0.95
    before = judged.right(_answers(fleet, node, judged))

    requests = tuple(seen.requests())
    _is_told(fleet, node, requests, tmp_path / "first")
    _outlasts_power(fleet, node)

    fleet.ground.bucket.put(labels, seen.said())
    with Load(fleet, NAME, [node], tmp_path / "then", *requests):
        new = until(
            lambda: _another(fleet, node, first.image), seconds=300, what="a new model", detail=lambda: _say(fleet)
        )
        until(lambda: _drift(fleet, new)["samples"] > WATCHED, seconds=240, what="the new server to have seen enough")
        assert _drift(fleet, new)["state"] != "Drifted"
        after = judged.right(_answers(fleet, node, judged))
    assert after > before + 0.2, f"{before:.3f} of the new pictures before, {after:.3f} after"
    _once_and_said_why(fleet)


def _is_told(fleet: Fleet, node: str, requests: tuple[str, ...], folder: Path) -> None:
    """What the server finds out comes home, and no request is lost for it."""
    ((_, server),) = fleet.servers(NAME).items()
    pods = fleet.pods(NAME)
    with Load(fleet, NAME, [node], folder, *requests, patience=60) as load:
        said = fleet.wait(NAME, "Drifted", reason="NodesDrifted", seconds=180)
    lost = load.answers()[node].lost
    assert not lost, f"{node} lost {lost[:3]}"
    assert node in said["message"]
    assert fleet.pods(NAME) == pods, "no server was touched for it"
    chosen = {"edgesmith.dev/reports": server.revision, "app.kubernetes.io/component": "reporter"}
    (report,) = fleet.ground.kube.list("pods", fleet.namespace, chosen)
    container = report["status"]["containerStatuses"][0]
    ended = container["state"].get("terminated") or container["lastState"]["terminated"]
    assert ended["exitCode"] == 0
    assert json.loads(ended["message"])["state"] == "Drifted"
    assert report["spec"]["automountServiceAccountToken"] is False


def _outlasts_power(fleet: Fleet, node: str) -> None:
    """A node without power is not counted, and counted again when it is back; that is no other episode."""
    began = fleet.model(NAME)["status"]["drift"]["episode"]["id"]
    fleet.off(node)
    until(lambda: node in fleet.not_ready(), seconds=60, what=f"{node} to be NotReady")
    until(lambda: _drifted(fleet) == ("Unknown", "DriftUnknown"), seconds=60, what=f"{node} not to be counted")
    fleet.on(node)
    fleet.wait(NAME, "Drifted", reason="NodesDrifted", seconds=120)
    assert fleet.model(NAME)["status"]["drift"]["episode"]["id"] == began


def _feedback(fleet: Fleet, image: str, labels: str) -> dict[str, Any]:
    """What a user says to have the loop closed."""
    job = {
        "image": image,
        "command": ["/usr/bin/python3.11", f"{PLACE}/retrain.py"],
        "env": {"LABELS": labels, "TARGET": f"s3://models/{fleet.namespace}", "ENOUGH": str(ENOUGH)},
        "secretRefs": [{"name": surface.SECRET}],
        "serviceAccount": "trainer",
        "nodeSelector": {"edgesmith.dev/hub": "true"},
        "retries": 0,
    }
    return {
        "privacy": "Samples",
        "drift": {"cycle": "0s"},
        "bucket": {"uri": "s3://samples/edge", "secretRef": {"name": surface.SECRET}},
        "sample": {"bytesPerDay": "2G", "randomShare": "100%"},
        "retraining": {"job": job},
    }


def _answers(fleet: Fleet, node: str, plates: Plates) -> Any:
    """What a node's server answers to pictures."""
    server, inputs = fleet.servers(NAME)[node], {"image": plates.images}
    return predict(fleet.ground.kube, server, model=NAME, inputs=inputs, protocol="http", namespace=fleet.namespace)


def _usual(fleet: Fleet, node: str) -> float:
    """The share of right answers to pictures as the first model knows them."""
    inputs, labels = surface.samples(200)
    usual = Plates(inputs["image"], labels)
    return usual.right(_answers(fleet, node, usual))


def _another(fleet: Fleet, node: str, image: str) -> Server | None:
    """The server of a node where it has another image than that one and nothing is left to do."""
    server, ready = fleet.servers(NAME).get(node), fleet.condition(NAME, "Ready")
    settled = server and server.ready and server.image != image and ready and ready["status"] == "True"
    return server if settled else None


def _drift(fleet: Fleet, server: Server) -> Object:
    """What a server itself says of drift."""
    place = f"/api/v1/namespaces/{fleet.namespace}/pods/{server.pod}:8000/proxy/drift"
    found: Object = json.loads(fleet.ground.kube("get", "--raw", place))
    return found


def _drifted(fleet: Fleet) -> tuple[str, str]:
    found = fleet.condition(NAME, "Drifted") or {"status": "", "reason": ""}
    return found["status"], found["reason"]


def _once_and_said_why(fleet: Fleet) -> None:
    """One Job trained in the one episode, its file is the source, and the build says that this is why it was made."""
    model, jobs = fleet.model(NAME), fleet.ground.kube.list("jobs", fleet.namespace)
    episode, source = model["status"]["drift"]["episode"], model["spec"]["source"]
    assert episode["fired"] == ["job"]
    assert episode["ended"]
    assert episode["id"] in source["uri"]
    (trained,) = (job for job in jobs if "edgesmith.dev/retraining" in job["metadata"]["labels"])
    assert trained["metadata"]["labels"]["edgesmith.dev/episode"] == episode["id"]
    assert trained["status"]["succeeded"] == 1
    said = [job["metadata"].get("annotations", {}).get("edgesmith.dev/build-reason") for job in jobs]
    (why,) = filter(None, said)
    changed = {change["field"]: change for change in json.loads(why)}
    assert changed["source.sha256"]["old"] == episode["of"]
    assert changed["source.sha256"]["new"] == source["sha256"]
    assert {"calibration.sha256", "evaluation.sha256"} <= changed.keys()


def _say(fleet: Fleet) -> str:
    jobs: list[Object] = fleet.ground.kube.list("jobs", fleet.namespace)
    ended = {job["metadata"]["name"]: job.get("status") for job in jobs}
    return json.dumps({"status": fleet.model(NAME).get("status"), "jobs": ended})
