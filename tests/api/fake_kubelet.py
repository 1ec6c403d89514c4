"""Nodes, and the part of the DaemonSet controller and the kubelet: pods follow labels, and become ready or do not.

Only what the operator reads is played. The real parts are in the cluster tier.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from apiserver import ApiServer, Object

from edgesmith.api.names import REVISION_LABEL, node_label

GOOD: Object = {"verdict": "Passed", "reason": "Passed", "message": "Passed.", "p50Ms": 1.5, "p95Ms": 2.5}
BAD: Object = {"verdict": "Failed", "reason": "GoldenMismatch", "message": "Sample 3 differs by 0.4.", "parity": 0.5}


def add_node(server: ApiServer, name: str, device: str, *, online: bool = True) -> None:
    """Make a node that is of a device class."""
    labels = {"edgesmith.dev/device": device, "kubernetes.io/hostname": name}
    server.create("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
    set_online(server, name, online=online)


def set_online(server: ApiServer, name: str, *, online: bool) -> None:
    """Let a node's kubelet be heard of, or not."""
    status = "True" if online else "Unknown"
    conditions = [{"type": "Ready", "status": status, "reason": "Test", "lastTransitionTime": _now()}]
    server.patch("nodes", name, {"status": {"conditions": conditions}}, subresource="status")


@dataclass
class FakeKubelets:
    """Plays all kubelets of one namespace while the block runs."""

    server: ApiServer
    namespace: str
    model: str
    verdict: Callable[[str, str], Object] = field(default=lambda _node, _revision: GOOD)
    """What the self-test finds, by node and revision."""

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="fake kubelets", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(30)
        if self._failure and not any(exc):
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._stop.wait(0.1):
                self.step()
        except BaseException as error:  # noqa: BLE001 - handed to the test, which raises it
            self._failure = error

    def step(self) -> None:
        """One look at labels and pods."""
        sets = {
            one["metadata"]["labels"][REVISION_LABEL]: one for one in self.server.items("daemonsets", self.namespace)
        }
        pods = {pod["spec"]["nodeName"]: pod for pod in self.server.items("pods", self.namespace, REVISION_LABEL)}
        key = node_label(self.namespace, self.model)
        for node in self.server.items("nodes"):
            name, wanted = node["metadata"]["name"], node["metadata"]["labels"].get(key)
            if node["status"]["conditions"][0]["status"] != "True":
                continue
            pod = pods.get(name)
            if pod and pod["metadata"]["labels"][REVISION_LABEL] != wanted:
                self.server.delete("pods", pod["metadata"]["name"], self.namespace)
            elif not pod and wanted in sets:
                self._start(name, wanted, sets[wanted])

    def _start(self, node: str, revision: str, daemon_set: Object) -> None:
        name = f"{self.model}-{revision}-{node}"
        template = daemon_set["spec"]["template"]
        self.server.create(
            "pods",
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": self.namespace, "labels": template["metadata"]["labels"]},
                "spec": {"nodeName": node, "containers": [{"name": "server", "image": "localhost/none"}]},
            },
        )
        found = self.verdict(node, revision)
        passed = found["verdict"] == "Passed"
        ended = {"exitCode": int(not passed), "message": json.dumps(found), "startedAt": _now(), "finishedAt": _now()}
        tested = _container("selftest", ready=passed, state={"terminated": ended})
        status = {
            "phase": "Running" if passed else "Pending",
            "conditions": [{"type": "Ready", "status": str(passed), "lastTransitionTime": _now()}],
            "initContainerStatuses": [tested],
            "containerStatuses": [
                _container("server", ready=passed, state={"running": {}} if passed else {"waiting": {}})
            ],
        }
        self.server.patch("pods", name, {"status": status}, self.namespace, "status")


def _container(name: str, *, ready: bool, state: Object) -> Object:
    return {"name": name, "ready": ready, "restartCount": 0, "image": "none", "imageID": "none", "state": state}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
