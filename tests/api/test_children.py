"""What the operator makes, in the hands of Kubernetes' own controllers: it goes with its EdgeModel."""

from __future__ import annotations

from apiserver import ApiServer, wait_for
from kubelets import Kubelets
from operator_process import Operator, condition
from rollouts import children, is_ready, labels, pods, revisions, roll_out


async def test_everything_goes_with_its_edge_model(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator
) -> None:
    await roll_out(server, namespace, kubelets, operator, [f"{namespace}-1", f"{namespace}-2"])
    assert {name.split("/")[0] for name in children(server, namespace)} == {"jobs", "daemonsets", "services", "pods"}
    server.delete("edgemodels", "parts", namespace)
    wait_for("no child is left", lambda: not children(server, namespace))
    wait_for("the labels are swept", lambda: not labels(server, namespace))


async def test_a_namespace_can_be_deleted_in_mid_flight(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator
) -> None:
    model = await roll_out(server, namespace, kubelets, operator, [f"{namespace}-1", f"{namespace}-2"])
    model["spec"] |= {"serving": {"port": 8100}, "rollout": {"steps": [{"nodes": 1, "bake": "10m"}]}}
    server.apply(model)
    wait_for("the canary runs it", lambda: len(set(revisions(server, namespace).values())) == 2)
    server.delete("namespaces", namespace)
    wait_for("the namespace is gone", lambda: server.get("namespaces", namespace) is None)
    wait_for("the labels are swept", lambda: not labels(server, namespace))
    operator.wait_ready()


async def test_a_node_that_is_removed_is_not_waited_for(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator
) -> None:
    nodes = [f"{namespace}-1", f"{namespace}-2"]
    await roll_out(server, namespace, kubelets, operator, nodes)
    kubelets.remove(nodes[1])
    # Its pod stays for the minute that the pod garbage collector gives a node to come back.
    wait_for("it is not counted", lambda: _counts(server, namespace) == (1, 1))


async def test_a_node_that_returns_has_kept_its_server(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator
) -> None:
    nodes = [f"{namespace}-1", f"{namespace}-2"]
    await roll_out(server, namespace, kubelets, operator, nodes)
    before = pods(server, namespace)
    kubelets.cut(nodes[1])
    wait_for("it is NotReady", lambda: not is_ready(server, nodes[1]))
    wait_for("the operator has counted that", lambda: _counts(server, namespace) == (2, 1))
    kubelets.heal(nodes[1])
    wait_for("it is Ready", lambda: is_ready(server, nodes[1]))
    wait_for("the EdgeModel is Ready everywhere", lambda: _serving(server, namespace))
    assert pods(server, namespace) == before


def _counts(server: ApiServer, namespace: str) -> tuple[int, int]:
    """How many nodes are desired and ready."""
    nodes = (server.get("edgemodels", "parts", namespace) or {})["status"]["nodes"]
    return nodes["desired"], nodes["ready"]


def _serving(server: ApiServer, namespace: str) -> bool:
    """Whether both nodes serve and the EdgeModel says so."""
    ready = condition(server, namespace, "parts", "Ready")
    return bool(ready and ready["status"] == "True" and _counts(server, namespace) == (2, 2))
