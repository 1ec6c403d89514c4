"""The hub builds and a site serves: two registries that no line joins, and a file between them."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from apiserver import OPERATOR, ApiServer, Object, wait_for
from archives import Hub
from build_outcomes import finish_build
from chart_rendering import render
from kubelets import Kubelets
from operator_process import Operator, device_profile, edge_model, registry, wait_condition
from ports import free_ports
from test_cli import edgesmith

from edgesmith.api.names import BUILD_KEY_LABEL

NAMESPACE = "edgesmith-system"
MEGABYTES = 90
"""What an operator at a site may cost, at its highest."""
EDGE_MODELS = 20


@pytest.fixture
def site_images(server: ApiServer, tmp_path: Path) -> Iterator[str]:
    """The site's own registry."""
    (tmp_path / "site").mkdir()
    with registry(server.programs, tmp_path / "site") as address:
        yield address


@pytest.fixture
def rights(server: ApiServer) -> list[Object]:
    """The rights of an operator at a site and no more, whatever another test has granted."""
    server.kubectl("delete", "clusterrolebinding,clusterrole", "edgesmith", "--ignore-not-found")
    if server.get("namespaces", NAMESPACE) is None:
        server.kubectl("create", "namespace", NAMESPACE)
    objects = [one for one in render({"builder": {"enabled": False}}) if one["apiVersion"].startswith("rbac.")]
    found = [one for one in objects if "helm.sh/hook" not in one["metadata"].get("annotations", {})]
    server.apply(found)
    return found


def runtime_at(address: str, runtime: str) -> str:
    """The setting that names a runtime image by the name that a registry has it under."""
    return json.dumps({"onnxruntime": f"{address}/{runtime.partition('/')[2]}"})


def memory(operator: Operator) -> float:
    """Resident memory of the operator's process at its highest, MB."""
    assert operator.process is not None
    status = Path(f"/proc/{operator.process.pid}/status").read_text()
    found = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) * 1024 / 1e6
    sys.stdout.write(f"the operator at the site, {EDGE_MODELS} EdgeModels: {found:.0f} MB at its highest\n")
    return found


def serve_more(server: ApiServer, namespace: str, profile: str) -> None:
    """Give the site more EdgeModels, twenty with its first, and wait until each serves."""
    names = [f"parts-{number}" for number in range(2, EDGE_MODELS + 1)]
    server.apply([edge_model(name, namespace, builds={"profiles": [profile]}) for name in names])
    for name in names:
        wait_condition(server, namespace, name, "Ready", "Succeeded", seconds=90)


async def build(server: ApiServer, namespace: str, hub: Hub) -> str:
    """Play the builder of the hub's one Job; the key."""
    (job,) = server.items("jobs", namespace)
    key: str = job["metadata"]["labels"][BUILD_KEY_LABEL]
    await hub.fill_model(key)
    await asyncio.to_thread(finish_build, server, job, hub.model)
    return key


