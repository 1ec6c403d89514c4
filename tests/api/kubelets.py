"""The kubelets of the api tier, the one part that is played: heartbeats of nodes, and the status of their pods.

Pods are made, bound, evicted and deleted by the real controllers and the real scheduler.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from apiserver import ApiServer, Object

from edgesmith.api.names import REVISION_LABEL
from tests.patience import PATIENCE

GOOD: Object = {"verdict": "Passed", "reason": "Passed", "message": "Passed.", "p50Ms": 1.5, "p95Ms": 2.5}
BAD: Object = {"verdict": "Failed", "reason": "GoldenMismatch", "message": "Sample 3 differs by 0.4.", "parity": 0.5}

HEARTBEAT = 1.0
"""Seconds between a kubelet's heartbeats, and the longest that a watch lasts."""

_LEASES = "kube-node-lease"
_ALLOCATABLE = {"cpu": "4", "memory": "8Gi", "pods": "110"}


@dataclass
class Kubelets:
    """Plays the kubelet of every node that it adds, while the block runs."""

    server: ApiServer
    verdicts: dict[str, Callable[[str, str], Object]] = field(default_factory=dict)
    """By namespace: what the self-test finds, from node and revision; it passes where nothing is said."""

    def __enter__(self) -> Self:
        self._lock = threading.RLock()
        self._nodes: set[str] = set()
        self._cut: set[str] = set()
        self._pods: dict[str, Object] = {}
        self._started: set[str] = set()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        work = (self._heartbeats, self._follow_pods)
        self._threads = [threading.Thread(target=self._guarded, args=(one,), daemon=True) for one in work]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        self.check()

    def check(self) -> None:
        """Raise what ended one of the threads, if anything did."""
        if self._failure:
            raise self._failure

    def add(self, name: str, device: str) -> None:
        """Add a node of a device class; it is Ready."""
        add_node(self.server, name, device)
        lease = {"metadata": {"name": name, "namespace": _LEASES}, "spec": _heartbeat(name)}
        self.server.create("leases", lease)
        with self._lock:
            self._nodes.add(name)
        set_ready(self.server, name, ready=True)

    def cut(self, name: str) -> None:
        """Cut a node off: nothing is heard of its kubelet, and its kubelet hears nothing."""
        with self._lock:
            self._cut.add(name)

    def heal(self, name: str) -> None:
        """Connect a node again; its kubelet says how it and its pods are, and does what it missed."""
        with self._lock:
            self._cut.discard(name)
            set_ready(self.server, name, ready=True)
            for pod in [pod for pod in self._pods.values() if pod["spec"].get("nodeName") == name]:
                self._say_ready_again(pod)
                self._settle(pod)

    def remove(self, name: str) -> None:
        """Remove a node from the cluster."""
        with self._lock:
            self._nodes.discard(name)
            self._cut.discard(name)
        self.server.delete("nodes", name)
        self.server.delete("leases", name, _LEASES)

    def _say_ready_again(self, pod: Object) -> None:
        """Undo what the node controller did to a pod while its node was cut off: that alone, and as of this moment."""
        conditions = pod["status"].get("conditions", [])
        containers = next((one["status"] for one in conditions if one["type"] == "ContainersReady"), None)
        for one in conditions:
            if one["type"] == "Ready" and containers not in (None, one["status"]):
                one |= {"status": containers, "lastTransitionTime": _now()}
                metadata, status = pod["metadata"], {"status": {"conditions": conditions}}
                self.server.try_patch("pods", metadata["name"], status, metadata["namespace"], "status")

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - handed to the test, which raises it
            self._failure = error

    def _heartbeats(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            with self._lock:
                alive = self._nodes - self._cut
            for name in sorted(alive):
                self.server.try_patch("leases", name, {"spec": _heartbeat(name)}, _LEASES)
                self._go_on(name)

    def _go_on(self, name: str) -> None:
        """A kubelet that stood still for the grace period of nodes says that its node is Ready once it goes on."""
        status = (self.server.get("nodes", name) or {}).get("status") or {}
        if any(one["type"] == "Ready" and one["status"] == "Unknown" for one in status.get("conditions") or []):
            with self._lock:
                if name in self._nodes - self._cut:
                    self.heal(name)

    def _follow_pods(self) -> None:
        version = ""
        while not self._stop.is_set():
            if not version:
                pods, version = self.server.listing("pods")
                with self._lock:
                    self._pods = {pod["metadata"]["uid"]: pod for pod in pods}
                    for pod in pods:
                        self._settle(pod)
            version = self._follow(version)

    def _follow(self, version: str) -> str:
        """Follow pods for a while; the version to go on from, or nothing where that is too old."""
        for event in self.server.watch("pods", version, HEARTBEAT):
            if event["type"] == "ERROR":
                return ""
            pod = event["object"]
            version = pod["metadata"]["resourceVersion"]
            with self._lock:
                if event["type"] == "DELETED":
                    self._pods.pop(pod["metadata"]["uid"], None)
                elif event["type"] != "BOOKMARK":
                    self._pods[pod["metadata"]["uid"]] = pod
                    self._settle(pod)
        return version

    def _settle(self, pod: Object) -> None:
        """What a kubelet does about one of its pods: end it, or start it once."""
        metadata = pod["metadata"]
        node = pod["spec"].get("nodeName")
        if node is None or node in self._cut:
            return
        waits = metadata["uid"] not in self._started and pod["status"]["phase"] == "Pending" and node in self._nodes
        if "deletionTimestamp" in metadata:
            self.server.delete("pods", metadata["name"], metadata["namespace"], uid=metadata["uid"])
        elif waits and self._say_status(pod):
            self._started.add(metadata["uid"])

    def _say_status(self, pod: Object) -> bool:
        """Start a pod as it was seen; whether it was still so. If not, what became of it is seen next."""
        metadata, labels = pod["metadata"], pod["metadata"].get("labels", {})
        if REVISION_LABEL in labels:
            judge = self.verdicts.get(metadata["namespace"])
            found = judge(pod["spec"]["nodeName"], labels[REVISION_LABEL]) if judge else GOOD
            status = server_status(found)
        elif "batch.kubernetes.io/job-name" in labels:
            status = {"phase": "Running", "containerStatuses": [container_status("builder", state={"running": {}})]}
        else:
            status = running_status(pod)
        seen = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": status}
        return self.server.try_patch("pods", metadata["name"], seen, metadata["namespace"], "status")


def add_node(server: ApiServer, name: str, device: str) -> None:
    """Add a node of a device class that no kubelet has been heard of yet."""
    labels = {
        "edgesmith.dev/device": device,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    server.create("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})


def set_ready(server: ApiServer, name: str, *, ready: bool) -> None:
    """Let a kubelet say whether its node is Ready."""
    times = {"lastHeartbeatTime": _now(), "lastTransitionTime": _now()}
    conditions = [{"type": "Ready", "status": str(ready), "reason": "Test", **times}]
    info = {"architecture": "amd64", "operatingSystem": "linux"}
    status = {"conditions": conditions, "capacity": _ALLOCATABLE, "allocatable": _ALLOCATABLE, "nodeInfo": info}
    server.patch("nodes", name, {"status": status}, subresource="status")


def server_status(found: Object, now: str = "") -> Object:
    """The status of a serving pod after its self-test, as of a time; now where none is given."""
    passed, now = found["verdict"] == "Passed", now or _now()
    ended = {"exitCode": int(not passed), "message": json.dumps(found), "startedAt": now, "finishedAt": now}
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    conditions = [
        {"type": kind, "status": str(passed or kind == "PodScheduled"), "lastTransitionTime": now} for kind in kinds
    ]
    state: Object = {"running": {"startedAt": now}} if passed else {"waiting": {"reason": "PodInitializing"}}
    return {
        "phase": "Running" if passed else "Pending",
        "conditions": conditions,
        "initContainerStatuses": [container_status("selftest", ready=passed, state={"terminated": ended})],
        "containerStatuses": [container_status("server", ready=passed, state=state)],
    }


def running_status(pod: Object) -> Object:
    """The status of any other pod: what it holds has started and is ready."""
    now = _now()
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    running: Object = {"running": {"startedAt": now}}
    return {
        "phase": "Running",
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in kinds],
        "containerStatuses": [
            container_status(one["name"], ready=True, state=running) for one in pod["spec"]["containers"]
        ],
    }


def container_status(name: str, *, ready: bool = False, state: Object) -> Object:
    """The status of one container that has not been restarted."""
    return {"name": name, "ready": ready, "restartCount": 0, "image": "none", "imageID": "none", "state": state}


def _heartbeat(name: str) -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
