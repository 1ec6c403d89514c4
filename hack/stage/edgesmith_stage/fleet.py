"""EdgeModels in one namespace, in the words that the cluster tests and the benchmarks are written in."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from edgesmith_cluster import network
from edgesmith_stage import surface
from edgesmith_stage.ground import Ground, cluster
from edgesmith_stage.kube import Object
from edgesmith_stage.predict import Server, servers
from edgesmith_stage.shell import run
from edgesmith_stage.waiting import until

Patch = dict[str, Any]

_FAULT = "edgesmith-fault"


@dataclass
class Fleet:
    """A namespace with EdgeModels, over the cluster's edge nodes."""

    ground: Ground
    namespace: str
    cut_off: set[str] = field(default_factory=set)
    powerless: set[str] = field(default_factory=set)

    def publish(self, version: str, file: str = "model.onnx") -> Patch:
        """Upload a version of the example's model and return the spec's `source` for it."""
        return self.publish_bytes(version, (surface.FOLDER / file).read_bytes())

    def publish_bytes(self, version: str, content: bytes, suffix: str = "onnx") -> Patch:
        """Upload bytes as a model and return the spec's `source` for them."""
        uri = f"s3://models/{self.namespace}/{version}/model.{suffix}"
        return self.ground.bucket.put_model(uri, content) | {"secretRef": {"name": surface.SECRET}}

    def publish_set(self, name: str, content: bytes) -> str:
        """Upload bytes as a data set and return its URI."""
        uri = f"s3://models/{self.namespace}/{name}.npz"
        self.ground.bucket.put(uri, content)
        return uri

    def manifest(self, name: str, source: Patch, **spec: Any) -> Object:
        """The example's EdgeModel under another name, source and whatever else the test changes; without a trial.

        What is None is left out: `picture=None` where the source is not a model of the example's pictures.
        """
        manifest = copy.deepcopy(surface.manifest())
        surface.publish(self.ground)
        manifest["metadata"] = {"name": name, "namespace": self.namespace}
        manifest["spec"] |= {"source": source, "rollout": {"steps": [{"nodes": 1, "bake": "2s"}], "maxUnavailable": 1}}
        manifest["spec"] |= {"optimize": {"trial": "Never"}}
        manifest["spec"] = {field: value for field, value in (manifest["spec"] | spec).items() if value is not None}
        return manifest

    def apply(self, manifest: Object) -> None:
        """`kubectl apply`."""
        self.ground.kube.apply(manifest, namespace=self.namespace)

    def patch(self, name: str, spec: Patch) -> None:
        """`kubectl patch --type=merge` of the spec."""
        words = ("patch", "edgemodel", name, "-n", self.namespace, "--type=merge", "-p", json.dumps({"spec": spec}))
        self.ground.kube(*words)

    def model(self, name: str) -> Object:
        """The EdgeModel as it stands."""
        return self.ground.kube.get("edgemodel", name, self.namespace) or {}

    def condition(self, name: str, type_: str) -> Object | None:
        """A condition that was said of the newest generation, or None."""
        return _condition(self.model(name), type_)

    def wait(self, name: str, type_: str, *, reason: str | None = None, seconds: float = 120) -> Object:
        """Wait until a condition is True, with the reason where one is given, and return it."""

        def holds() -> Object | None:
            condition = self.condition(name, type_)
            good = condition and condition["status"] == "True" and reason in (None, condition["reason"])
            return condition if good else None

        what = f"EdgeModel {name} to be {type_}{f' because of {reason}' if reason else ''}"
        return until(holds, seconds=seconds, what=what, detail=lambda: json.dumps(self.model(name).get("status")))

    def wait_saying(self, name: str, type_: str, words: str, seconds: float = 120) -> Object:
        """Wait until a condition is True with these words in its message, and return it."""

        def says() -> Object | None:
            condition = self.condition(name, type_)
            return condition if condition and condition["status"] == "True" and words in condition["message"] else None

        what = f"{type_} of EdgeModel {name} to say {words!r}"
        return until(says, seconds=seconds, what=what, detail=lambda: json.dumps(self.model(name).get("status")))

    def wait_settled(self, name: str, seconds: float = 180) -> Object:
        """Wait until an EdgeModel is Ready with nothing left to do, and return it."""

        def settled() -> Object | None:
            model = self.model(name)
            ready, busy = _condition(model, "Ready"), _condition(model, "Reconciling")
            return model if ready and ready["status"] == "True" and not busy else None

        what = f"EdgeModel {name} to settle"
        return until(settled, seconds=seconds, what=what, detail=lambda: json.dumps(self.model(name).get("status")))

    def variants(self, name: str) -> dict[str, Object]:
        """The status of each variant by profile."""
        return {variant["profile"]: variant for variant in self.model(name)["status"]["variants"]}

    def servers(self, name: str) -> dict[str, Server]:
        """Serving pods by node."""
        return servers(self.ground.kube, name, self.namespace)

    def pods(self, name: str) -> dict[str, str]:
        """Serving pods' UIDs by name: equal before and after means that nobody was touched."""
        pods = self.ground.kube.list("pods", self.namespace, {"edgesmith.dev/model": name})
        return {
            pod["metadata"]["name"]: pod["metadata"]["uid"]
            for pod in pods
            if pod["metadata"]["labels"].get("app.kubernetes.io/component") == "server"
        }

    def cut(self, node: str) -> None:
        """Take a node's link away."""
        self.cut_off.add(node)
        cluster("cut", node, "--name", self.ground.name)

    def heal(self, node: str) -> None:
        """Give a node its link back."""
        cluster("heal", node, "--name", self.ground.name)
        self.cut_off.discard(node)

    def off(self, node: str) -> None:
        """Take a node's power away: all that runs on it ends, its disk stays."""
        self.powerless.add(node)
        cluster("off", node, "--name", self.ground.name, show=False)

    def on(self, *nodes: str) -> None:
        """Give nodes their power back and wait until they are Ready."""
        for node in nodes:
            cluster("on", node, "--name", self.ground.name, show=False)
            self.powerless.discard(node)

    @contextmanager
    def without_registry(self, *nodes: str) -> Iterator[None]:
        """Refuse these nodes' connections to the registry by their own firewall; the API server stays in reach."""
        rules = "add table inet {0}; add chain inet {0} out {{ type filter hook output priority 0; }}; "
        rules += "add rule inet {0} out tcp dport 5000 reject with tcp reset"
        try:
            for node in nodes:
                self._nft(node, rules.format(_FAULT))
            yield
        finally:
            for node in nodes:
                self._nft(node, f"add table inet {_FAULT}; delete table inet {_FAULT}")

    def _nft(self, node: str, rules: str) -> None:
        run(["nsenter", f"--net={network.entry(self.ground.name, node)}", "nft", rules])

    def heal_everybody(self) -> None:
        """Give every node its link and its power back and wait until the cluster sees it."""
        for node in sorted(self.cut_off):
            self.heal(node)
        self.on(*sorted(self.powerless))
        until(lambda: not self.not_ready(), seconds=60, what="every node to be Ready")

    def not_ready(self) -> set[str]:
        """Nodes that are NotReady."""
        found = set()
        for node in self.ground.kube.list("nodes", None):
            conditions = {c["type"]: c["status"] for c in node["status"]["conditions"]}
            if conditions.get("Ready") != "True":
                found.add(node["metadata"]["name"])
        return found


def _condition(model: Object, type_: str) -> Object | None:
    status = model.get("status", {})
    if status.get("observedGeneration") != model.get("metadata", {}).get("generation"):
        return None
    found = [condition for condition in status.get("conditions", []) if condition["type"] == type_]
    return found[0] if found else None
