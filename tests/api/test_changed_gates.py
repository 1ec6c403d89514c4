"""Gates that change under a running operator: no Job, no other revision, and back again."""

from __future__ import annotations

from apiserver import ApiServer
from kubelets import Kubelets
from operator_process import Operator, wait_condition
from rollouts import labels, pods, roll_out


async def test_a_gate_that_refuses_the_candidate_builds_nothing_and_one_that_lets_it_in_moves_nothing(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator
) -> None:
    await roll_out(server, namespace, kubelets, operator, [f"{namespace}-1", f"{namespace}-2"])
    jobs = [one["metadata"]["uid"] for one in server.items("jobs", namespace)]
    before = labels(server, namespace), pods(server, namespace)
    server.patch("edgemodels", "parts", {"spec": {"gates": {"maxImageSize": "4k"}}}, namespace)
    said = wait_condition(server, namespace, "parts", "Stalled", "GatesFailed")["message"]
    assert said.endswith("int8: the image has 5000 bytes; at most 4000 are allowed by spec.gates.maxImageSize.")
    (variant,) = (server.get("edgemodels", "parts", namespace) or {})["status"]["variants"]
    assert variant["refused"] == [
        {
            "precision": "int8",
            "accuracy": "99.00%",
            "accuracyDrop": "0.10%",
            "imageSize": 5000,
            "message": "the image has 5000 bytes; at most 4000 are allowed by spec.gates.maxImageSize",
        }
    ]
    server.patch("edgemodels", "parts", {"spec": {"gates": {"maxImageSize": "5k"}}}, namespace)
    wait_condition(server, namespace, "parts", "Ready", "Succeeded")
    assert [one["metadata"]["uid"] for one in server.items("jobs", namespace)] == jobs
    assert (labels(server, namespace), pods(server, namespace)) == before
