"""A real ApplicationSet over two clusters, each with an operator of its own: by RollingSync, and by commits.

Argo CD runs on the first site's API server and knows both by Secrets, each by its address. The first site builds; the
second one finds the builds in the registry. Only their kubelets are played.
The order in which Argo CD looks at git is the test's, ring by ring: RollingSync has a race there (argo-cd #29410).
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from apiserver import ApiServer, Object, wait_for
from archives import Hub
from argocd_process import ArgoCD, Git, argo_cd, take_away
from build_outcomes import finish_build
from kubelets import BAD, Kubelets
from operator_process import Operator, device_profile, edge_model
from test_cli import edgesmith

from edgesmith.api.names import BUILD_KEY_LABEL

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
LAB, PILOT = "edgesmith-lab", "edgesmith-pilot"
"""The Applications of the two sites."""
EVERYWHERE, OF_LAB, OF_PILOT = (f"rings/{name}/parts.yaml" for name in ("fleet", "lab", "pilot"))


@dataclass(frozen=True)
class Sites:
    """Two site clusters that one Argo CD syncs from a git repository."""

    argo: ArgoCD
    git: Git
    namespace: str
    """Of the EdgeModel and the operator in both."""
    clusters: dict[str, ApiServer]
    """By the name of the site's Application."""
    first: Kubelets
    hub: Hub
    """Where builds are pushed to."""

    def write(self, version: int, file: str) -> None:
        """Write a version of the model into a file of the repository."""
        model = edge_model("parts", self.namespace)
        del model["metadata"]["namespace"]
        model["spec"]["source"] = {"uri": f"s3://models/parts/{version}/model.onnx", "sha256": f"{version}" * 64}
        self.git.write(file, model)

    def publish(self, version: int) -> str:
        """Commit a version of the model for all rings, and let Argo CD see it at the first site; the commit."""
        self.write(version, EVERYWHERE)
        commit = self.git.commit(f"parts {version}")
        self.argo.show(LAB, commit)
        wait_for("the first site is about to sync", lambda: self.steps()[LAB] != "Healthy", 60)
        return commit

    def show_second(self, commit: str) -> None:
        """Let Argo CD see a commit at the second site, and wait until that is to wait."""
        self.argo.show(PILOT, commit)
        # With which commit is not asked: of a ring that waits already, the ApplicationSet writes no newer one.
        wait_for("the second site waits", lambda: self.steps()[PILOT] == "Waiting", 60)
        assert self.argo.stands(PILOT)[0] == "OutOfSync"

    def steps(self) -> dict[str, str]:
        """How far the ApplicationSet says that each site is."""
        return {one["application"]: one["status"] for one in self.argo.told("edgesmith")}

    def model(self, site: str) -> Object:
        """The EdgeModel at a site; empty where there is none."""
        return self.clusters[site].get("edgemodels", "parts", self.namespace) or {}

    def version(self, site: str) -> int:
        """The version of the source that a site is to run; -1 where it has no EdgeModel."""
        model = self.model(site)
        return int(model["spec"]["source"]["sha256"][0]) if model else -1

    def proven(self, site: str) -> str:
        """The image that a site serves everywhere."""
        (variant,) = self.model(site)["status"]["variants"]
        return str(variant["image"])

    async def build(self) -> None:
        """Be the builder: finish the build that the first site asks for."""
        server = self.clusters[LAB]
        running = wait_for("a build Job", lambda: list(filter(_runs, server.items("jobs", self.namespace))))
        (job,) = running
        key = job["metadata"]["labels"][BUILD_KEY_LABEL]
        await self.hub.fill_model(key)
        finish_build(server, job, self.hub.model)


def _runs(job: Object) -> bool:
    return not any(one["type"] in {"Complete", "Failed"} for one in job.get("status", {}).get("conditions") or [])


def _application_set(file: str, sites: Sites) -> Object:
    """An ApplicationSet of the example with this test's repository, without the chart: the operators run already."""
    found: Object = yaml.safe_load((ROOT / "examples/gitops/argocd" / file).read_text())
    template = found["spec"]["template"]["spec"]
    template["sources"] = [
        {**source, "repoURL": sites.git.url} for source in template["sources"] if source["path"] != "charts/edgesmith"
    ]
    template["destination"]["namespace"] = sites.namespace
    # So that nothing of the test's waits for Argo CD to end.
    found["spec"]["syncPolicy"] = {"preserveResourcesOnDeletion": True}
    return found


@pytest.fixture(scope="module")
def argo(server: ApiServer, second_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoCD]:
    """Argo CD, which knows two clusters and looks at git when it is told to."""
    settings = yaml.safe_load((ROOT / "deploy/argocd/argocd-cm.yaml").read_text())["data"]
    with argo_cd(server, settings, tmp_path_factory.mktemp("argocd"), resync=3600, sets=True) as argo:
        argo.register("lab", server, {"ring": "lab"})
        argo.register("pilot", second_server, {"ring": "pilot"})
        yield argo
    take_away(server)


@pytest_asyncio.fixture
async def hub(images: str, namespace: str) -> Hub:
    """The registry of both sites with a runtime: where nothing is built, an image must be over one that is known."""
    hub = Hub(images, namespace=namespace, two=False)
    await hub.fill_runtime()
    return hub


