"""The operator's own chart in a git repository: Argo CD takes over what Helm installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from argocd_process import NAMESPACE as ARGOCD
from argocd_process import ArgoCD, Git

from edgesmith_stage.ground import Ground
from edgesmith_stage.install import NAMESPACE
from edgesmith_stage.kube import Object
from edgesmith_stage.shell import ROOT, run
from edgesmith_stage.waiting import until

APPLICATION = "edgesmith"
_VALUES = "charts/edgesmith/of-this-cluster.yaml"


class OperatorFromGit:
    """The chart and this cluster's values in a repository, and the Application that syncs them."""

    def __init__(self, ground: Ground, argo: ArgoCD, git: Git) -> None:
        self._ground, self._argo, self._git = ground, argo, git

    def pod(self) -> str:
        """The name of the operator's ready pod; empty while there is none."""
        pods = self._ground.kube.list("pods", NAMESPACE, labels={"app.kubernetes.io/name": "edgesmith"})
        return next((one["metadata"]["name"] for one in pods if _ready(one)), "")

    def commit(self, **operator: Any) -> str:
        """Commit other values below `operator`; the commit."""
        values: Any = self._git.read(_VALUES)
        values["operator"] = {**values.get("operator", {}), **operator}
        self._git.write(_VALUES, values)
        return self._git.commit(f"the operator with {operator}")

    def wait(self, commit: str) -> None:
        """Wait until Argo CD says that this commit runs."""
        self._argo.wait(APPLICATION, "Synced", "Healthy", commit=commit, seconds=180)

    def heals(self) -> None:
        """Take the operator away by hand and wait until it runs again, as git says."""
        before = self.pod()
        self._ground.kube("scale", "deployment", "edgesmith", "-n", NAMESPACE, "--replicas=0")
        until(lambda: self.pod() not in {"", before}, seconds=90, what="Argo CD to bring the operator back")


@contextmanager
def operator_from_git(ground: Ground, argo: ArgoCD, folder: Path) -> Iterator[OperatorFromGit]:
    """Let Argo CD bring the operator while the block runs; then the release is Helm's again, as it was.

    Args:
        ground: The cluster, with the chart installed by Helm.
        argo: Argo CD on it.
        folder: Where the repository goes; it is made.
    """
    helm: list[str | Path] = [ground.helm, "--kubeconfig", ground.kube.kubeconfig, "--namespace", NAMESPACE]
    values: Any = yaml.safe_load(run([*helm, "get", "values", "edgesmith", "--output", "yaml"]))
    git = Git(folder)
    shutil.copytree(ROOT / "charts", folder / "charts")
    # Argo CD brings the CRDs itself.
    git.write(_VALUES, {**values, "crds": {"upgrade": False}})
    commit = git.commit("the operator as Helm installed it")
    argo.server.apply(_application(git))
    found = OperatorFromGit(ground, argo, git)
    try:
        found.wait(commit)
        yield found
    finally:
        ground.kube("delete", "applications.argoproj.io", APPLICATION, "-n", ARGOCD, "--ignore-not-found")
        # Fields that Argo CD applied are its own until somebody takes them.
        words: list[str | Path] = ["upgrade", "edgesmith", ROOT / "charts/edgesmith", "--reuse-values"]
        words += ["--force-conflicts", "--wait", "--timeout", "3m"]
        run([*helm, *words], timeout=240)


def _application(git: Git) -> Object:
    """The example's Application with the operator's source alone, of this repository."""
    found: Object = yaml.safe_load((ROOT / "examples/gitops/argocd/application.yaml").read_text())
    (source,) = (one for one in found["spec"]["sources"] if one.get("path") == "charts/edgesmith")
    helm = {**source["helm"], "valueFiles": [Path(_VALUES).name]}
    found["spec"]["sources"] = [{**source, "repoURL": git.url, "targetRevision": "main", "helm": helm}]
    return found


def _ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
