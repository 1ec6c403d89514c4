"""Namespaces of tests, and what is kept of them when a test fails."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground
from edgesmith_stage.install import NAMESPACE
from edgesmith_stage.shell import ROOT

ARTIFACTS = ROOT / "artifacts"


@contextmanager
def namespace_of(ground: Ground, title: str, kind: type[Fleet] = Fleet) -> Iterator[Fleet]:
    """A namespace with the bucket's Secret in it; afterwards every node has its link and its power."""
    # The end is random: a namespace of the same test's last parameter may still be on its way out.
    namespace = f"{title.replace('_', '-').removeprefix('test-')[:32].strip('-')}-{secrets.token_hex(3)}"
    ground.kube("create", "namespace", namespace)
    fleet = kind(ground, namespace)
    ground.kube.apply(ground.bucket.secret(surface.SECRET), namespace=namespace)
    try:
        yield fleet
    finally:
        fleet.heal_everybody()
        ground.kube("delete", "namespace", namespace, "--wait=false")


def keep_evidence(request: pytest.FixtureRequest, fleet: Fleet) -> None:
    """Where the test failed, save what a person would ask for first, under artifacts/."""
    report = getattr(request.node, "report", None)
    if report is None or not report.failed:
        return
    folder, kube = ARTIFACTS / fleet.namespace, fleet.ground.kube
    folder.mkdir(parents=True, exist_ok=True)
    kinds = "edgemodels,jobs,daemonsets,pods,events"
    (folder / "objects.yaml").write_text(kube("get", kinds, "-n", fleet.namespace, "-o", "yaml"))
    (folder / "nodes.yaml").write_text(kube("get", "nodes", "-o", "yaml"))
    (folder / "operator.log").write_text(kube("logs", "-n", NAMESPACE, "deploy/edgesmith", "--tail=2000"))
