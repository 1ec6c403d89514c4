"""A site's cluster beside the hub's: the hub builds and the site serves, over an uplink or from a file."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_class import device_class
from faults import node_images, operators

from edgesmith_cluster import network
from edgesmith_stage import surface
from edgesmith_stage.errors import StageError
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground, attach, cluster
from edgesmith_stage.install import install_chart
from edgesmith_stage.kube import Object
from edgesmith_stage.load import Load
from edgesmith_stage.predict import predict
from edgesmith_stage.shell import ROOT, run
from edgesmith_stage.waiting import until

pytestmark = [pytest.mark.timeout(900), pytest.mark.long]

SITE = "site"
NAME = "parts"
PROFILE = "site-box"
LABEL = "edgesmith-test/site-box"
NODE = "hub"
"""The site's one node: its control plane, its operator and its models are on it."""
ANSWERS_AGAIN = 60.0
"""Seconds from the return of power to the first answer."""
MEGABYTES = 90
"""What an operator at a site may cost."""


def say(line: str) -> None:
    """Tell what was measured; `pytest -s` shows it."""
    sys.stdout.write(f"{line}\n")


@contextmanager
def phase(title: str) -> Iterator[None]:
    """Say how long a part of the test took."""
    began = time.monotonic()
    yield
    say(f"{title}: {time.monotonic() - began:.1f} s")


@pytest.fixture
def site(ground: Ground, images: dict[str, str]) -> Iterator[Ground]:
    """A second cluster of one node, whose uplink leads to the hub's; it takes every image from its own registry."""
    with _cluster_of_one("--uplink", ground.name) as found:
        mirrored = {name: image.replace(ground.registry, found.registry) for name, image in images.items()}
        with phase("the chart is installed at the site"):
            install_chart(found, mirrored, "builder.enabled=false")
        yield found


@pytest.fixture
def lonely() -> Iterator[Ground]:
    """A second cluster of one node that no line joins to the hub's, with an empty registry and nothing installed."""
    with _cluster_of_one() as found:
        yield found


@contextmanager
def _cluster_of_one(*words: str) -> Iterator[Ground]:
    try:
        with phase("the site's cluster starts"):
            cluster("up", "--name", SITE, "--edges", "0", "--label", f"{NODE}={LABEL}=yes", *words)
        yield replace(attach(SITE), node_grace=0)
    finally:
        with phase("the site's cluster goes"):
            cluster("down", "--name", SITE)


def test_a_site_answers_through_a_cut_of_uplink_and_power(fleet: Fleet, site: Ground, tmp_path: Path) -> None:
    there = Fleet(site, fleet.namespace)
    site.kube("create", "namespace", fleet.namespace)
    manifest = _manifest(fleet)
    for each in (fleet, there):
        each.ground.kube.apply(device_class(PROFILE, {LABEL: "yes"}, toolchain=_FP32))

    there.apply(manifest)
    with phase("the site says which build it waits for"):
        waiting = until(lambda: _waiting(there), seconds=60, what="WaitingForBuild at the site")
    with phase("the hub builds"):
        fleet.apply(manifest)
        fleet.wait(NAME, "Ready", reason="BuiltForSites", seconds=240)
    (job,) = fleet.ground.kube.list("jobs", fleet.namespace)
    key = job["metadata"]["labels"]["edgesmith.dev/build-key"]
    assert f"{site.registry}/models/{fleet.namespace}/models:{key} is not there" in waiting["message"]
    assert not fleet.servers(NAME), "the hub has no node of that profile"
    with phase("the site serves what the hub built"):
        there.wait_settled(NAME)
    image = there.servers(NAME)[NODE].image
    assert image.startswith(f"{site.registry}/")
    assert not site.kube.list("jobs", fleet.namespace)
    assert _memory() < MEGABYTES
    _answers_as(there, "model.onnx")

    with Load(there, NAME, [NODE], tmp_path / "load") as load:
        until(lambda: load.answers()[NODE].asked > 5, seconds=60, what="answers at the site")
        until(lambda: _reached(fleet.ground), seconds=60, what="the hub over the uplink")
        cluster("cut", "uplink", "--name", SITE)
        assert not _reached(fleet.ground)
        with phase("all of the site goes off"):
            cluster("off", "--name", SITE)
        off = time.time()
        manifest["spec"]["source"] = fleet.publish("2", "model-v2.onnx")
        fleet.apply(manifest)  # at the hub, which builds it while the site is away
        assert load.first_after(NODE, off) is None, "the site answers without power"
        on = time.time()
        with phase("all of the site is on"):
            cluster("on", "--name", SITE)
        seconds = until(lambda: load.first_after(NODE, on), seconds=ANSWERS_AGAIN, what="an answer at the site")
        say(f"the model answers again {seconds:.1f} s after power came back, without the uplink")
        say(f"the site's mirror {'answers' if _reached(site) else 'does not start'} while the hub is away")
        assert not _reached(fleet.ground)
    assert seconds < ANSWERS_AGAIN
    assert there.servers(NAME)[NODE].image == image
    _answers_as(there, "model.onnx")

    cluster("heal", "uplink", "--name", SITE)
    with phase("a new revision arrives over the uplink"):
        there.apply(manifest)
        until(lambda: _serves_another(there, image), seconds=120, what="the new model", detail=lambda: _say(there))
    _answers_as(there, "model-v2.onnx")


