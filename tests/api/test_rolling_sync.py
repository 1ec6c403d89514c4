"""A real ApplicationSet goes from ring to ring by RollingSync, and our health says when.

The rings are two namespaces of one API server: what decides is each Application's health, and that is the same there.
The order in which Argo CD looks at git is the test's, ring by ring: RollingSync has a race there (argo-cd #29410).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import ApiServer, Object, wait_for
from argocd_process import ArgoCD, Git, argo_cd
from build_outcomes import fail_build, finish_build, push_build
from kubelets import Kubelets
from operator_process import Operator, device_profile, edge_model

from edgesmith.api.names import BUILD_KEY_LABEL

ROOT = Path(__file__).resolve().parents[2]
LAB, PILOT = "edgesmith-lab", "edgesmith-pilot"
FILE = "rings/fleet/parts.yaml"


@dataclass(frozen=True)
class Rings:
    """Two rings that run what one directory of a git repository has."""

    server: ApiServer
    argo: ArgoCD
    operator: Operator
    git: Git
    namespaces: dict[str, str]

    def publish(self, version: int) -> str:
        """Commit a version of the model, and let Argo CD see it in the first ring; the commit."""
        model: Any = self.git.read(FILE)
        model["spec"]["source"] = {"uri": f"s3://models/parts/{version}/model.onnx", "sha256": f"{version}" * 64}
        self.git.write(FILE, model)
        commit = self.git.commit(f"parts {version}")
        self.argo.show(LAB, commit)
        wait_for("the first ring is about to sync", lambda: self.steps()[LAB] != "Healthy", 60)
        return commit

    def show_second(self, commit: str) -> None:
        """Let Argo CD see a commit in the second ring, and wait until that ring is to wait."""
        self.argo.show(PILOT, commit)
        # With which commit is not asked: of a ring that waits already, the ApplicationSet writes no newer one.
        wait_for("the second ring waits", lambda: self.steps()[PILOT] == "Waiting", 60)
        assert self.argo.stands(PILOT)[0] == "OutOfSync"

    def steps(self) -> dict[str, str]:
        """How far the ApplicationSet says that each ring is."""
        return {one["application"]: one["status"] for one in self.argo.told("edgesmith")}

    def model(self, ring: str) -> Object:
        """The EdgeModel of a ring; empty where there is none."""
        return self.server.get("edgemodels", "parts", self.namespaces[ring]) or {}

    def version(self, ring: str) -> int:
        """The version of the source that a ring is to run; 0 where it has no EdgeModel."""
        model = self.model(ring)
        return int(model["spec"]["source"]["sha256"][0]) if model else 0

    def job(self, ring: str) -> Object:
        """The build Job of a ring that has not ended, once there is one."""
        namespace = self.namespaces[ring]
        running = wait_for(f"a build Job of {ring}", lambda: list(filter(_runs, self.server.items("jobs", namespace))))
        (job,) = running
        return job

    async def build(self, ring: str) -> None:
        """Be the builder: finish the build that a ring asks for."""
        job = self.job(ring)
        key = job["metadata"]["labels"][BUILD_KEY_LABEL]
        finish_build(self.server, job, await push_build(self.operator.registry, self.namespaces[ring], key))


def _runs(job: Object) -> bool:
    return not any(one["type"] in {"Complete", "Failed"} for one in job.get("status", {}).get("conditions") or [])


def _application_set(git: Git, namespaces: dict[str, str]) -> Object:
    """The example's ApplicationSet, over two namespaces in place of clusters, of the models only."""
    found: Object = yaml.safe_load((ROOT / "examples/gitops/argocd/sites-rolling-sync.yaml").read_text())
    spec = found["spec"]
    rings = [
        {"name": name.removeprefix("edgesmith-"), "ring": name.removeprefix("edgesmith-"), "namespace": namespace}
        for name, namespace in namespaces.items()
    ]
    spec["generators"] = [{"list": {"elements": rings}}]
    spec["template"]["metadata"]["labels"]["ring"] = "{{.ring}}"
    del spec["template"]["spec"]["sources"]
    spec["template"]["spec"]["source"] = {"repoURL": git.url, "targetRevision": "main", "path": "rings/fleet"}
    spec["template"]["spec"]["destination"] = {
        "server": "https://kubernetes.default.svc",
        "namespace": "{{.namespace}}",
    }
    # So that nothing of the test's waits for Argo CD to end.
    spec["syncPolicy"] = {"preserveResourcesOnDeletion": True}
    return found


@pytest.fixture
def rings(server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator, tmp_path: Path) -> Iterator[Rings]:
    """Two rings without a model, their operator, and Argo CD, which looks at git when it is told to."""
    pilot, profile = f"{namespace}-pilot", f"{namespace}-device"
    server.create("namespaces", {"metadata": {"name": pilot}})
    settings = yaml.safe_load((ROOT / "deploy/argocd/argocd-cm.yaml").read_text())["data"]
    git = Git(tmp_path / "fleet")
    model = edge_model("parts", namespace)
    del model["metadata"]["namespace"]
    git.write(FILE, model)
    kubelets.add(f"{namespace}-1", profile)
    server.apply(device_profile(profile))
    operator.start()
    (tmp_path / "argocd").mkdir()
    with argo_cd(server, settings, tmp_path / "argocd", resync=3600, sets=True) as argo:
        yield Rings(server, argo, operator, git, {LAB: namespace, PILOT: pilot})
    kinds = ("applicationsets", "applications", "appprojects")
    server.kubectl("delete", "crd", *(f"{kind}.argoproj.io" for kind in kinds), "--wait=false")
    server.kubectl("delete", "namespace", "argocd", "--wait=false")
    server.delete("edgemodels", "parts", pilot)
    server.delete("namespaces", pilot)


@pytest.mark.timeout(300)
async def test_the_next_ring_follows_a_ring_that_serves_and_none_that_failed(rings: Rings) -> None:
    argo = rings.argo
    rings.git.commit("parts 0")
    rings.server.apply(_application_set(rings.git, rings.namespaces))
    argo.wait(LAB, "Synced", "Progressing")
    rings.job(LAB)
    assert not rings.model(PILOT), "the second ring went ahead of the first"
    await rings.build(LAB)
    argo.wait(LAB, "Synced", "Healthy")
    await rings.build(PILOT)
    argo.wait(PILOT, "Synced", "Healthy")

    bad = rings.publish(1)
    argo.wait(LAB, "Synced", "Progressing")
    rings.show_second(bad)
    why = {"reason": "GatesFailed", "message": "accuracy is 60%", "retry": False}
    fail_build(rings.server, rings.job(LAB), json.dumps(why))
    argo.wait(LAB, "Synced", "Degraded")
    steps = rings.steps()
    # Argo CD may not have looked at the first ring yet since it was synced.
    assert steps.keys() == {LAB, PILOT}
    assert (steps[LAB] in {"Pending", "Progressing"}, steps[PILOT]) == (True, "Waiting"), steps

    good = rings.publish(2)
    argo.wait(LAB, "Synced", "Progressing")
    rings.show_second(good)
    await rings.build(LAB)
    argo.wait(LAB, "Synced", "Healthy")
    wait_for("the second ring has the new model", lambda: rings.version(PILOT) == 2, 60)
    assert rings.model(PILOT)["metadata"]["generation"] == 2, "the second ring was given what failed in the first"
    await rings.build(PILOT)
    argo.wait(PILOT, "Synced", "Healthy")
