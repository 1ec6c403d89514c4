"""One real cluster for the tier: a hub, three edge nodes, a registry, MinIO, and the chart installed by Helm."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest
from needs import lacking

from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground, cluster, local
from edgesmith_stage.install import NAMESPACE, install_chart, push_images
from edgesmith_stage.kube import Kube
from edgesmith_stage.shell import ROOT

ARTIFACTS = ROOT / "artifacts"


@pytest.fixture(scope="session")
def bare_ground() -> Iterator[Ground]:
    """The cluster with nothing on it."""
    if os.environ.get("EDGESMITH_SKIP_CLUSTER") == "1":
        pytest.skip("EDGESMITH_SKIP_CLUSTER=1 leaves out the cluster tier")
    if os.geteuid() != 0:
        lacking("the cluster tier makes network namespaces, which needs root: run it as root")
    try:
        yield local("test", surface.DEVICES)
    finally:
        cluster("down", "--name", "test")


@pytest.fixture(scope="session")
def images(bare_ground: Ground) -> dict[str, str]:
    """The programs' images in the cluster's registry."""
    return push_images(bare_ground)


@pytest.fixture(scope="session")
def ground(bare_ground: Ground, images: dict[str, str]) -> Ground:
    """The cluster with Edgesmith on it."""
    install_chart(bare_ground, images)
    bare_ground.kube.apply_file(surface.FOLDER / "profiles.yaml")
    return bare_ground


@pytest.fixture
def fleet(ground: Ground, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """A namespace of its own for one test, with the bucket's Secret in it; logs are kept where the test fails."""
    # The end is random: a namespace of the same test's last parameter may still be on its way out.
    name = request.node.name.split("[")[0].replace("_", "-").removeprefix("test-")[:32].strip("-")
    namespace = f"{name}-{secrets.token_hex(3)}"
    ground.kube("create", "namespace", namespace)
    fleet = Fleet(ground, namespace)
    ground.kube.apply(ground.bucket.secret(surface.SECRET), namespace=namespace)
    try:
        yield fleet
    finally:
        report = getattr(request.node, "report", None)
        if report is not None and report.failed:
            _keep_evidence(ground.kube, namespace)
        fleet.heal_everybody()
        ground.kube("delete", "namespace", namespace, "--wait=false")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let fixtures see whether their test failed."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # pluggy types a wrapper's yield as None
    if report.when == "call":
        item.report = report  # type: ignore[attr-defined]  # pytest's own recipe for this


def _keep_evidence(kube: Kube, namespace: str) -> None:
    """Save what a person would ask for first, under artifacts/."""
    folder = ARTIFACTS / namespace
    folder.mkdir(parents=True, exist_ok=True)
    kinds = "edgemodels,jobs,daemonsets,pods,events"
    (folder / "objects.yaml").write_text(kube("get", kinds, "-n", namespace, "-o", "yaml"))
    (folder / "nodes.yaml").write_text(kube("get", "nodes", "-o", "yaml"))
    (folder / "operator.log").write_text(kube("logs", "-n", NAMESPACE, "deploy/edgesmith", "--tail=2000"))