def test_a_site_that_only_a_file_reaches_runs_all_that_is_in_it(
    fleet: Fleet, lonely: Ground, images: dict[str, str], tmp_path: Path
) -> None:
    archive, manifests, folder = tmp_path / "parts.tar", tmp_path / "parts.yaml", tmp_path / "images"
    folder.mkdir()
    target = ["--registry", lonely.registry, "--plain-http"]
    fleet.ground.kube.apply(device_class(PROFILE, {LABEL: "yes"}, toolchain=_FP32))
    fleet.apply(_manifest(fleet))
    with phase("the hub builds"):
        fleet.wait(NAME, "Ready", reason="BuiltForSites", seconds=240)
    with phase("the hub exports"):
        _archive(
            fleet.ground, "export", NAME, "-n", fleet.namespace, "-f", archive, "--chart", ROOT / "charts/edgesmith"
        )

    assert not _reached(fleet.ground)
    assert _reached(lonely), "its own registry"
    with phase("the site imports, into its registry and onto its node"):
        sent = json.loads(_archive(lonely, "import", archive, *target, "--manifests", manifests, "-o", "json"))
        _archive(lonely, "import", archive, *target, "--images-folder", folder)
        (pinned,) = folder.iterdir()
        run([*node_images(lonely, NODE), "import", pinned], timeout=120)
    found = {name: image.replace(fleet.ground.registry, lonely.registry) for name, image in images.items()}
    assert found["operator"] in sent["images"]
    (chart,) = (image for image, role in sent["images"].items() if role == "chart")
    with phase("the chart out of the file is installed"):
        install_chart(lonely, found, "builder.enabled=false", chart=f"oci://{chart.partition('@')[0]}")
    lonely.kube("create", "namespace", fleet.namespace)
    lonely.kube("apply", "-f", str(manifests))
    there = Fleet(lonely, fleet.namespace)
    with phase("the site serves what was in the file"):
        there.wait_settled(NAME)
    _answers_as(there, "model.onnx")
    assert not lonely.kube.list("jobs", fleet.namespace)
    assert _pulled(there) == [], "what K3s would import is not what the pods ask for"


def _archive(ground: Ground, *words: str | Path) -> str:
    """Run `edgesmith archive` as somebody who is logged in to a cluster."""
    command = ["env", f"KUBECONFIG={ground.kube.kubeconfig}", sys.executable, "-m", "edgesmith.cli", "archive"]
    return run([*command, *words], timeout=120)


def _pulled(fleet: Fleet) -> list[str]:
    """What kubelets said of images that they had to fetch for the models' pods."""
    events = fleet.ground.kube.list("events", fleet.namespace)
    assert any(one["reason"] == "Pulled" and "already present" in one["message"] for one in events)
    return [one["message"] for one in events if one["reason"] == "Pulling"]


_FP32 = {"name": "ONNXRuntime", "precisions": ["fp32"]}


def _manifest(fleet: Fleet) -> Object:
    """The same EdgeModel for both: the hub, which has no node of the profile, builds it because `builds` says so."""
    builds = {"profiles": [PROFILE]}
    return fleet.manifest(NAME, fleet.publish("1"), deviceProfiles={"names": [PROFILE]}, builds=builds)


def _waiting(fleet: Fleet) -> Object | None:
    found = fleet.condition(NAME, "BuildsReady")
    return found if found and found["reason"] == "WaitingForBuild" else None


def _serves_another(fleet: Fleet, image: str) -> bool:
    server = fleet.servers(NAME).get(NODE)
    return bool(server and server.ready and server.image != image)


def _answers_as(fleet: Fleet, file: str) -> None:
    """The site's server answers what the source answers."""
    inputs, _ = surface.samples(8)
    server = fleet.servers(NAME)[NODE]
    answer: Any = predict(
        fleet.ground.kube, server, model=NAME, inputs=inputs, protocol="http", namespace=fleet.namespace
    )
    np.testing.assert_allclose(answer, surface.reference(inputs, file), atol=1e-4)


def _reached(ground: Ground) -> bool:
    """Whether the site's node reaches the registry of a cluster."""
    host, _, port = ground.registry.partition(":")
    try:
        run(["nsenter", f"--net={network.entry(SITE, NODE)}", "timeout", "2", "bash", "-c", f"</dev/tcp/{host}/{port}"])
    except StageError:
        return False
    return True


def _memory() -> float:
    """Resident memory of the site's operator, MB."""
    (pid,) = operators(SITE)
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    megabytes = int(found[1]) * 1024 / 1e6
    say(f"the operator at the site: {megabytes:.0f} MB resident")
    return megabytes


def _say(fleet: Fleet) -> str:
    return str(fleet.model(NAME).get("status"))
