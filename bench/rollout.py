"""Rollouts on the real cluster, each against the bare Kubernetes part that does the same.

Bake and node grace period are set to zero throughout: they are waits that the user asks for, and a bare DaemonSet has
none.
"""

from __future__ import annotations

import json
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import from_git
from row import Row

from edgesmith.decide.server import MEASURED_TRIES
from edgesmith_builder.contract import REPORT_ANNOTATION, BuildReport
from edgesmith_stage import surface
from edgesmith_stage.errors import StageError
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground, cluster, local
from edgesmith_stage.install import install_chart, push_images
from edgesmith_stage.kube import Object
from edgesmith_stage.load import Load
from edgesmith_stage.pulls import Pulls
from edgesmith_stage.waiting import until

NAMESPACE = "bench"
ROLLOUT = {"steps": [{"nodes": 1, "bake": "0s"}], "maxUnavailable": 1}


def measure_rollouts() -> list[Row]:
    """Start a cluster named `bench`, measure, and remove it."""
    try:
        return _measure(replace(local("bench", ("generic-amd64",) * 3), node_grace=0))
    finally:
        cluster("down", "--name", "bench")


def _measure(ground: Ground) -> list[Row]:
    install_chart(ground, push_images(ground))
    ground.kube("create", "namespace", NAMESPACE)
    ground.kube.apply(ground.bucket.secret(surface.SECRET), namespace=NAMESPACE)
    fleet = Fleet(ground, NAMESPACE)
    one, two = fleet.publish("1"), fleet.publish("2", "model-v2.onnx")
    profile = {"names": ["generic-amd64"]}

    cold = _seconds(partial(fleet.apply, fleet.manifest("parts", one, deviceProfiles=profile, rollout=ROLLOUT)), fleet)
    first_image = _image(fleet)
    pulls = Pulls(ground)
    built = _seconds(partial(fleet.patch, "parts", {"source": two}), fleet)
    pulled, second_image = pulls.bytes_by_node(), _image(fleet)
    file = _model_file(second_image)
    cached = [_seconds(partial(fleet.patch, "parts", {"source": source}), fleet) for source in (one, two, one)]
    bad = _seconds_of_rollback(fleet, two)
    memory = _operator_memory()
    lost = _requests_lost(fleet, one)
    fleet.ground.kube("delete", "edgemodel", "parts", "-n", NAMESPACE)

    bare = _Bare(fleet, first_image)
    bare_updates = [bare.update(image) for image in (second_image, first_image, second_image)]
    restart = bare.restart_one()
    model = fleet.manifest(from_git.NAME, one, deviceProfiles=profile, rollout=ROLLOUT)
    commits = from_git.rows(fleet, model, (one, two), bare_updates)

    update, bare_update = sorted(cached)[1], sorted(bare_updates)[1]
    same = "bare DaemonSet update"
    worst = max(pulled.get(edge, 0) for edge in ground.edges)
    return [
        Row("apply to last node ready, nothing built", cold, "s", same, cold / bare_update),
        Row("new source to last node ready, build included", built, "s", same, built / bare_update),
        Row("rollout with the build cached", update, "s", f"{same}, same images", update / bare_update, most=1.3),
        *Row.of_update("bytes per node for a model update", worst, file),
        Row("bad canary to the old version serving", bad, "s", "one bare pod restart", bad / restart, most=2.0),
        Row("operator memory", memory / 1e6, "MB"),
        lost,
        *commits,
    ]


def _seconds(change: Callable[[], None], fleet: Fleet) -> float:
    """Seconds from a change of the EdgeModel to every node serving it."""
    start = time.monotonic()
    change()
    fleet.wait_settled("parts", 300)
    return time.monotonic() - start


def _seconds_of_rollback(fleet: Fleet, source: dict[str, Any]) -> float:
    """Seconds from the failed self-test that rolls the revision back to every node serving the old revision again."""
    fleet.patch("parts", {"source": source, "gates": {"maxLatency": "0.001ms"}})
    until(lambda: _failed(fleet), seconds=120, what="the canary's self-test to fail", every=0.05)
    start = time.monotonic()
    servers = {"app.kubernetes.io/component": "server"}
    until(
        lambda: _all_ready(fleet.ground.kube.list("pods", NAMESPACE, servers), 3),
        seconds=120,
        what="the old revision to serve",
    )
    return time.monotonic() - start


