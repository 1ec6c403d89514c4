"""A real Argo CD syncs examples/gitops to a control plane of its own; only the kubelets are played."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver import OPERATOR, ApiServer, Object, wait_for
from argocd_process import ArgoCD, Git, argo_cd
from build_outcomes import fail_build, finish_build, push_build
from control_plane import PROGRAMS, api_server, controllers, tools
from kubelets import Kubelets
from needs import lacking
from operator_process import DIGEST, Operator, registry

from edgesmith.api.names import BUILD_KEY_LABEL, REVISION_LABEL

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/gitops"
NAMESPACE = "edgesmith-system"
MODEL = "rings/lab/digits.yaml"
RESOURCE = {
    "group": "edgesmith.dev",
    "version": "v1alpha1",
    "kind": "EdgeModel",
    "namespace": NAMESPACE,
    "resourceName": "digits",
}
"""The EdgeModel, as Argo CD's API server is asked for it."""


@dataclass(frozen=True)
class Site:
    """A cluster that Argo CD syncs from git."""

    server: ApiServer
    argo: ArgoCD
    kubelets: Kubelets
    operator: Operator
    fleet: Git
    chart: Git

    def model(self) -> Object:
        """The EdgeModel in the cluster; empty where there is none."""
        return self.server.get("edgemodels", "digits", NAMESPACE) or {}

    def health(self) -> Object:
        """What Argo CD says of it."""
        found: Object = self.argo.resource("edgesmith", "EdgeModel", "digits").get("health") or {}
        return found

    def offered(self) -> set[str]:
        """The actions that Argo CD offers for the EdgeModel."""
        return self.argo.actions("edgesmith", RESOURCE)

    def act(self, action: str) -> None:
        """Run an action on the EdgeModel through Argo CD's API server, once that offers it."""
        wait_for(f"Argo CD offers {action}", lambda: action in self.offered(), 60)
        self.argo.act("edgesmith", RESOURCE, action)

    def job(self) -> Object:
        """The build Job that has not ended, once there is one."""
        jobs = wait_for("a build Job", lambda: [one for one in self.server.items("jobs", NAMESPACE) if not _over(one)])
        (job,) = jobs
        return job

    async def build(self) -> None:
        """Be the builder: finish the build that is asked for."""
        job = self.job()
        key = job["metadata"]["labels"][BUILD_KEY_LABEL]
        finish_build(self.server, job, await push_build(self.operator.registry, NAMESPACE, key))


def _over(job: Object) -> bool:
    return any(one["type"] in {"Complete", "Failed"} for one in job.get("status", {}).get("conditions") or [])


def _values(registry_address: str) -> Object:
    """The example's values with this test's registry."""
    values: Object = yaml.safe_load((EXAMPLE / "operator/values.yaml").read_text())
    image = f"{registry_address}/edgesmith/any@{DIGEST}"
    values["image"] = {"operator": image, "builder": image, "runtime": {"onnxruntime": image}}
    values["operator"] = {"nodeSelector": {"kubernetes.io/hostname": "hub"}}
    values["registry"] = {"repository": f"{registry_address}/models", "plainHTTP": True}
    return values


def _fleet(folder: Path, registry_address: str) -> Git:
    """The example as a team would copy it, with steps that take a second."""
    git = Git(folder)
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    git.write("operator/values.yaml", _values(registry_address))
    model = git.read(MODEL)
    model["spec"]["rollout"] = {"steps": [{"nodes": 1, "bake": "1s"}], "maxUnavailable": 1}
    del model["spec"]["source"]["secretRef"]
    git.write(MODEL, model)
    git.commit("the example")
    return git


