"""A disk that gets full: what is not in use goes, the image to go back to stays, and nobody waits for that node."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from device_class import device_class
from faults import node_images
from onnx import numpy_helper

from edgesmith.api.names import next_label, node_label
from edgesmith_cluster import images, sandbox
from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.shell import run
from edgesmith_stage.waiting import until

pytestmark = [pytest.mark.timeout(400), pytest.mark.long]

NAME, NODE, PROFILE = "small-disk", "edge-5", "small-disk"
LABEL, TURN = "edgesmith-test/disk", "edgesmith-test/disk-turn"
NEIGHBOUR = "disk-neighbour"
UNUSED = "localhost/unused:1"
MEBIBYTE = 2**20
UNUSED_SIZE = 100 * MEBIBYTE
"""It is on the disk twice: as it came, and unpacked."""
SHORT = 40 * MEBIBYTE
"""So much less than the kubelet wants to be free is left."""
VERY_SHORT = 360 * MEBIBYTE
"""More than the kubelet gets by deleting images, so that its disk stays full."""
LARGE = 150 * MEBIBYTE
"""Bytes of weights, so that the image takes twice as much."""
ROOMY = 50 * MEBIBYTE
"""So much more than the kubelet wants to be free is left: not what the large image takes."""
FILLER = "/var/lib/kubelet/filler"


def test_going_back_needs_no_link_after_the_kubelet_has_made_room(fleet: Fleet, tmp_path: Path) -> None:
    kube = fleet.ground.kube
    profile = device_class(
        PROFILE, {"kubernetes.io/hostname": NODE}, toolchain={"name": "ONNXRuntime", "precisions": ["fp32"]}
    )
    kube.apply(profile)
    older, previous, newest = _older(fleet), fleet.publish("1"), fleet.publish("2", "model-v2.onnx")
    rollout = {"steps": [{"nodes": 1, "bake": "1s"}], "maxUnavailable": 1}
    manifest = fleet.manifest(NAME, older, deviceProfiles={"names": [PROFILE]}, rollout=rollout)
    for field in ("evaluation", "gates"):
        del manifest["spec"][field]
    fleet.apply(manifest)
    unheld = _serves(fleet)
    fleet.patch(NAME, {"source": previous})
    held = _serves(fleet)
    fleet.patch(NAME, {"source": newest})
    assert len({unheld, held, _serves(fleet)}) == 3
    until(lambda: len(_pods(fleet)) == 2, seconds=60, what="a server and what holds the image before")

    _import_unused(fleet, tmp_path)
    assert {unheld, held, UNUSED} <= _images(fleet)
    # A kubelet looks for images at its start and every 5 minutes, and deletes none that it has not seen before.
    fleet.off(NODE)
    fleet.on(NODE)
    until(lambda: _started_anew(fleet) == 2, seconds=60, what="both to be ready again")
    pods = _pods(fleet)
    with _full_disk(fleet):
        until(lambda: _pressed(fleet), seconds=60, what="the kubelet to say that its disk is full")
        until(lambda: not {unheld, UNUSED} & _images(fleet), seconds=90, what="what is not in use to go")
        until(lambda: not _pressed(fleet), seconds=60, what="the kubelet to have made room")
        assert held in _images(fleet)
        assert _pods(fleet) == pods, "nobody was evicted"
        with fleet.without_registry(NODE):
            fleet.patch(NAME, {"source": previous})
            assert _serves(fleet) == held
    kube("delete", "edgemodel", NAME, "-n", fleet.namespace)
    kube("delete", "deviceprofile", PROFILE)


@pytest.mark.lent
def test_of_several_nodes_the_one_with_a_full_disk_is_left_alone_and_the_others_go_on(fleet: Fleet) -> None:
    kube, nodes = fleet.ground.kube, (*sorted(set(fleet.ground.edges) - {NODE})[:2], NODE)
    kube("label", "nodes", *nodes, f"{LABEL}=some")
    kube.apply(device_class(PROFILE, {LABEL: "some"}, toolchain={"name": "ONNXRuntime", "precisions": ["fp32"]}))
    rollout = {"steps": [{"nodes": 1, "bake": "1s"}], "maxUnavailable": 1}
    fleet.apply(
        fleet.manifest(NAME, fleet.publish("1"), deviceProfiles={"names": [PROFILE]}, gates={}, rollout=rollout)
    )
    fleet.wait_settled(NAME, 200)
    before = {node: one.revision for node, one in fleet.servers(NAME).items()}
    assert set(before) == set(nodes)
    with _full_disk(fleet, VERY_SHORT):
        until(lambda: _tainted(fleet), seconds=60, what="the node to be marked for its full disk")
        # Another port is another revision of the same image: that it needs no room is not why the node is left alone.
        fleet.patch(NAME, {"serving": {"port": fleet.model(NAME)["spec"]["serving"]["port"] + 10}})
        counted = fleet.wait_settled(NAME)["status"]
        revision = counted["variants"][0]["revision"]
        assert _given(fleet, nodes) == {node: {revision} for node in nodes} | {NODE: {before[NODE]}}
        assert (counted["nodes"]["updated"], counted["nodes"]["tainted"], counted["nodes"]["failed"]) == (2, 1, 0)
        assert [(one["name"], one["reason"]) for one in counted["pending"]] == [(NODE, "Tainted")]
        assert _tainted(fleet), "the disk was full all the while"
    until(
        lambda: _given(fleet, nodes) == {node: {revision} for node in nodes} and fleet.wait_settled(NAME),
        seconds=90,
        what="the node to be updated once there is room",
        detail=lambda: str(fleet.model(NAME)),
    )
    kube("delete", "edgemodel", NAME, "-n", fleet.namespace)
    kube("delete", "deviceprofile", PROFILE)
    kube("label", "nodes", *nodes, f"{LABEL}-")


def test_a_large_image_is_not_pulled_where_there_is_no_room(fleet: Fleet) -> None:
    kube = fleet.ground.kube
    toolchain = {"name": "ONNXRuntime", "precisions": ["fp32"]}
    kube.apply(device_class(PROFILE, {"kubernetes.io/hostname": NODE}, toolchain=toolchain))
    rollout = {"steps": [{"nodes": 1, "bake": "1s"}], "maxUnavailable": 1}
    manifest = fleet.manifest(NAME, fleet.publish("1"), deviceProfiles={"names": [PROFILE]}, rollout=rollout)
    for field in ("evaluation", "gates"):
        del manifest["spec"][field]
    fleet.apply(manifest)
    before = _serves(fleet)
    uids = fleet.pods(NAME)
    large = fleet.publish_bytes("large", _large().SerializeToString())
    with _full_disk(fleet, -ROOMY):
        fleet.patch(NAME, {"source": large})
        until(
            lambda: _full(fleet), seconds=300, what="the node to say that it has no room", detail=lambda: _said(fleet)
        )
        status = fleet.model(NAME)["status"]
        assert "MiB free" in status["pending"][0]["message"]
        assert (status["nodes"]["ready"], status["nodes"]["failed"], status["nodes"]["diskFull"]) == (1, 0, 1)
        image = str(fleet.variants(NAME)[PROFILE]["image"])
        assert before != image
        assert image not in _images(fleet), "it is not pulled"
        assert fleet.pods(NAME).items() >= uids.items(), "the old server goes on"
        assert not _tainted(fleet), "the condition alone would have let it be pulled"
    # It looks again after ten minutes; what it makes ready by another revision is asked for at once.
    fleet.patch(NAME, {"serving": {"port": fleet.model(NAME)["spec"]["serving"]["port"] + 10}})
    until(lambda: image in _images(fleet), seconds=120, what="it to be pulled", detail=lambda: _said(fleet))
    assert _serves(fleet) == image
    kube("delete", "edgemodel", NAME, "-n", fleet.namespace)
    kube("delete", "deviceprofile", PROFILE)


@pytest.mark.timeout(600)
def test_the_first_image_of_a_node_is_not_pulled_where_there_is_no_room(fleet: Fleet) -> None:
    kube = fleet.ground.kube
    toolchain = {"name": "ONNXRuntime", "precisions": ["fp32"]}
    kube.apply(device_class(PROFILE, {"kubernetes.io/hostname": NODE}, toolchain=toolchain))
    _neighbour(fleet)
    source = fleet.publish_bytes("large", _large().SerializeToString())
    rollout = {"steps": [{"nodes": 1, "bake": "1s"}], "maxUnavailable": 1}
    manifest = fleet.manifest(NAME, source, deviceProfiles={"names": [PROFILE]}, rollout=rollout)
    for field in ("evaluation", "gates"):
        del manifest["spec"][field]
    with _full_disk(fleet, -ROOMY):
        fleet.apply(manifest)
        until(
            lambda: _full(fleet), seconds=300, what="the node to say that it has no room", detail=lambda: _said(fleet)
        )
        status = fleet.model(NAME)["status"]
        assert (status["nodes"]["ready"], status["nodes"]["failed"], status["nodes"]["diskFull"]) == (0, 0, 1)
        condition = fleet.wait(NAME, "Reconciling", reason="DiskFull")
        assert "MiB free" in condition["message"]
        image = str(fleet.variants(NAME)[PROFILE]["image"])
        assert image not in _images(fleet), "it is not pulled"
        until(lambda: _given(fleet, [NODE]) == {NODE: set()}, seconds=90, what="the node to be without a label again")
        until(lambda: not fleet.pods(NAME), seconds=90, what="the pod that looked to be gone")
        assert not _tainted(fleet), "the condition alone would have let it be pulled"
    fleet.patch(NAME, {"serving": {"port": fleet.model(NAME)["spec"]["serving"]["port"] + 10}})
    assert _serves(fleet) == image
    assert image in _images(fleet)
    _remove(fleet, NAME, NEIGHBOUR)


@pytest.mark.lent
@pytest.mark.timeout(900)
def test_a_trial_is_made_where_there_is_room_for_all_its_candidates(fleet: Fleet) -> None:
    kube, other = fleet.ground.kube, min(set(fleet.ground.edges) - {NODE})
    toolchain = {"name": "ONNXRuntime", "precisions": ["fp32"]}
    for node, turn in ((NODE, "first"), (other, "second")):
        kube("label", "nodes", node, f"{LABEL}=some", f"{TURN}={turn}")
    kube.apply(device_class(PROFILE, {LABEL: "some"}, toolchain=toolchain))
    _neighbour(fleet)
    small = fleet.publish("2", "model-v2.onnx")
    del small["secretRef"]  # that of spec.source is used
    partitions = {"label": TURN, "order": ["first", "second"]}
    rollout = {"steps": [{"nodes": 1, "bake": "1s"}], "maxUnavailable": 1, "partitions": partitions}
    spec = {
        "optimize": {"objective": "Size", "alternatives": [{"name": "small", "source": small}]},
        "gates": {"maxAccuracyDrop": "2%"},
    }
    source = fleet.publish_bytes("large", _large().SerializeToString())
    manifest = fleet.manifest(NAME, source, deviceProfiles={"names": [PROFILE]}, rollout=rollout, **spec)
    with _full_disk(fleet, -ROOMY):
        fleet.apply(manifest)
        status = until(
            lambda: _asked_in_vain(fleet), seconds=400, what=f"{NODE} to have no room", detail=lambda: _said(fleet)
        )
        (trial,) = status["trials"]
        assert [one["node"] for one in trial["full"]] == [NODE]
        assert "MiB free" in trial["full"][0]["message"]
        assert status["nodes"]["diskFull"] == 1
        assert (NODE, "DiskFull") in [(one["name"], one["reason"]) for one in status["pending"]]
        until(
            lambda: fleet.model(NAME)["status"]["trials"][0].get("winner"),
            seconds=300,
            what=f"{other} to have tried them",
            detail=lambda: _said(fleet),
        )
        (trial,) = fleet.model(NAME)["status"]["trials"]
        assert (trial["node"], trial["winner"]) == (other, "small/fp32")
        assert not {"lost", "full"} & trial.keys(), "want of room is no failure, and is over with the trial"
        assert {one["reason"] for one in trial["finalists"]} == {"Passed"}
        large = next(one["image"] for one in trial["finalists"] if one["alternative"] == "source")
        assert large not in _images(fleet), f"{NODE} did not pull it"
        assert not _tainted(fleet), "the condition alone would have let it be pulled"
    fleet.wait_settled(NAME)
    assert set(fleet.servers(NAME)) == {NODE, other}
    _remove(fleet, NAME, NEIGHBOUR)
    kube("label", "nodes", NODE, other, f"{LABEL}-", f"{TURN}-")


def _neighbour(fleet: Fleet) -> None:
    """Let another EdgeModel serve on the nodes of the profile: its image keeps the base there, as of a node in use."""
    manifest = fleet.manifest(NEIGHBOUR, fleet.publish("1"), deviceProfiles={"names": [PROFILE]})
    for field in ("evaluation", "gates"):
        del manifest["spec"][field]
    fleet.apply(manifest)
    fleet.wait_settled(NEIGHBOUR)


def _remove(fleet: Fleet, *names: str) -> None:
    fleet.ground.kube("delete", "edgemodel", *names, "-n", fleet.namespace)
    fleet.ground.kube("delete", "deviceprofile", PROFILE)


def _asked_in_vain(fleet: Fleet) -> Any:
    """The status, where a node that is to try something has no room for it."""
    status = fleet.model(NAME).get("status", {})
    return status if any(one.get("full") for one in status.get("trials", [])) else None


def _large() -> onnx.ModelProto:
    """The example's model, with weights beside it that decide nothing and do not shrink."""
    model = onnx.load(surface.FOLDER / "model.onnx")
    graph, scores = model.graph, model.graph.output[0].name
    weights = np.random.default_rng(7).random(LARGE // 4, np.float32)
    weights[0] = 0
    graph.initializer.extend(
        [numpy_helper.from_array(weights, "many"), numpy_helper.from_array(np.array([0]), "first")]
    )
    for node in graph.node:
        for place, name in enumerate(node.output):
            node.output[place] = "before" if name == scores else name
    graph.node.append(onnx.helper.make_node("Gather", ["many", "first"], ["nothing"]))
    graph.node.append(onnx.helper.make_node("Add", ["before", "nothing"], [scores]))
    return model


def _full(fleet: Fleet) -> bool:
    """Whether the node is pending since its disk has no room for the image."""
    pending = fleet.model(NAME)["status"].get("pending", [])
    return [(one["name"], one["reason"]) for one in pending] == [(NODE, "DiskFull")]


def _said(fleet: Fleet) -> str:
    return str(fleet.model(NAME)["status"])


def _given(fleet: Fleet, nodes: Iterable[str]) -> dict[str, set[str]]:
    """Node to the revisions that it runs and makes ready."""
    own = node_label(fleet.namespace, NAME)
    labels = {node: (fleet.ground.kube.get("node", node) or {})["metadata"]["labels"] for node in nodes}
    return {node: {found[key] for key in (own, next_label(own)) if key in found} for node, found in labels.items()}


def _tainted(fleet: Fleet) -> bool:
    taints = _node(fleet)["spec"].get("taints", [])
    return any(one["key"] == "node.kubernetes.io/disk-pressure" for one in taints)


def _older(fleet: Fleet) -> dict[str, Any]:
    """Publish the example's model with another word in it, so that it is a build of its own."""
    model = onnx.load(surface.FOLDER / "model.onnx")
    model.doc_string = "older"
    return fleet.publish_bytes("0", model.SerializeToString())


def _serves(fleet: Fleet) -> str:
    """Wait until the node serves what is asked for, and return its image."""

    def serving() -> str:
        # A node that a full disk taints, which the kubelet may say late, holds no settling up and is updated after it.
        fleet.wait_settled(NAME)
        variant = fleet.variants(NAME)[PROFILE]
        return str(variant["image"]) if fleet.servers(NAME)[NODE].revision == variant["revision"] else ""

    return until(serving, seconds=90, what="the node to serve what is asked for", detail=lambda: str(fleet.model(NAME)))


def _found(fleet: Fleet) -> list[dict[str, Any]]:
    """The servers of the EdgeModel and what holds an image, those that end apart."""
    kinds = ("server", "holding")
    pods = fleet.ground.kube.list("pods", fleet.namespace, {"edgesmith.dev/model": NAME})
    living = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return [pod for pod in living if pod["metadata"]["labels"]["app.kubernetes.io/component"] in kinds]


def _pods(fleet: Fleet) -> dict[str, str]:
    """Their UIDs by name: equal before and after means that nobody was evicted."""
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in _found(fleet)}


