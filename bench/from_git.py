"""From a commit in git to the last node: a real Argo CD on the cluster, with all nodes there and with one in three off.

Nothing waits for a poll: after the commit Argo CD is asked to look, as a git server's webhook does.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from row import Row

from edgesmith_stage.fleet import Fleet
from edgesmith_stage.kube import Object
from edgesmith_stage.waiting import until

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "tests" / name) for name in ("api", "services")]

from argocd_process import Git, argo_cd  # noqa: E402 - found by the line above
from local_apiserver import local_apiserver  # noqa: E402

NAME, APPLICATION = "from-git", "fleet"


def rows(fleet: Fleet, first: Object, sources: tuple[Object, Object], bare_updates: Sequence[float]) -> list[Row]:
    """Measure commits of an EdgeModel whose builds are there.

    Args:
        fleet: Where the EdgeModel goes.
        first: The EdgeModel with the first source.
        sources: The sources that commits change between; both are built.
        bare_updates: Seconds of a bare DaemonSet's rolling updates over the same nodes.
    """
    kube = fleet.ground.kube
    settings = yaml.safe_load((ROOT / "deploy/argocd/argocd-cm.yaml").read_text())["data"]
    with tempfile.TemporaryDirectory(prefix="edgesmith-bench-") as name:
        folder = Path(name)
        (folder / "argocd").mkdir()
        server = local_apiserver(kube.kubeconfig, Path(kube.kubectl).parent, folder)
        with argo_cd(server, settings, folder / "argocd"):
            git = Git(folder / "fleet")
            site = _Site(fleet, git, first)
            site.commit(sources[0])
            fleet.ground.kube.apply(_application(git, fleet.namespace), namespace="argocd")
            site.wait(sources[0])
            took = [site.seconds(source) for source in (sources[1], sources[0], sources[1])]
            off = fleet.ground.edges[-1]
            fleet.off(off)
            try:
                until(lambda: fleet.not_ready() == {off}, seconds=90, what=f"{off} to be NotReady")
                without = site.seconds(sources[0])
            finally:
                fleet.on(off)
            until(lambda: not fleet.not_ready(), seconds=90, what="every node to be Ready")
            fleet.ground.kube("delete", "application", APPLICATION, "-n", "argocd", "--wait=false")
            fleet.ground.kube("delete", "edgemodel", NAME, "-n", fleet.namespace)
    bare, commit = sorted(bare_updates)[1], sorted(took)[1]
    against = "bare DaemonSet update, same images"
    return [
        Row("commit in git to last node, build cached", commit, "s", against, commit / bare),
        Row("the same with one node of three off", without, "s", "all nodes there", without / commit),
    ]


@dataclass(frozen=True)
class _Site:
    """A fleet whose EdgeModel is in git."""

    fleet: Fleet
    git: Git
    model: Object

    def commit(self, source: Object) -> None:
        """Commit the EdgeModel with a source."""
        document: dict[str, Any] = json.loads(json.dumps(self.model))
        document["spec"]["source"] = source
        self.git.write("models/model.yaml", document)
        self.git.commit("another model")

    def seconds(self, source: Object) -> float:
        """Seconds from a commit to the last node that is there."""
        start = time.monotonic()
        self.commit(source)
        self.wait(source)
        return time.monotonic() - start

    def wait(self, source: Object) -> None:
        """Wait until every node that is Ready serves a source, asking Argo CD to look until it has."""

        def settled() -> bool:
            live = self.fleet.model(NAME)
            if live.get("spec", {}).get("source", {}).get("sha256") != source["sha256"]:
                words = ("annotate", "application", APPLICATION, "-n", "argocd", "--overwrite")
                self.fleet.ground.kube(*words, "argocd.argoproj.io/refresh=normal")
                return False
            ready, busy = (self.fleet.condition(NAME, one) for one in ("Ready", "Reconciling"))
            return bool(ready and ready["status"] == "True" and not busy)

        until(settled, seconds=300, what=f"the commit to reach every node; {NAME}")


def _application(git: Git, namespace: str) -> Object:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": APPLICATION, "namespace": "argocd"},
        "spec": {
            "project": "default",
            "source": {"repoURL": git.url, "targetRevision": "main", "path": "models"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
            "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
        },
    }
