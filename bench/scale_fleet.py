"""A fleet that KWOK plays on a real control plane: nodes that lose their power, and devices that fail a new revision.

etcd, API server, controller manager and scheduler are the real ones, as in the tests' api tier; KWOK
(https://kwok.sigs.k8s.io) sends the nodes' heartbeats and their pods' status.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from apiserver import OPERATOR, ApiServer, Object, wait_for
from control_plane import api_server, controllers
from kubelets import BAD, GOOD, container_status, server_status
from processes import running_program

from edgesmith.api.names import BUILD_KEY_LABEL
from edgesmith_builder.contract import BuildResult

ROOT = Path(__file__).resolve().parents[1]
DEVICE, POWERED, SOUND = "edgesmith.dev/device", "scale.edgesmith.dev/powered", "scale.edgesmith.dev/sound"
"""Labels of nodes: the class; whether KWOK plays the kubelet; whether the node is there and its device works."""
PROFILE = "scale"
NAMESPACE = "scale"
_LEASE, _GRACE = 200, 300
"""Seconds: KWOK renews a lease four times as often, and a fleet's heartbeats must not be what is measured."""
_AT_ONCE = 8
_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "Metadata",
            "users": ["system:serviceaccount:edgesmith-system:edgesmith"],
            "verbs": ["create", "update", "patch", "delete", "deletecollection"],
        },
        {"level": "None"},
    ],
}


@dataclass(frozen=True)
class Size:
    """How much there is.

    Attributes:
        nodes: In the fleet.
        models: EdgeModels, each on every node.
    """

    nodes: int
    models: int

    @property
    def names(self) -> list[str]:
        """The nodes, in order."""
        return [f"n{number:05}" for number in range(self.nodes)]

    @property
    def offline(self) -> list[str]:
        """One in ten: without power when the second revision comes."""
        return self.names[9::10]

    @property
    def failing(self) -> list[str]:
        """One in fifty: its device fails the second revision."""
        return self.names[24::50]

    @property
    def sound(self) -> list[str]:
        """Those that can serve the second revision."""
        out = {*self.offline, *self.failing}
        return [name for name in self.names if name not in out]


@dataclass(frozen=True)
class Fleet:
    """A fleet at work."""

    server: ApiServer
    size: Size
    audit: Path

    def writes(self, since: int = 0) -> tuple[list[str], int]:
        """What the operator wrote since a place in the audit log, as `VERB RESOURCE`, and the place now."""
        with self.audit.open("rb") as log:
            log.seek(since)
            lines = log.read()
        whole = lines.rpartition(b"\n")[0]
        found = [json.loads(line) for line in whole.splitlines()]
        words = [f"{one['verb']} {'/'.join(_resource(one['objectRef']))}" for one in found if one.get("objectRef")]
        return words, since + len(whole) + (1 if whole else 0)

    def cut_power(self) -> None:
        """Take the power of one node in ten away, and wait until the cluster knows."""
        gone: Object = {"status": {"conditions": [_condition("False")]}}

        def cut(name: str) -> None:
            self.server.patch("nodes", name, {"metadata": {"labels": {POWERED: None}}})
            self.server.patch("nodes", name, gone, subresource="status")

        _each(self.size.offline, cut)


def _resource(reference: Object) -> list[str]:
    return [reference[field] for field in ("resource", "subresource") if reference.get(field)]


def _each(names: Sequence[str], work: Callable[[str], object]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(work, names))


@contextmanager
def fleet(
    folder: Path, programs: Path, size: Size, builds: Mapping[str, str], first_images: Collection[str]
) -> Iterator[Fleet]:
    """A control plane with all nodes Ready while the block runs.

    Args:
        folder: For the programs' files.
        programs: The compiled programs.
        size: How many nodes.
        builds: Build key to the image that its Job says it pushed.
        first_images: Images that no device fails.
    """
    policy, audit, config = folder / "audit.yaml", folder / "audit.log", folder / "kwok.yaml"
    policy.write_text(yaml.safe_dump(_AUDIT))
    audit.touch()
    flags = [f"--audit-policy-file={policy}", f"--audit-log-path={audit}", "--max-requests-inflight=2000"]
    config.write_text(yaml.safe_dump_all(_stages(size.failing, builds, first_images)))
    with api_server(folder, programs, flags) as server:
        for crd in sorted((ROOT / "crds").glob("*.yaml")):
            server.kubectl("apply", "--server-side", "-f", str(crd))
        for plural in ("edgemodels", "deviceprofiles"):
            server.kubectl("wait", f"crd/{plural}.edgesmith.dev", "--for=condition=Established", "--timeout=60s")
        server.apply(_granted())
        line: list[str | Path] = [
            programs / "kwok",
            f"--kubeconfig={server.kubeconfig()}",
            f"--config={config}",
            f"--manage-nodes-with-label-selector={POWERED}=true",
            f"--node-lease-duration-seconds={_LEASE}",
        ]
        with controllers(server, _GRACE), running_program(line, folder / "kwok.log"):
            server.create("namespaces", {"metadata": {"name": NAMESPACE}})
            sound = frozenset(size.sound)
            _each(size.names, lambda name: _add(server, name, sound=name in sound))
            wait_for("every node is Ready", lambda: _ready(server) == size.nodes, 600)
            yield Fleet(server, size, audit)