def _started_anew(fleet: Fleet) -> int:
    """How many of them are ready after their container was started anew."""
    statuses = [one for pod in _found(fleet) for one in pod["status"].get("containerStatuses", [])]
    return sum(one["ready"] and one["restartCount"] > 0 for one in statuses)


def _node(fleet: Fleet) -> dict[str, Any]:
    return fleet.ground.kube.get("node", NODE) or {}


def _pressed(fleet: Fleet) -> bool:
    """Whether the kubelet says that its disk is full, or the node is marked for it."""
    node = _node(fleet)
    conditions = {one["type"]: one["status"] for one in node["status"]["conditions"]}
    return conditions["DiskPressure"] != "False" or bool(node["spec"].get("taints"))


def _images(fleet: Fleet) -> set[str]:
    """The images on the node."""
    return set(run([*node_images(fleet.ground, NODE), "list", "--quiet"]).splitlines())


def _import_unused(fleet: Fleet, folder: Path) -> None:
    """Give the node an image that nobody uses."""
    program = folder / "unused"
    program.write_bytes(os.urandom(UNUSED_SIZE))
    archive = folder / "unused.tar"
    archive.write_bytes(images.archive(program, UNUSED, "amd64"))
    run([*node_images(fleet.ground, NODE), "import", archive])


@contextmanager
def _full_disk(fleet: Fleet, short: int = SHORT) -> Iterator[None]:
    """Fill the node's disk until so many bytes less than a tenth of it are left."""
    machine = sandbox.find(fleet.ground.name, NODE)
    assert machine
    inside = ["nsenter", f"--target={machine.process.pid}", "--mount"]
    free, block, total = map(int, run([*inside, "stat", "-f", "-c", "%a %S %b", "/var/lib/kubelet"]).split())
    size = free * block - total * block // 10 + short
    assert size > 0
    run([*inside, "fallocate", "-l", str(size), FILLER])
    try:
        yield
    finally:
        run([*inside, "rm", FILLER])