def _requests_lost(fleet: Fleet, source: dict[str, Any]) -> Row:
    """Requests without an answer while every node goes to another revision, asked on each node through the Service."""
    with tempfile.TemporaryDirectory(prefix="edgesmith-bench-") as name:
        with Load(fleet, "parts", fleet.ground.edges, Path(name) / "load") as load:
            fleet.patch("parts", {"source": source, "gates": {"maxLatency": None}})
            fleet.wait_settled("parts", 300)
        answers = load.answers().values()
    asked, lost = sum(one.asked for one in answers), sum(len(one.lost) for one in answers)
    return Row("requests lost in a rollout", lost, "requests", f"{asked} asked", lost / asked, most=0.0)


def _failed(fleet: Fleet) -> bool:
    pods = fleet.ground.kube.list("pods", NAMESPACE, {"edgesmith.dev/model": "parts"})
    statuses = [s for pod in pods for s in pod.get("status", {}).get("initContainerStatuses", [])]
    tried = [one for one in statuses if one["restartCount"] + 1 >= MEASURED_TRIES]
    ended = [state["terminated"] for s in tried for state in (s["state"], s["lastState"]) if "terminated" in state]
    return any(end["exitCode"] != 0 for end in ended)


def _image(fleet: Fleet) -> str:
    image: str = fleet.variants("parts")["generic-amd64"]["image"]
    return image


def _model_file(image: str) -> int:
    """Bytes of the compiled model's file, as the report in the image's manifest has it."""
    registry, _, rest = image.partition("/")
    repository, _, digest = rest.partition("@")
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    request = urllib.request.Request(f"http://{registry}/v2/{repository}/manifests/{digest}", headers=accept)
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - the cluster's own registry
        report = BuildReport.model_validate_json(json.loads(response.read())["annotations"][REPORT_ANNOTATION])
    (size,) = (one.size for one in report.candidates if one.precision == report.precision)
    return size or 0


def _operator_memory() -> float:
    """Resident bytes of the operator's process."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"edgesmith.controller" in (process / "cmdline").read_bytes().split(b"\0"):
                pages = int((process / "statm").read_text().split()[1])
                return pages * 4096
        except OSError:
            continue
    raise StageError("the operator's process is not there")


def _all_ready(pods: list[Object], count: int) -> bool:
    living = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    serving = [pod for pod in living if pod["metadata"].get("ownerReferences", [{}])[0].get("kind") == "DaemonSet"]
    ready = [
        pod
        for pod in serving
        if {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}.get("Ready") == "True"
    ]
    return len(ready) == len(serving) == count


class _Bare:
    """The same server as a DaemonSet written by hand: the image's own self-test and probes, no Edgesmith."""

    def __init__(self, fleet: Fleet, image: str) -> None:
        self._kube = fleet.ground.kube
        self._apply(image)
        self._settle(image)

    def update(self, image: str) -> float:
        """Seconds of a rolling update with maxUnavailable 1."""
        start = time.monotonic()
        self._apply(image)
        self._settle(image)
        return time.monotonic() - start

    def restart_one(self) -> float:
        """Seconds from deleting one pod to three ready ones."""
        pod = self._pods()[0]["metadata"]["name"]
        start = time.monotonic()
        self._kube("delete", "pod", pod, "-n", NAMESPACE, "--wait=false")
        until(
            lambda: pod not in {p["metadata"]["name"] for p in self._pods()} and _all_ready(self._pods(), 3),
            seconds=120,
            what="a bare pod to restart",
        )
        return time.monotonic() - start

    def _pods(self) -> list[Object]:
        return self._kube.list("pods", NAMESPACE, {"app": "bare"})

    def _settle(self, image: str) -> None:
        def settled() -> bool:
            pods = self._pods()
            return _all_ready(pods, 3) and all(p["spec"]["containers"][0]["image"] == image for p in pods)

        until(settled, seconds=120, what="the bare DaemonSet to settle")

    def _apply(self, image: str) -> None:
        probe = {"httpGet": {"path": "/v2/health/ready", "port": 8000}, "periodSeconds": 1}
        mount = {"readOnlyRootFilesystem": True, "runAsNonRoot": True, "runAsUser": 65532}
        pod = {
            "automountServiceAccountToken": False,
            "nodeSelector": {"edgesmith.dev/device": "generic-amd64"},
            "initContainers": [{"name": "selftest", "image": image, "args": ["selftest"], "securityContext": mount}],
            "containers": [
                {"name": "server", "image": image, "args": ["serve"], "readinessProbe": probe, "securityContext": mount}
            ],
        }
        manifest = {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "bare"},
            "spec": {
                "selector": {"matchLabels": {"app": "bare"}},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
                "template": {"metadata": {"labels": {"app": "bare"}}, "spec": pod},
            },
        }
        self._kube.apply(manifest, namespace=NAMESPACE)
