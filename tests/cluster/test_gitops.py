"""A real Argo CD on real nodes: a commit up to the last node's answer, an edit by hand, a node away, a removal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from argocd_process import NAMESPACE as ARGOCD
from argocd_process import ArgoCD, Git, argo_cd, take_away
from local_apiserver import local_apiserver
from operator_from_git import OperatorFromGit, operator_from_git

from edgesmith_stage import surface
from edgesmith_stage.errors import StageError
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.kube import Object
from edgesmith_stage.load import answer_on
from edgesmith_stage.shell import ROOT
from edgesmith_stage.waiting import until

pytestmark = [pytest.mark.timeout(900), pytest.mark.lent, pytest.mark.long]

APPLICATION, MODEL, PROFILE = "line", "parts-from-git", "from-git"
FILE = "models/parts.yaml"
CLASS = {"edgesmith-test/line": "from-git"}
"""The label of all edge nodes: one profile, and so one build, for all."""
FILES = ("model.onnx", "model-v2.onnx")
"""The two versions of the model."""
AWAY = surface.EDGES[-1]


@dataclass(frozen=True)
class Line:
    """An EdgeModel and its profile, both in git."""

    fleet: Fleet
    argo: ArgoCD
    git: Git

    def commit(self, file: str) -> str:
        """Commit the EdgeModel with a version of its model; the commit."""
        source = self.fleet.publish(file.partition(".")[0], file)
        manifest = self.fleet.manifest(MODEL, source, deviceProfiles={"names": [PROFILE]})
        manifest["metadata"]["annotations"] = {"argocd.argoproj.io/sync-wave": "2"}
        self.git.write(FILE, manifest)
        return self.git.commit(f"the model is {file}")

    def message(self) -> str:
        """What Argo CD says of the EdgeModel's health."""
        return str((self.argo.resource(APPLICATION, "EdgeModel", MODEL).get("health") or {}).get("message"))

    def serves(self, file: str, *nodes: str) -> None:
        """Hold that these nodes' servers are ready and that the Service answers each as a version of the model does.

        With Surge a node's old server answers with the new one until it has ended.
        """
        servers = self.fleet.servers(MODEL)
        assert [node for node in nodes if servers[node].ready] == [*nodes], servers
        inputs, _ = surface.samples(1)
        expected = surface.reference(inputs, file).ravel()
        others = [surface.reference(inputs, other).ravel() for other in FILES if other != file]
        assert not any(np.allclose(expected, other, atol=1e-4) for other in others), "the sample tells nothing"

        def answers_as_it_does(node: str) -> bool:
            return np.allclose(np.array(answer_on(self.fleet, MODEL, node), np.float32), expected, atol=1e-4)

        for node in nodes:
            until(partial(answers_as_it_does, node), seconds=60, what=f"{node} to answer as {file}")


def _profile() -> Object:
    """The example's profile of fp32, for the nodes of this test."""
    profile: Object = yaml.safe_load((surface.FOLDER / "profiles.yaml").read_text())
    profile["metadata"] = {"name": PROFILE, "annotations": {"argocd.argoproj.io/sync-wave": "1"}}
    profile["spec"]["nodeSelector"] = CLASS
    return profile


def _application(git: Git, namespace: str) -> Object:
    directory = {"recurse": True}
    source = {"repoURL": git.url, "targetRevision": "main", "path": ".", "directory": directory}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": APPLICATION, "namespace": ARGOCD},
        "spec": {
            "project": "default",
            "source": source,
            "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
            "syncPolicy": {"automated": {"prune": True, "selfHeal": True}, "syncOptions": ["ServerSideApply=true"]},
        },
    }


@pytest.fixture
def line(fleet: Fleet, tmp_path: Path) -> Iterator[Line]:
    """Argo CD on the cluster, and a repository with a profile for all its edge nodes; nothing is synced yet."""
    kube = fleet.ground.kube
    files = ("argocd-cm.yaml", "argocd-cm-pods.yaml")
    read = [yaml.safe_load((ROOT / "deploy/argocd" / file).read_text())["data"] for file in files]
    settings = {key: value for data in read for key, value in data.items()}
    (tmp_path / "argocd").mkdir()
    server = local_apiserver(kube.kubeconfig, Path(kube.kubectl).parent, tmp_path)
    ((key, value),) = CLASS.items()
    kube("label", "nodes", *surface.EDGES, f"{key}={value}", "--overwrite")
    try:
        with argo_cd(server, settings, tmp_path / "argocd", resync=60, api=True) as argo:
            git = Git(tmp_path / "line")
            git.write("profiles/line.yaml", _profile())
            yield Line(fleet, argo, git)
    finally:
        take_away(server)
        kube("delete", "deviceprofile", PROFILE, "--ignore-not-found")
        kube("label", "nodes", *surface.EDGES, f"{key}-")


