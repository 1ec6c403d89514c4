"""One EdgeModel on five nodes of one kind: what its tests look at."""

from __future__ import annotations

import itertools
import json
from typing import Any
from urllib.request import urlopen

import numpy as np
import onnx
from onnx import numpy_helper

from edgesmith.api.names import next_label, node_label
from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet

NAME = "line"
"""The EdgeModel."""

_NUMBERS = itertools.count(1)


def version(fleet: Fleet) -> dict[str, Any]:
    """Publish the example's model with one weight a little different, so that it is a build of its own."""
    model = onnx.load(surface.FOLDER / "model.onnx")
    tensor = next(tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT)
    values = numpy_helper.to_array(tensor).copy()
    number = next(_NUMBERS)
    values.flat[0] += np.float32(number * 1e-3)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return fleet.publish_bytes(str(number), model.SerializeToString())


def revisions(servers: dict[str, Any]) -> dict[str, str]:
    return {node: server.revision for node, server in servers.items()}


def one_revision(fleet: Fleet) -> bool:
    servers = fleet.servers(NAME)
    all_ready = len(servers) == len(fleet.ground.edges) and all(server.ready for server in servers.values())
    ended = len(fleet.pods(NAME)) == len(servers)  # pods of the revision before, those that still end among them
    return all_ready and ended and len(set(revisions(servers).values())) == 1


def serving(fleet: Fleet) -> int:
    """How many nodes have a ready server."""
    return sum(server.ready for server in fleet.servers(NAME).values())


def ready(fleet: Fleet) -> set[tuple[str, str]]:
    """The node and the revision of every ready server; while one is about to take over, a node may have two."""
    pods = fleet.ground.kube.list("pods", fleet.namespace, {"edgesmith.dev/model": NAME})
    found = [(pod, pod["metadata"]["labels"].get("edgesmith.dev/revision")) for pod in pods]
    return {
        (pod["spec"].get("nodeName", ""), revision)
        for pod, revision in found
        for condition in pod["status"].get("conditions", [])
        if revision and (condition["type"], condition["status"]) == ("Ready", "True")
    }


def moved(fleet: Fleet, before: set[str]) -> int:
    """How many nodes have a ready server of another revision."""
    return len({node for node, revision in ready(fleet) if revision not in before})


def made_ready(fleet: Fleet) -> dict[str, str]:
    """Node to the revision that it was told to make ready beside its server."""
    key = next_label(node_label(fleet.namespace, NAME))
    labels = {one["metadata"]["name"]: one["metadata"]["labels"] for one in fleet.ground.kube.list("nodes", None)}
    return {node: found[key] for node, found in labels.items() if key in found}


def not_pulled(fleet: Fleet, name: str = NAME) -> int:
    """How many pods of an EdgeModel wait for an image that could not be pulled."""
    pods = fleet.ground.kube.list("pods", fleet.namespace, {"edgesmith.dev/model": name})
    return sum("ImagePull" in json.dumps(pod["status"].get("initContainerStatuses", [])) for pod in pods)


def addresses(fleet: Fleet, before: set[str]) -> dict[str, str]:
    """Node to where its ready server listens, as HOST:PORT; of two servers, the one that takes over.

    The host that the nodes are on has a route to every pod.
    """
    pods = fleet.ground.kube.list("pods", fleet.namespace, {"edgesmith.dev/model": NAME})
    ready = [
        pod for pod in pods if all(one["ready"] for one in pod["status"].get("containerStatuses", [{"ready": False}]))
    ]
    ready.sort(key=lambda pod: pod["metadata"]["labels"].get("edgesmith.dev/revision") not in before)
    return {
        pod["spec"]["nodeName"]: f"{pod['status']['podIP']}:{port['containerPort']}"
        for pod in ready
        for port in pod["spec"]["containers"][0].get("ports", [])
        if port["name"] == "http"
    }


def answers(address: str) -> bool:
    """Whether a server says that it is ready."""
    with urlopen(f"http://{address}/v2/health/ready", timeout=5) as answer:
        return bool(answer.status == 200)


def jobs(fleet: Fleet) -> set[str]:
    return {job["metadata"]["uid"] for job in fleet.ground.kube.list("jobs", fleet.namespace)}


def profiles(fleet: Fleet) -> set[str]:
    """The profiles whose servers are ready, on all five nodes; empty where one of them is not."""
    pods = fleet.ground.kube.list("pods", fleet.namespace, {"edgesmith.dev/model": NAME})
    found = [
        pod["metadata"]["labels"].get("edgesmith.dev/profile", "")
        for pod in pods
        if "edgesmith.dev/revision" in pod["metadata"]["labels"]
    ]
    return set(found) if len(found) == len(fleet.ground.edges) and serving(fleet) == len(found) else set()


def profile_of(fleet: Fleet) -> str:
    return str(fleet.model(NAME)["spec"]["deviceProfiles"]["names"][0])


def nodes(fleet: Fleet) -> dict[str, int]:
    found: dict[str, int] = fleet.model(NAME)["status"]["nodes"]
    return found


def say(fleet: Fleet) -> str:
    return json.dumps(fleet.model(NAME).get("status"))