def _application(fleet: Git, chart: Git) -> Object:
    """The example's Application, of these repositories."""
    found: Object = yaml.safe_load((EXAMPLE / "argocd/application.yaml").read_text())
    for source in found["spec"]["sources"]:
        ours = source["path"] == "charts/edgesmith"
        source |= {"repoURL": (chart if ours else fleet).url, "targetRevision": "main"}
    return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A control plane without anything of ours, a hub and two nodes, and Argo CD; nothing is synced yet."""
    programs = tools()
    if programs is None:
        lacking(f"{', '.join(PROGRAMS)} are not compiled yet: run `make tools`")
    files = ("argocd-cm.yaml", "argocd-cm-pods.yaml")
    settings = {
        key: value
        for file in files
        for key, value in yaml.safe_load((ROOT / "deploy/argocd" / file).read_text())["data"].items()
    }
    for name in ("plane", "registry", "argocd"):
        (tmp_path / name).mkdir()
    with (
        registry(programs, tmp_path / "registry") as images,
        api_server(tmp_path / "plane", programs) as server,
        controllers(server),
        Kubelets(server) as kubelets,
        argo_cd(server, settings, tmp_path / "argocd", api=True) as argo,
    ):
        for node, device in (("hub", "none"), ("line-1", "line-pc"), ("line-2", "line-pc")):
            kubelets.add(node, device)
        chart = Git(tmp_path / "edgesmith")
        shutil.copytree(ROOT / "charts", chart.folder / "charts")
        chart.commit("the chart")
        fleet = _fleet(tmp_path / "fleet", images)
        operator = Operator(server, NAMESPACE, images, tmp_path / "operator.log", token=OPERATOR, flags=())
        yield Site(server, argo, kubelets, operator, fleet, chart)
        if operator.process is not None:
            operator.end(signal.SIGKILL)


@pytest.mark.timeout(300)
async def test_the_example_from_the_first_sync_to_the_last_prune(site: Site) -> None:
    argo = site.argo
    done = argo.first_sync(_application(site.fleet, site.chart))
    _waves_were_kept(done["syncResult"]["resources"])
    argo.wait("edgesmith", "Synced", "Progressing")
    assert "has not looked at this generation" in site.health()["message"]

    site.operator.start()
    wait_for("it builds", lambda: site.health().get("message", "").startswith("Building for line-pc"))
    await site.build()
    argo.wait("edgesmith", "Synced", "Healthy")
    assert site.health() == {"status": "Healthy", "message": "Serving on 2 of 2 nodes."} | site.health()
    assert len(argo.get("edgesmith")["status"]["history"]) == 1, "it was synced more than once for one commit"

    _a_node_that_is_away_leaves_it_healthy(site)
    _an_edit_by_hand_is_undone(site)
    _a_pause_that_git_does_not_name_stays(site)
    await _a_commit_is_rolled_out_and_promoted(site)
    _a_rollback_goes_back(site)
    await _a_failed_build_is_tried_again(site)
    _what_git_no_longer_has_goes(site)


def _waves_were_kept(synced: list[Object]) -> None:
    order = [(one["kind"], one["name"]) for one in synced if one.get("syncPhase", "Sync") == "Sync"]
    crd, operator = (
        order.index(("CustomResourceDefinition", "edgemodels.edgesmith.dev")),
        order.index(("Deployment", "edgesmith")),
    )
    profile, model = order.index(("DeviceProfile", "line-pc")), order.index(("EdgeModel", "digits"))
    assert crd < operator < profile < model, order


def _a_node_that_is_away_leaves_it_healthy(site: Site) -> None:
    site.kubelets.cut("line-2")
    wait_for("Argo CD tells of it", lambda: "1 NotReady" in site.health()["message"])
    assert site.argo.stands("edgesmith") == ("Synced", "Healthy")
    (running,) = site.server.items("daemonsets", NAMESPACE)
    name = running["metadata"]["name"]

    def ready() -> int:
        found: int = (site.server.get("daemonsets", name, NAMESPACE) or {})["status"]["numberReady"]
        return found

    wait_for("its DaemonSet lacks a pod", lambda: ready() == 1)
    tree = wait_for("its tree has looked at the pod", lambda: _tree_with_the_pod_that_is_away(site))
    assert {one["kind"] for one in tree if "health" in one} >= {"EdgeModel", "DaemonSet", "Service", "Pod"}
    assert {one["health"]["status"] for one in tree if "health" in one} == {"Healthy"}
    assert site.argo.stands("edgesmith") == ("Synced", "Healthy")
    site.kubelets.heal("line-2")
    wait_for("it is back", lambda: site.health()["message"] == "Serving on 2 of 2 nodes.")


def _tree_with_the_pod_that_is_away(site: Site) -> list[Object]:
    """The Application's tree, once it shows the server of line-2 as one whose node is not heard of; empty before."""
    servers = site.server.items("pods", NAMESPACE, REVISION_LABEL)
    (away,) = [pod["metadata"]["name"] for pod in servers if pod["spec"].get("nodeName") == "line-2"]
    tree = site.argo.tree("edgesmith")
    said = [one["health"]["message"] for one in tree if one["name"] == away and "message" in one.get("health", {})]
    return tree if said == ["Ready when its node was last heard of."] else []