def test_from_a_commit_to_the_last_node_and_with_one_away(line: Line, tmp_path: Path) -> None:
    argo, fleet = line.argo, line.fleet
    commit = line.commit("model.onnx")
    argo.server.apply(_application(line.git, fleet.namespace))
    argo.wait(APPLICATION, "Synced", "Healthy", commit=commit, seconds=300)
    assert line.message() == "Serving on 3 of 3 nodes."
    line.serves("model.onnx", *surface.EDGES)

    with operator_from_git(fleet.ground, argo, tmp_path / "operator") as operator:
        commit = line.commit("model-v2.onnx")
        argo.wait(APPLICATION, "Synced", "Progressing", commit=commit)
        _another_operator_goes_on_with_the_rollout(operator)
        argo.wait(APPLICATION, "Synced", "Healthy", commit=commit, seconds=300)
        line.serves("model-v2.onnx", *surface.EDGES)

    fleet.patch(MODEL, {"rollout": {"maxUnavailable": 3}})
    until(lambda: _as_in_git(line), seconds=60, what="the edit by hand to be undone")
    argo.wait(APPLICATION, "Synced", "Healthy")

    # A server that is to end on a node that is away is Progressing, so the old ones have ended before.
    until(lambda: len(fleet.pods(MODEL)) == len(surface.EDGES), seconds=90, what="the old servers to have ended")
    fleet.cut(AWAY)
    # What stays Healthy is told anew where Argo CD looks at the Application again by itself: two resyncs later at most.
    until(lambda: "1 NotReady" in line.message(), seconds=240, what="Argo CD to tell of the node", detail=line.message)
    assert argo.stands(APPLICATION) == ("Synced", "Healthy")
    _tree_is_healthy(line)
    commit = line.commit("model.onnx")
    argo.wait(APPLICATION, "Synced", "Healthy", commit=commit, seconds=180)
    assert "1 NotReady" in line.message(), line.message()
    line.serves("model.onnx", *surface.EDGES[:-1])
    _tree_is_healthy(line)

    fleet.heal(AWAY)
    until(lambda: _follows(line, "model.onnx"), seconds=120, what=f"{AWAY} to follow", detail=line.message)
    argo.wait(APPLICATION, "Synced", "Healthy")

    (line.git.folder / FILE).unlink()
    commit = line.git.commit("without the model")
    argo.wait(APPLICATION, "Synced", "Healthy", commit=commit)
    until(lambda: not fleet.model(MODEL), seconds=60, what="the EdgeModel to be gone")
    until(lambda: not fleet.pods(MODEL), seconds=90, what="its servers to be gone")


def _another_operator_goes_on_with_the_rollout(operator: OperatorFromGit) -> None:
    before = operator.pod()
    operator.wait(operator.commit(logLevel="debug"))
    assert operator.pod() not in {"", before}, "the commit made no other operator"
    operator.heals()


def _as_in_git(line: Line) -> bool:
    wanted: Any = line.git.read(FILE)["spec"]["rollout"]["maxUnavailable"]
    return bool(line.fleet.model(MODEL)["spec"]["rollout"]["maxUnavailable"] == wanted)


def _tree_is_healthy(line: Line) -> None:
    """Wait until all that Argo CD shows is Healthy, the server of the node that is away as well."""
    away = f"Pod/{line.fleet.servers(MODEL)[AWAY].pod}"

    def told() -> dict[str, Object]:
        tree = line.argo.tree(APPLICATION)
        return {f"{one['kind']}/{one['name']}": one["health"] for one in tree if "health" in one}

    def healthy() -> bool:
        health = told()
        known = health.get(away, {}).get("message") == "Ready when its node was last heard of."
        return known and {one["status"] for one in health.values()} == {"Healthy"}

    until(healthy, seconds=60, what="all of the tree to be Healthy", detail=lambda: str(told()))
    assert {one.partition("/")[0] for one in told()} >= {"EdgeModel", "DaemonSet", "Service", "Pod"}


def _follows(line: Line, file: str) -> bool:
    """Whether the node that was away answers as a version of the model does."""
    with suppress(StageError, AssertionError):
        line.serves(file, AWAY)
        return True
    return False