def _add(server: ApiServer, name: str, *, sound: bool) -> None:
    labels = {DEVICE: PROFILE, POWERED: "true", "kubernetes.io/hostname": name} | {
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        **({SOUND: "true"} if sound else {}),
    }
    server.create("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})


def _ready(server: ApiServer) -> int:
    nodes = server.items("nodes")
    return sum(
        any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions", ()))
        for node in nodes
    )


def _granted() -> Object:
    """The rights of an administrator for the operator's ServiceAccount; the audit log knows it by its name."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "scale-operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "edgesmith", "namespace": "edgesmith-system"}],
    }


def _stages(failing: Sequence[str], builds: Mapping[str, str], first_images: Collection[str]) -> list[Object]:
    """What KWOK does with nodes and pods (https://kwok.sigs.k8s.io/docs/user/stages-configuration/)."""
    living: Object = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
    pending: list[Object] = [living, {"key": ".status.phase", "operator": "In", "values": ["Pending"]}]
    fresh: list[Object] = [
        *pending,
        _owned_by("DaemonSet"),
        {"key": ".status.initContainerStatuses", "operator": "DoesNotExist"},
    ]
    broken: list[Object] = [
        {"key": ".spec.nodeName", "operator": "In", "values": list(failing)},
        {"key": ".spec.containers.[].image", "operator": "NotIn", "values": sorted(first_images)},
    ]
    good_node: list[Object] = [{"key": ".spec.nodeName", "operator": "NotIn", "values": list(failing)}]
    first: list[Object] = [
        {"key": ".spec.nodeName", "operator": "In", "values": list(failing)},
        {"key": ".spec.containers.[].image", "operator": "In", "values": sorted(first_images)},
    ]
    gone: Object = {"key": ".metadata.deletionTimestamp", "operator": "Exists"}
    unready: Object = {
        "key": '.status.conditions.[] | select( .type == "Ready" ) | .status',
        "operator": "NotIn",
        "values": ["True"],
    }
    capacity = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    node = {
        "conditions": [_condition("True", "NOW")],
        "allocatable": capacity,
        "capacity": capacity,
        "phase": "Running",
        "nodeInfo": {"architecture": "amd64", "operatingSystem": "linux"},
    }
    good, bad = _template(server_status(GOOD, "NOW")), _template(server_status(BAD, "NOW"))
    return [
        _stage("node-initialize", "Node", [unready], {"statusTemplate": _template(node)}),
        _stage("pod-serves", "Pod", [*fresh, *good_node], {"statusTemplate": good}),
        _stage("pod-serves-on-a-failing-node", "Pod", [*fresh, *first], {"statusTemplate": good}),
        _stage("pod-fails", "Pod", [*fresh, *broken], {"statusTemplate": bad}),
        _stage("pod-delete", "Pod", [gone], {"delete": True}),
        *(_build_stage(key, image, [*pending, _owned_by("Job")]) for key, image in builds.items()),
    ]


def _owned_by(kind: str) -> Object:
    return {"key": ".metadata.ownerReferences.[].kind", "operator": "In", "values": [kind]}


def _build_stage(key: str, image: str, conditions: list[Object]) -> Object:
    """The pod of a build Job ends at once, with what was pushed before."""
    ended = {"exitCode": 0, "reason": "Completed", "message": BuildResult(image=image).to_json()} | {
        "startedAt": "NOW",
        "finishedAt": "NOW",
    }
    status = {"phase": "Succeeded", "containerStatuses": [container_status("builder", state={"terminated": ended})]}
    stage = _stage(f"build-{key}", "Pod", conditions, {"statusTemplate": _template(status)})
    stage["spec"]["selector"]["matchLabels"] = {BUILD_KEY_LABEL: key}
    return stage


def _stage(name: str, kind: str, conditions: list[Object], then: Object) -> Object:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": conditions},
            "next": then,
        },
    }


def _template(status: Object) -> str:
    """A status as KWOK's template, which is YAML with Go's template language in it."""
    return json.dumps(status).replace('"NOW"', "{{ Now | Quote }}")


def _condition(status: str, now: str = "") -> Object:
    times = {"lastHeartbeatTime": now, "lastTransitionTime": now} if now else {}
    return {"type": "Ready", "status": status, "reason": "Played", "message": "KWOK plays this kubelet.", **times}


__all__ = ["NAMESPACE", "OPERATOR", "PROFILE", "SOUND", "Fleet", "Size", "fleet"]
