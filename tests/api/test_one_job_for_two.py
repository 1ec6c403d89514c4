"""Two EdgeModels of a namespace with the same inputs, a real API server and real controllers between them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from apiserver import ApiServer, Object, wait_for
from build_outcomes import finish_build, push_build
from kubelets import Kubelets
from operator_process import Operator, device_profile, edge_model, wait_condition

from edgesmith.api.names import BUILD_KEY_LABEL, MODEL_LABEL
from edgesmith.cluster.job_names import REST


def containers(server: ApiServer, namespace: str) -> dict[str, Any]:
    """The server's container of each EdgeModel's DaemonSet."""
    return {
        one["metadata"]["labels"][MODEL_LABEL]: one["spec"]["template"]["spec"]["containers"][0]
        for one in server.items("daemonsets", namespace)
    }


async def test_one_job_builds_for_both_and_is_made_again_when_its_owner_goes(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator
) -> None:
    kubelets.add(f"{namespace}-1", f"{namespace}-device")
    names = {"first", "second"}
    server.apply([device_profile(f"{namespace}-device"), *(edge_model(name, namespace) for name in sorted(names))])
    operator.start()
    for name in names:
        wait_condition(server, namespace, name, "Reconciling", "Building")
    (job,) = wait_for("a Job", lambda: server.items("jobs", namespace))
    owner = job["metadata"]["labels"][MODEL_LABEL]
    (other,) = names - {owner}
    deleted = datetime.now(UTC)
    server.delete("edgemodels", owner, namespace)

    def made_again() -> Object | None:
        found = server.items("jobs", namespace)
        return next((one for one in found if one["metadata"]["labels"][MODEL_LABEL] == other), None)

    again = wait_for("the other's own Job", made_again, seconds=60)
    assert again["metadata"]["name"] == job["metadata"]["name"]
    rested = datetime.fromisoformat(again["metadata"]["creationTimestamp"]) - deleted
    assert rested.total_seconds() > REST - 1, "the API server's times are whole seconds"
    server.apply([edge_model(owner, namespace)])
    wait_condition(server, namespace, owner, "Reconciling", "Building")
    key = again["metadata"]["labels"][BUILD_KEY_LABEL]
    finish_build(server, again, await push_build(operator.registry, namespace, key))
    for name in names:
        wait_condition(server, namespace, name, "Ready", "Succeeded", seconds=60)
    assert len(server.items("jobs", namespace)) == 1
    served = containers(server, namespace)
    assert set(served) == names
    assert len({one["image"] for one in served.values()}) == 1
    for name, one in served.items():
        assert one["args"][one["args"].index("--name") + 1] == name
