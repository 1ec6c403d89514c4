"""Alternatives to a source with the real API server, Job controller and scheduler: builds and trials are played."""

from __future__ import annotations

import json
from typing import Any

from apiserver import ApiServer, Object, wait_for
from build_outcomes import fail_build, finish_build, push_build
from kubelets import GOOD, Kubelets, container_status
from operator_process import Operator, condition, device_profile, edge_model, wait_condition

from edgesmith.api.names import BUILD_KEY_LABEL, TRIAL_LABEL

NAMES = ("gru", "svm")


def pump(namespace: str) -> Object:
    """An EdgeModel with two alternatives."""
    alternatives = [
        {"name": name, "source": {"uri": f"s3://models/{name}.onnx", "sha256": str(number + 1) * 64}}
        for number, name in enumerate(NAMES)
    ]
    spec = {"evaluation": {"uri": "s3://models/e.npz", "sha256": "e" * 64}, "gates": {"maxAccuracyDrop": "1%"}}
    return edge_model("parts", namespace, optimize={"alternatives": alternatives}, **spec)


def jobs_of(server: ApiServer, namespace: str) -> dict[str, Object]:
    """Build Jobs by what their request says that they are of."""
    found = {}
    for job in server.items("jobs", namespace):
        annotations = job["spec"]["template"]["metadata"]["annotations"]
        request = json.loads(annotations["edgesmith.dev/request"])
        found[request.get("alternative", "source")] = job
    return found


async def finish(server: ApiServer, namespace: str, operator: Operator, job: Object) -> str:
    key = job["metadata"]["labels"][BUILD_KEY_LABEL]
    image = await push_build(operator.registry, namespace, key)
    finish_build(server, job, image)
    return image


def end_trial(server: ApiServer, pod: Object, p95: dict[str, float]) -> None:
    """End every container of a trial pod with what it measured."""

    def ended(container: Object) -> Object:
        message = json.dumps(GOOD | {"p95Ms": p95[container["name"]]})
        state = {"terminated": {"exitCode": 0, "reason": "Completed", "message": message}}
        return container_status(container["name"], state=state)

    spec = pod["spec"]
    status: dict[str, Any] = {
        "phase": "Succeeded",
        "initContainerStatuses": [ended(one) for one in spec["initContainers"]],
        "containerStatuses": [ended(one) for one in spec["containers"]],
    }
    server.patch("pods", pod["metadata"]["name"], {"status": status}, pod["metadata"]["namespace"], "status")


async def test_builds_of_all_one_trial_and_what_wins_is_rolled_out(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator
) -> None:
    profile = f"{namespace}-device"
    kubelets.add(f"{namespace}-1", profile)
    server.apply([device_profile(profile), pump(namespace)])
    operator.start()
    wait_for("three Jobs", lambda: len(jobs_of(server, namespace)) == 3)
    jobs = jobs_of(server, namespace)
    assert set(jobs) == {"source", *NAMES}
    words = {"reason": "InterfaceMismatch", "retry": False, "message": "svm takes other inputs."}
    fail_build(server, jobs["svm"], json.dumps(words))
    await finish(server, namespace, operator, jobs["source"])

    def alone() -> bool:
        said = condition(server, namespace, "parts", "BuildsReady") or {}
        return said.get("reason") == "Building" and "waits for the build of gru:" in said["message"]

    wait_for("gru alone is awaited", alone)
    image = await finish(server, namespace, operator, jobs["gru"])

    def trial() -> Object | None:
        pods = server.items("pods", namespace, TRIAL_LABEL)
        return next((one for one in pods if one["status"].get("phase") == "Running"), None)

    pod = wait_for("the trial", trial, 60)
    containers = [one["name"] for one in (*pod["spec"]["initContainers"], *pod["spec"]["containers"])]
    assert containers == ["source-int8", "gru-int8"]
    end_trial(server, pod, {"source-int8": 9.0, "gru-int8": 3.0})
    wait_condition(server, namespace, "parts", "Ready", "Succeeded", seconds=60)
    status = (server.get("edgemodels", "parts", namespace) or {})["status"]
    (variant,), (record,) = status["variants"], status["trials"]
    assert (variant["alternative"], variant["image"]) == ("gru", image)
    assert record["winner"] == "gru/int8"
    assert [(one["alternative"], one["state"], one.get("reason")) for one in variant["builds"]] == [
        ("source", "Built", None),
        ("gru", "Built", None),
        ("svm", "Failed", "InterfaceMismatch"),
    ]
    ready = next(one for one in status["conditions"] if one["type"] == "BuildsReady")
    assert ready["message"] == (f"2 of 3 builds are in the registry. svm for {profile} is out: svm takes other inputs.")
