"""A real cluster for the tests: a hub, up to five edge nodes, a registry, MinIO, and the chart installed by Helm."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from authority import Authority
from lending import Borrower, Shelf, repository_of
from namespaces import keep_evidence, namespace_of
from needs import lacking, left_out

from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground, cluster, local
from edgesmith_stage.install import install_chart, push_images

TIER = os.environ.get("EDGESMITH_TIER", "")
"""The part of the tier that runs, where `make test` runs several at once: `beside`, `three`, or all the others."""
NAME = f"test-{TIER}" if TIER else "test"
EDGES = {"beside": (), "three": surface.DEVICES}.get(TIER, (*surface.DEVICES, "spare", "spare"))
DISKS = {} if TIER else {"edge-5": 4096}
"""Nodes with a disk of their own, in MiB: `test_full_disk.py` fills it."""


@pytest.fixture(scope="session")
def bare_ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The cluster with nothing on it."""
    if os.environ.get("EDGESMITH_SKIP_CLUSTER") == "1":
        left_out("the cluster tier, by EDGESMITH_SKIP_CLUSTER=1")
    if os.geteuid() != 0:
        lacking("the cluster tier makes network namespaces, which needs root: run it as root")
    try:
        authority = Authority.make(tmp_path_factory.mktemp("authority"))
        # Each step of each rollout would take as much longer. Where a test lets a node die, the bake is long enough.
        yield replace(local(NAME, EDGES, DISKS), node_grace=0, authority=authority.file)
    finally:
        cluster("down", "--name", NAME)


@pytest.fixture(scope="session")
def images(bare_ground: Ground) -> dict[str, str]:
    """The programs' images in the cluster's registry."""
    simulator = {} if TIER else push_images(bare_ground, "builder-qnn")
    simulator |= {} if TIER else push_images(bare_ground, "runtime-qnn", platform="linux/amd64")
    return push_images(bare_ground) | simulator


@pytest.fixture(scope="session")
def ground(bare_ground: Ground, images: dict[str, str]) -> Ground:
    """The cluster with Edgesmith on it."""
    install_chart(bare_ground, images)
    bare_ground.kube.apply_file(surface.FOLDER / "profiles.yaml")
    return bare_ground


@pytest.fixture(scope="session")
def shelf(ground: Ground) -> Shelf:
    """Builds that are lent."""
    return Shelf(ground.registry)


@pytest.fixture
def fleet(ground: Ground, shelf: Shelf, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """A namespace of its own for one test; logs are kept where the test fails.

    A test with the mark `lent` is not about building: the first of them builds the example's models for all.
    """
    lent = request.node.get_closest_marker("lent") is not None
    with namespace_of(ground, request.node.name.split("[")[0], Borrower if lent else Fleet) as fleet:
        if lent:
            shelf.lend(repository_of(fleet.namespace))
        yield fleet
        if lent:
            shelf.keep(repository_of(fleet.namespace))
        keep_evidence(request, fleet)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let fixtures see whether their test failed."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # pluggy types a wrapper's yield as None
    if report.when == "call":
        item.report = report  # type: ignore[attr-defined]  # pytest's own recipe for this