async def test_the_hub_builds_and_a_site_that_only_a_file_reaches_serves(  # noqa: PLR0917 - fixtures
    server: ApiServer,
    namespace: str,
    operator: Operator,
    kubelets: Kubelets,
    site_images: str,
    rights: list[Object],
    tmp_path: Path,
) -> None:
    assert not any("jobs" in rule["resources"] for role in rights for rule in role.get("rules", ()))
    hub = Hub(operator.registry, namespace=namespace, two=False)
    await hub.fill_runtime()
    profile, archive = f"{namespace}-device", tmp_path / "models.tar"
    operator.namespaces = namespace
    operator.settings = {"EDGESMITH_RUNTIME_IMAGES": runtime_at(operator.registry, hub.runtime)}
    server.apply([device_profile(profile), edge_model("parts", namespace, builds={"profiles": [profile]})])
    operator.start()
    await asyncio.to_thread(wait_for, "the hub's Job", lambda: server.items("jobs", namespace))
    key = await build(server, namespace, hub)
    await asyncio.to_thread(wait_condition, server, namespace, "parts", "Ready", "BuiltForSites")
    data = {
        "EDGESMITH_RUNTIME_IMAGES": operator.settings["EDGESMITH_RUNTIME_IMAGES"],
        "EDGESMITH_BUILDER_IMAGE": hub.runtime,
        "EDGESMITH_REPOSITORY": f"{operator.registry}/models",
        "EDGESMITH_PLAIN_HTTP": "true",
        "EDGESMITH_OPERATOR_IMAGE": hub.runtime,
    }
    server.create("configmaps", {"metadata": {"name": "edgesmith-settings", "namespace": namespace}, "data": data})
    words = ["archive", "export", "parts", "-n", namespace, "-f", str(archive), "--operator-namespace", namespace]
    exported = await asyncio.to_thread(edgesmith, server, *words)
    assert exported.returncode == 0, exported.stderr
    assert f"model     models/{namespace}/models:{key}@" in exported.stdout
    assert operator.end() == 0
    server.delete("edgemodels", "parts", namespace)
    await asyncio.to_thread(wait_for, "no Jobs", lambda: not server.items("jobs", namespace))

    site = Operator(server, NAMESPACE, site_images, tmp_path / "site.log", token=OPERATOR, flags=())
    site.settings = {
        "EDGESMITH_RUNTIME_IMAGES": runtime_at(site_images, hub.runtime),
        "EDGESMITH_BUILDER_ENABLED": "false",
        "EDGESMITH_BUILDER_IMAGE": "",
    }
    kubelets.add(f"{namespace}-1", profile)
    manifests, target = tmp_path / "manifests.yaml", ["--registry", site_images, "--plain-http"]
    try:
        await asyncio.to_thread(site.start)
        server.apply([edge_model("parts", namespace, builds={"profiles": [profile]})])
        waiting = await asyncio.to_thread(wait_condition, server, namespace, "parts", "BuildsReady", "WaitingForBuild")
        assert f"{site_images}/models/{namespace}/models:{key} is not there" in waiting["message"]
        imported = await asyncio.to_thread(
            edgesmith, server, "archive", "import", str(archive), *target, "--manifests", str(manifests)
        )
        assert imported.returncode == 0, imported.stderr
        assert "sent; " in imported.stdout
        await asyncio.to_thread(wait_condition, server, namespace, "parts", "Ready", "Succeeded", seconds=60)
        (daemon_set,) = server.items("daemonsets", namespace)
        image = daemon_set["spec"]["template"]["spec"]["containers"][0]["image"]
        assert image == f"{site_images}/models/{namespace}/models@{hub.model.partition('@')[2]}"
        assert server.items("jobs", namespace) == []
        await asyncio.to_thread(serve_more, server, namespace, profile)
        assert memory(site) < MEGABYTES
        assert site.end() == 0
    finally:
        if site.process is not None:
            site.end(signal.SIGKILL)
    assert "forbidden" not in site.log.read_text().lower()
    objects = [one for one in yaml.safe_load_all(manifests.read_text()) if one]
    assert [(one["kind"], one["metadata"]["name"]) for one in objects] == [
        ("DeviceProfile", profile),
        ("EdgeModel", "parts"),
    ]
    assert all("status" not in one and "uid" not in one["metadata"] for one in objects)
    again = await asyncio.to_thread(edgesmith, server, "archive", "import", str(archive), *target, "-o", "json")
    assert json.loads(again.stdout)["uploaded"] == 0


def test_an_export_says_which_build_is_missing(server: ApiServer, namespace: str, tmp_path: Path) -> None:
    data = {
        "EDGESMITH_RUNTIME_IMAGES": runtime_at("127.0.0.1:9", f"x/runtime@sha256:{'a' * 64}"),
        "EDGESMITH_BUILDER_ENABLED": "false",
        "EDGESMITH_REPOSITORY": "127.0.0.1:9/models",
    }
    server.create("configmaps", {"metadata": {"name": "edgesmith-settings", "namespace": namespace}, "data": data})
    words = ["archive", "export", "-n", namespace, "-f", str(tmp_path / "a.tar"), "--operator-namespace", namespace]
    done = edgesmith(server, *words)
    assert (done.returncode, done.stderr) == (1, f"edgesmith: there is no EdgeModel in namespace '{namespace}'\n")
    server.apply([device_profile(f"{namespace}-device"), edge_model("parts", namespace)])
    done = edgesmith(server, *words)
    assert f"EdgeModel {namespace}/parts has no build yet" in done.stderr
    done = edgesmith(server, *words, "other")
    assert "there is no EdgeModel 'other' in namespace" in done.stderr
    assert list(tmp_path.glob("a.tar*")) == []


def test_an_import_into_a_registry_that_is_away_is_one_sentence(server: ApiServer, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (tmp_path / "a.tar").write_bytes(b"no archive")
    target = ["--registry", f"127.0.0.1:{port}", "--plain-http"]
    done = edgesmith(server, "archive", "import", str(tmp_path / "a.tar"), *target)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "no tar header at byte 0" in done.stderr