def _an_edit_by_hand_is_undone(site: Site) -> None:
    site.server.patch("edgemodels", "digits", {"spec": {"rollout": {"maxUnavailable": 2}}}, NAMESPACE)
    wait_for("it is as git says", lambda: site.model()["spec"]["rollout"]["maxUnavailable"] == 1)


def _a_pause_that_git_does_not_name_stays(site: Site) -> None:
    assert site.offered() == {"pause"}
    site.act("pause")
    _look_again(site)
    site.argo.wait("edgesmith", "Synced", "Healthy")
    assert site.model()["spec"]["rollout"]["paused"] is True
    site.act("resume")
    assert not site.model()["spec"]["rollout"].get("paused")


def _look_again(site: Site) -> None:
    before = site.argo.get("edgesmith")["status"]["reconciledAt"]
    generation = site.model()["metadata"]["generation"]
    wait_for("the operator has looked", lambda: site.model()["status"]["observedGeneration"] == generation)
    site.argo.refresh("edgesmith")
    wait_for("Argo CD has looked", lambda: site.argo.get("edgesmith")["status"]["reconciledAt"] > before)


async def _a_commit_is_rolled_out_and_promoted(site: Site) -> None:
    first = _label(site, "line-1")
    model: Any = site.fleet.read(MODEL)
    model["spec"]["rollout"]["steps"] = [{"nodes": 1, "bake": "1h"}]
    commit = _publish(site, model, "2")
    site.argo.wait("edgesmith", "Synced", "Progressing", commit=commit)
    await site.build()
    site.act("promote")
    site.argo.wait("edgesmith", "Synced", "Healthy", commit=commit)
    (variant,) = site.model()["status"]["variants"]
    assert {_label(site, "line-1"), _label(site, "line-2")} == {variant["revision"]} != {first}


def _a_rollback_goes_back(site: Site) -> None:
    second = _label(site, "line-1")
    site.act("rollback")
    wait_for("both nodes went back", lambda: second not in {_label(site, "line-1"), _label(site, "line-2")}, 60)
    site.argo.wait("edgesmith", "Synced", "Healthy")
    assert [one["from"] for one in site.model()["spec"]["rollout"]["rollbackTo"]] == [second]


async def _a_failed_build_is_tried_again(site: Site) -> None:
    commit = _publish(site, site.fleet.read(MODEL), "3")
    why = {"reason": "SourceNotFound", "message": "spec.source.uri: nothing is there.", "retry": False}
    fail_build(site.server, site.job(), json.dumps(why))
    site.argo.wait("edgesmith", "Synced", "Degraded", commit=commit)
    site.act("retry")
    await site.build()
    site.act("promote")
    site.argo.wait("edgesmith", "Synced", "Healthy", commit=commit)


def _publish(site: Site, model: Any, version: str) -> str:
    """Commit another version of the model's source and have Argo CD look; the commit."""
    model["spec"]["source"] = {"uri": f"s3://models/digits/{version}/model.onnx", "sha256": version * 64}
    site.fleet.write(MODEL, model)
    commit = site.fleet.commit(f"digits {version}")
    site.argo.refresh("edgesmith")
    return commit


def _label(site: Site, node: str) -> str:
    labels = (site.server.get("nodes", node) or {})["metadata"]["labels"]
    return str(next(value for key, value in labels.items() if "node-restriction.kubernetes.io/digits" in key))


def _what_git_no_longer_has_goes(site: Site) -> None:
    (site.fleet.folder / MODEL).unlink()
    commit = site.fleet.commit("without digits")
    site.argo.refresh("edgesmith")
    site.argo.wait("edgesmith", "Synced", "Healthy", commit=commit)
    wait_for("the EdgeModel is gone", lambda: not site.model())
    wait_for("its DaemonSets are gone", lambda: not site.server.items("daemonsets", NAMESPACE))
    assert site.server.get("deviceprofiles", "line-pc"), "the profile is still in git"
