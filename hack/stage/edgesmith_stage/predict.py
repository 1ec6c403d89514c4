"""Asking each node for predictions, through `tritonclient` as any application would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tritonclient.grpc
import tritonclient.http

from edgesmith_stage.kube import Kube, Object

Protocol = Literal["http", "grpc"]
PORTS: dict[Protocol, int] = {"http": 8000, "grpc": 8001}
BATCH = 8
"""Most samples of a request where an EdgeModel says nothing of `serving.maxBatch`."""
_DATATYPES = {
    np.dtype(kind): name
    for kind, name in (
        *((np.float32, "FP32"), (np.uint8, "UINT8"), (np.int8, "INT8"), (np.int64, "INT64")),
        (np.object_, "BYTES"),  # text
    )
}


@dataclass(frozen=True)
class Server:
    """A serving pod."""

    pod: str
    node: str
    revision: str
    ready: bool
    image: str


def servers(kube: Kube, model: str, namespace: str = "default") -> dict[str, Server]:
    """The serving pods of an EdgeModel that are not on their way out, by node.

    Where a node has two, it is the newer one: the other is deleted a moment after its node's label has changed.
    """
    pods = kube.list("pods", namespace, {"edgesmith.dev/model": model})
    living = [
        pod
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"] and _labels(pod).get("app.kubernetes.io/component") == "server"
    ]
    living.sort(key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    return {server.node: server for server in map(_server, living) if server.node}


def predict(
    kube: Kube,
    server: Server,
    *,
    model: str,
    inputs: dict[str, npt.NDArray[Any]],
    protocol: Protocol,
    namespace: str = "default",
    batch: int = BATCH,
) -> npt.NDArray[Any]:
    """The first output for samples, from one node's pod, asked for in batches that every server takes, or in smaller.

    Raises:
        StageError: The pod cannot be reached.
        tritonclient.utils.InferenceServerException: The server refused the request.
    """
    client_of: Any = tritonclient.http if protocol == "http" else tritonclient.grpc
    with kube.forward(server.pod, PORTS[protocol], namespace) as port:
        client = client_of.InferenceServerClient(f"127.0.0.1:{port}")
        try:
            count = len(next(iter(inputs.values())))
            answers = [
                _ask(client_of, client, model, {name: values[start : start + batch] for name, values in inputs.items()})
                for start in range(0, count, batch)
            ]
            return np.concatenate(answers)
        finally:
            client.close()


def _ask(client_of: Any, client: Any, model: str, inputs: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    tensors = []
    for name, values in inputs.items():
        tensor = client_of.InferInput(name, list(values.shape), _DATATYPES[values.dtype])
        tensor.set_data_from_numpy(values)
        tensors.append(tensor)
    result = client.infer(model, tensors)
    answer = result.get_response()
    first = answer["outputs"][0]["name"] if client_of is tritonclient.http else answer.outputs[0].name
    output: npt.NDArray[Any] = result.as_numpy(first)
    return output


def _server(pod: Object) -> Server:
    conditions = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions", [])}
    return Server(
        pod=pod["metadata"]["name"],
        node=pod["spec"].get("nodeName", ""),
        revision=_labels(pod)["edgesmith.dev/revision"],
        ready=conditions.get("Ready") == "True",
        image=pod["spec"]["containers"][0]["image"],
    )


def _labels(pod: Object) -> dict[str, str]:
    labels: dict[str, str] = pod["metadata"].get("labels", {})
    return labels
