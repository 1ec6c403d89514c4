"""Which labels a kubelet may give its own node: the API server decides, and a DeviceProfile can ask for either."""

from __future__ import annotations

import json

import pytest
from apiserver import KUBELET, ApiServer
from operator_process import device_profile

EASY = "edgesmith.dev/device"
RESTRICTED = "edgesmith.dev.node-restriction.kubernetes.io/device"


def label(server: ApiServer, key: str, *, fails: bool) -> str:
    """Label the node edge-1 as its own kubelet."""
    patch = json.dumps({"metadata": {"labels": {key: "raspberry-pi-5"}}})
    words = ["patch", "node", "edge-1", "--type=merge", "-p", patch]
    return server.kubectl(*words, token=KUBELET, fails=fails)


def test_a_kubelet_may_choose_its_class_by_the_easy_label_and_not_by_the_restricted_one(server: ApiServer) -> None:
    server.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge-1"}})
    label(server, EASY, fails=False)
    assert "is not allowed to modify labels" in label(server, RESTRICTED, fails=True)
    node = server.get("nodes", "edge-1")
    assert node is not None
    assert EASY in node["metadata"]["labels"]
    assert RESTRICTED not in node["metadata"]["labels"]


@pytest.mark.parametrize(
    ("key", "refused"),
    [
        pytest.param(EASY, False, id="easy"),
        pytest.param(RESTRICTED, False, id="restricted"),
        pytest.param(f"plant-7.{RESTRICTED}", True, id="the-operators-own"),
    ],
)
def test_a_profile_asks_for_any_label_but_the_operators_own(
    server: ApiServer,
    namespace: str,
    key: str,
    refused: bool,  # noqa: FBT001 -- a column of the table
) -> None:
    profile = device_profile(f"{namespace}-device")
    profile["spec"]["nodeSelector"] = {key: "raspberry-pi-5"}
    if refused:
        assert "the operator sets and removes those" in server.refusal(profile)["message"]
    else:
        server.apply(profile)


@pytest.mark.parametrize("allowed", [[], ["Plant 7"], ["plant-7", "plant-7"], ["plant-*"]])
def test_wrong_namespaces_of_a_profile_are_refused_by_name(
    server: ApiServer, namespace: str, allowed: list[str]
) -> None:
    profile = device_profile(f"{namespace}-device")
    profile["spec"]["allowedNamespaces"] = allowed
    assert "spec.allowedNamespaces" in server.refusal(profile)["message"]
