"""Our client against a real API server: only that prunes fields, refuses kubelets and knows what is a conflict."""

from __future__ import annotations

from pathlib import Path

import pytest
from apiserver import KUBELET, NOBODY, ApiServer, Object
from kubelets import add_node
from operator_process import device_profile, edge_model

from edgesmith.api.names import node_label
from edgesmith.cluster.client import Client
from edgesmith.cluster.connection import connect
from edgesmith.cluster.errors import Conflict, Forbidden, Invalid, Missing, Unreachable
from edgesmith.cluster.kinds import CONFIG_MAP, DEVICE_PROFILE, EDGE_MODEL, NODE, POD


def config_map(namespace: str, labels: dict[str, str]) -> Object:
    metadata = {"name": "applied", "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}}


async def test_a_field_left_out_of_the_next_apply_goes_and_others_fields_stay(
    server: ApiServer, namespace: str, client: Client
) -> None:
    await client.apply(config_map(namespace, {"one": "1", "two": "2"}))
    server.patch("configmaps", "applied", {"metadata": {"labels": {"theirs": "3"}}}, namespace)
    found = await client.apply(config_map(namespace, {"one": "1"}))
    assert found["metadata"]["labels"] == {"one": "1", "theirs": "3"}


async def test_applying_the_same_again_changes_nothing(namespace: str, client: Client) -> None:
    first = await client.apply(config_map(namespace, {"one": "1"}))
    second = await client.apply(config_map(namespace, {"one": "1"}))
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


async def test_labels_of_two_edge_models_do_not_disturb_each_other(
    server: ApiServer, namespace: str, client: Client
) -> None:
    node, one, two = f"{namespace}-node", node_label(namespace, "one"), node_label(namespace, "two")
    add_node(server, node, "any")
    await client.mark_node(node, one, labels={one: "0123456789"})
    await client.mark_node(node, two, labels={two: "9876543210"}, record="since noon")
    found = await client.mark_node(node, one, labels={one: None})
    assert found["metadata"]["labels"].get(two) == "9876543210"
    assert one not in found["metadata"]["labels"]
    found = await client.mark_node(node, two, record=None)
    assert found["metadata"]["labels"].get(two) == "9876543210"
    assert two not in found["metadata"].get("annotations", {})


async def test_a_kubelet_may_not_give_its_node_a_model(server: ApiServer, namespace: str) -> None:
    if await _node(server) is None:
        add_node(server, "edge-1", "any")
    async with Client(await connect(str(server.kubeconfig(KUBELET)))) as kubelet:
        await kubelet.mark_node("edge-1", "example.com/mine", labels={"example.com/mine": "fine"})
        with pytest.raises(Forbidden, match="is not allowed to modify labels"):
            await kubelet.mark_node(
                "edge-1", node_label(namespace, "parts"), labels={node_label(namespace, "parts"): "0123456789"}
            )


async def test_a_status_is_applied_whole(server: ApiServer, namespace: str, client: Client) -> None:
    server.apply(edge_model("parts", namespace))
    await client.apply_status(EDGE_MODEL, namespace, "parts", {"nodes": {"desired": 3}, "observedGeneration": 1})
    found = await client.apply_status(EDGE_MODEL, namespace, "parts", {"observedGeneration": 2})
    assert found["status"].get("observedGeneration") == 2
    assert "desired" not in found["status"].get("nodes", {})


async def test_a_dry_run_judges_and_leaves_nothing(namespace: str, client: Client) -> None:
    judged = await client.apply(edge_model("parts", namespace), dry_run=True)
    assert judged["spec"]["serving"]["port"] == 8000
    assert await client.get(EDGE_MODEL, namespace, "parts") is None


async def test_a_listing_comes_in_pages_and_its_uids_are_all_there(
    server: ApiServer, namespace: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgesmith.cluster.client.PAGE", 2)
    for number in range(5):
        server.create("configmaps", {"metadata": {"name": f"c{number}", "namespace": namespace, "labels": {"t": "1"}}})
    found = [one async for one in client.list(CONFIG_MAP, namespace=namespace, labels="t=1")]
    assert [one["metadata"]["name"] for one in found] == [f"c{number}" for number in range(5)]
    assert {one["kind"] for one in found} == {"ConfigMap"}
    uids, version = await client.list_uids(CONFIG_MAP, labels="t=1")
    assert {one["metadata"]["uid"] for one in found} <= uids
    assert version.isdigit()


async def test_refusals_become_our_errors(server: ApiServer, namespace: str, client: Client) -> None:
    await client.create(config_map(namespace, {}))
    with pytest.raises(Conflict, match="already exists"):
        await client.create(config_map(namespace, {}))
    with pytest.raises(Invalid, match=r"spec\.deviceProfiles"):
        await client.apply(edge_model("parts", namespace, deviceProfiles={}))
    with pytest.raises(Missing, match="not found"):
        await client.apply_status(EDGE_MODEL, namespace, "nobody", {})
    with pytest.raises(Missing, match="not found"):
        await client.apply(config_map("no-such-namespace", {}))
    assert await client.get(POD, namespace, "nobody") is None
    await client.delete(DEVICE_PROFILE, "", "nobody")
    async with Client(await connect(str(server.kubeconfig(NOBODY)))) as nobody:
        with pytest.raises(Forbidden, match='cannot list resource "nodes"'):
            [one async for one in nobody.list(NODE)]


async def test_an_object_of_another_uid_is_not_deleted(server: ApiServer, client: Client) -> None:
    server.apply(device_profile("kept"))
    await client.delete(DEVICE_PROFILE, "", "kept", uid="00000000-0000-0000-0000-000000000000")
    assert await client.get(DEVICE_PROFILE, "", "kept") is not None
    server.delete("deviceprofiles", "kept")


async def test_nobody_at_the_address_is_one_sentence(server: ApiServer, tmp_path: Path) -> None:
    text = server.kubeconfig().read_text().replace(server.address, "https://127.0.0.1:9")
    (tmp_path / "config").write_text(text)
    async with Client(await connect(str(tmp_path / "config"))) as client:
        with pytest.raises(Unreachable, match=r"listing nodes failed: the API server at https://127\.0\.0\.1:9 cannot"):
            [one async for one in client.list(NODE)]


async def test_a_kubeconfig_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="No cluster: the kubeconfig"):
        await connect(str(tmp_path / "missing"))


async def _node(server: ApiServer) -> Object | None:
    return server.get("nodes", "edge-1")