@pytest.fixture
def sites(  # noqa: PLR0917 - fixtures
    argo: ArgoCD,
    second_server: ApiServer,
    namespace: str,
    hub: Hub,
    kubelets: Kubelets,
    operator: Operator,
    tmp_path: Path,
) -> Iterator[Sites]:
    """Two sites without a model, each with an operator and a node; Argo CD has no ApplicationSet yet."""
    device = f"{namespace}-device"
    git = Git(tmp_path / "fleet")
    git.write("profiles/device.yaml", device_profile(device))
    kubelets.add(f"{namespace}-1", device)
    operator.settings = {"EDGESMITH_RUNTIME_IMAGES": json.dumps({"onnxruntime": hub.runtime})}
    operator.start()
    second_server.create("namespaces", {"metadata": {"name": namespace}})
    second = Operator(second_server, namespace, hub.address, tmp_path / "second.log", namespaces=namespace)
    second.settings = {**operator.settings, "EDGESMITH_BUILDER_ENABLED": "false", "EDGESMITH_BUILDER_IMAGE": ""}
    with Kubelets(second_server) as others:
        others.add(f"{namespace}-2", device)
        second.start()
        try:
            yield Sites(argo, git, namespace, {LAB: argo.server, PILOT: second_server}, kubelets, hub)
            _forget(argo)
        finally:
            second.end(signal.SIGKILL)
        others.remove(f"{namespace}-2")


def _forget(argo: ArgoCD) -> None:
    """Delete the ApplicationSet and its Applications; what they synced stays, since none has a finalizer."""
    argo.server.delete("applicationsets", "edgesmith", "argocd")
    for site in (LAB, PILOT):
        argo.server.delete("applications", site, "argocd")
    wait_for("the Applications are gone", lambda: not any(map(argo.get, (LAB, PILOT))))


@pytest.mark.timeout(300)
async def test_the_next_ring_follows_a_ring_that_serves_and_none_that_failed(sites: Sites) -> None:
    argo = sites.argo
    sites.write(0, EVERYWHERE)
    sites.git.commit("parts 0")
    sites.argo.server.apply(_application_set("sites-rolling-sync.yaml", sites))
    argo.wait(LAB, "Synced", "Progressing")
    found = {site: argo.get(site)["spec"]["destination"]["server"] for site in (LAB, PILOT)}
    assert found == {site: cluster.address for site, cluster in sites.clusters.items()}
    assert len(set(found.values())) == 2
    assert not sites.model(PILOT), "the second site went ahead of the first"
    await sites.build()
    argo.wait(LAB, "Synced", "Healthy")
    argo.wait(PILOT, "Synced", "Healthy")
    good = sites.proven(LAB)
    assert sites.proven(PILOT) == good, "the second site serves another build"
    # A sync that the ApplicationSet starts takes the newest commit: none may be left to start.
    wait_for("both sites have ended their step", lambda: set(sites.steps().values()) == {"Healthy"}, 60)

    # The canary of the next version fails its self-test, at the first site.
    sites.first.verdicts[sites.namespace] = lambda *_: BAD
    bad = sites.publish(1)
    argo.wait(LAB, "Synced", "Progressing")
    sites.show_second(bad)
    await sites.build()
    argo.wait(LAB, "Synced", "Degraded")
    health = argo.resource(LAB, "EdgeModel", "parts")["health"]["message"]
    assert "rolled back" in health, health
    steps = sites.steps()
    # Argo CD may not have looked at the first site yet since it was synced.
    assert steps.keys() == {LAB, PILOT}
    assert (steps[LAB] in {"Pending", "Progressing"}, steps[PILOT]) == (True, "Waiting"), steps
    assert (sites.version(PILOT), sites.proven(PILOT)) == (0, good)

    del sites.first.verdicts[sites.namespace]
    mended = sites.publish(2)
    argo.wait(LAB, "Synced", "Progressing")
    sites.show_second(mended)
    await sites.build()
    argo.wait(LAB, "Synced", "Healthy")
    argo.wait(PILOT, "Synced", "Healthy", commit=mended)
    assert sites.version(PILOT) == 2
    assert sites.model(PILOT)["metadata"]["generation"] == 2, "the second site was given what failed at the first"
    assert sites.proven(PILOT) == sites.proven(LAB) != good


@pytest.mark.timeout(300)
async def test_what_the_first_ring_has_proven_goes_to_the_next_one_by_a_commit(sites: Sites) -> None:
    argo, rings = sites.argo, sites.git.folder / "rings"
    sites.write(0, OF_LAB)
    (rings / "pilot").mkdir()
    (rings / "pilot/.gitkeep").touch()
    sites.git.commit("parts 0 in the lab")
    argo.server.apply(_application_set("sites.yaml", sites))
    await sites.build()
    for site in (LAB, PILOT):
        argo.wait(site, "Synced", "Healthy")
    assert (sites.version(LAB), sites.version(PILOT)) == (0, -1)

    _promote(sites, rings)
    assert sites.proven(PILOT) == sites.proven(LAB)
    own: Any = sites.git.read(OF_PILOT)
    own["spec"]["rollout"]["maxUnavailable"] = 3
    sites.git.write(OF_PILOT, own)
    sites.write(1, OF_LAB)
    ahead = sites.git.commit("parts 1 in the lab")
    argo.show(LAB, ahead)
    await sites.build()
    argo.wait(LAB, "Synced", "Healthy", commit=ahead)
    argo.wait(PILOT, "Synced", "Healthy", commit=ahead)
    assert (sites.version(LAB), sites.version(PILOT)) == (1, 0)

    _promote(sites, rings)
    assert sites.version(PILOT) == 1
    assert sites.model(PILOT)["spec"]["rollout"]["maxUnavailable"] == 3, "a ring keeps how it rolls out"


def _promote(sites: Sites, rings: Path) -> None:
    """Give what the first ring runs to the next one by a commit, and wait until that serves it."""
    done = edgesmith(sites.argo.server, "promote", "--ring", "lab", "--to", "pilot", "--directory", str(rings))
    assert done.returncode == 0, done.stderr
    commit = sites.git.commit("pilot: parts")
    sites.argo.wait(PILOT, "Synced", "Healthy", commit=commit)
