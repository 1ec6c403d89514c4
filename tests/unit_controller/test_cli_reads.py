"""A command reads of a large fleet what it shows, and no more."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import fake_api
import pytest
import yaml
from fake_api import FakeApi, fleet
from fleet_objects import NAMESPACE, pod

from edgesmith.api import go_yaml
from edgesmith.api.names import MANAGED_BY, MANAGED_BY_LABEL, MODEL_LABEL
from edgesmith.cli import main
from edgesmith.cli.plan import named
from edgesmith.cluster.client import Client
from edgesmith.cluster.configuration import CONFIG_MAP_NAME
from edgesmith.cluster.kinds import CONFIG_MAP, DEVICE_PROFILE, EDGE_MODEL, POD
from edgesmith.cluster.listing import load
from edgesmith.cluster.parse_build import JOB_NAME_LABEL

READ_OF_ONE = {"edgemodels", "deviceprofiles", "nodes", "daemonsets", "pods"}


@pytest.fixture
def api() -> FakeApi:
    """Two EdgeModels on the same nodes."""
    found = fleet(nodes=300, pods=300, models=2)
    for number in range(300):
        other: dict[str, Any] = pod(f"model-1-{number}", f"node-{number}")
        other["metadata"]["labels"] |= {MODEL_LABEL: "model-1"}
        found.put(POD, other)
    return found


async def run(api: FakeApi, folder: Path, *words: str) -> int:
    """A command, in a thread of its own beside the server."""
    async with fake_api.serving(api) as port:
        kubeconfig = folder / "kubeconfig"
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
        context = {"name": "x", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}
        document = {"clusters": [cluster], "users": [{"name": "u", "user": {}}], "contexts": [context]}
        kind = {"apiVersion": "v1", "kind": "Config", "current-context": "x"}
        kubeconfig.write_text(yaml.safe_dump(kind | document))
        return await asyncio.to_thread(main, [*words, "--kubeconfig", str(kubeconfig)])


def read(api: FakeApi) -> dict[str, int]:
    """The listings' pages by what was listed."""
    found: dict[str, int] = {}
    for (what, plural), count in api.requests.items():
        if what in {"list", "page"}:
            found[plural] = found.get(plural, 0) + count
    return found


@pytest.mark.parametrize(
    "words",
    [("status",), ("status", "-A"), ("history", "model-0"), ("report", "model-0"), ("pause", "model-0")],
    ids=" ".join,
)
async def test_what_the_edgemodels_say_themselves_needs_no_pods_and_no_nodes(
    api: FakeApi, tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert await run(api, tmp_path, *words) == 0
    assert read(api) == {"edgemodels": 1}


SETTINGS = {
    "EDGESMITH_RUNTIME_IMAGES": json.dumps({"onnxruntime": f"127.0.0.1:9/runtime@sha256:{'a' * 64}"}),
    "EDGESMITH_BUILDER_ENABLED": "false",
    "EDGESMITH_REPOSITORY": "127.0.0.1:9/models",
}


@pytest.mark.parametrize("words", ["status nobody", "status nobody --watch", "archive export nobody -f a.tar"])
@pytest.mark.parametrize("everywhere", [False, True])
async def test_who_is_not_there_is_said_with_where_was_looked(
    api: FakeApi,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    *,
    everywhere: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    assert await run(api, tmp_path, *words.split(), *(["-A"] if everywhere else [])) == 1
    place = "any namespace" if everywhere else f"namespace {NAMESPACE!r}"
    assert f"here is no EdgeModel 'nobody' in {place}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["12345678e1", "0123456789", "5d01d8e0a3"])
async def test_what_is_to_be_committed_is_text_to_kubectl_too(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    of = api.objects[EDGE_MODEL][NAMESPACE, "model-0"]
    variant = {"profile": "box", "state": "RollingOut", "revision": name}
    mark = {"name": name, "profile": "box", "steps": 1}
    api.put(EDGE_MODEL, of | {"status": {"observedGeneration": 1, "variants": [variant], "revisions": [mark]}})
    assert await run(api, tmp_path, "promote", "model-0", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert yaml.load(shown, go_yaml.Loader)["spec"]["rollout"] == {"promote": [{"revision": name, "steps": 2}]}  # noqa: S506


def works_in(api: FakeApi, names: str) -> None:
    """Install an operator that works in some namespaces."""
    metadata = {"name": CONFIG_MAP_NAME, "namespace": "edgesmith-system"}
    api.put(CONFIG_MAP, {"metadata": metadata, "data": SETTINGS | ({"EDGESMITH_NAMESPACES": names} if names else {})})


@pytest.mark.parametrize("names", ["", NAMESPACE, f"other,{NAMESPACE}", "other"])
async def test_a_status_says_where_the_operator_takes_no_notice(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: str
) -> None:
    works_in(api, names)
    said = f"The operator takes no notice of {NAMESPACE}: it works in edgesmith-system, other "
    for words in ("status", "status -A", "status model-0"):
        assert await run(api, tmp_path, *words.split()) == 0
        assert (said in capsys.readouterr().out) == (names == "other")
    assert await run(api, tmp_path, "status", "-o", "json") == 0
    assert all(("namespacesIgnored" in one) == (names == "other") for one in json.loads(capsys.readouterr().out))
    assert await run(api, tmp_path, "status", "--operator-namespace", NAMESPACE) == 0
    assert "no notice" not in capsys.readouterr().out, "there is no operator"


@pytest.mark.parametrize("names", ["", NAMESPACE, "other"])
async def test_a_plan_is_made_where_the_operator_works(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: str
) -> None:
    works_in(api, names)
    file = tmp_path / "model.yaml"
    file.write_text(yaml.safe_dump(api.objects[EDGE_MODEL][NAMESPACE, "model-0"]))
    status = await run(api, tmp_path, "plan", "-f", str(file))
    shown = capsys.readouterr()
    if names == "other":
        expected = "one of edgesmith-system, other was expected (watchNamespaces of its chart)"
        assert (status, shown.out) == (1, "")
        assert (
            f"EdgeModel model-0 is in namespace {NAMESPACE!r}, of which the operator takes no notice; {expected}"
            in shown.err
        )
    else:
        assert (status, shown.err) == (0, "")
        assert shown.out.startswith(f"EdgeModel {NAMESPACE}/model-0\n")


@pytest.mark.parametrize("names", ["", "other"])
async def test_a_plan_of_profiles_is_about_the_edgemodels_that_the_operator_looks_after(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: str
) -> None:
    works_in(api, names)
    (box,) = api.objects[DEVICE_PROFILE].values()
    file = tmp_path / "box.yaml"
    file.write_text(yaml.safe_dump(box))
    assert await run(api, tmp_path, "plan", "-f", str(file)) == 0
    shown = capsys.readouterr().out
    assert ("No EdgeModel uses these DeviceProfiles." in shown) == (names == "other")
    assert (f"EdgeModel {NAMESPACE}/model-0\n" in shown) == (names == "")


async def test_a_rollback_asks_for_the_daemonsets_too(api: FakeApi, tmp_path: Path) -> None:
    assert await run(api, tmp_path, "rollback", "model-0") == 1
    assert read(api) == {"edgemodels": 1, "daemonsets": 1}


async def test_of_one_edgemodel_its_own_pods_are_read(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(api, tmp_path, "status", "model-1", "-o", "json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert len(found["nodes"]) == 300
    assert read(api).keys() == READ_OF_ONE
    assert read(api)["pods"] == 2, "300 in pages of 200, not 600"


async def test_as_json_all_is_read_for_all(api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run(api, tmp_path, "status", "-o", "json") == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["model-0", "model-1"]
    assert read(api)["pods"] == 3


async def test_a_plan_reads_the_pods_of_its_models_and_those_of_builds_which_others_may_share(api: FakeApi) -> None:
    build: dict[str, Any] = pod("build-of-model-0", "node-0")
    build["metadata"]["labels"] = {MANAGED_BY_LABEL: MANAGED_BY, MODEL_LABEL: "model-0", JOB_NAME_LABEL: "build"}
    api.put(POD, build)
    async with fake_api.serving(api) as port, Client(api.connection(port)) as client:
        objects = await load(client, NAMESPACE, models={"model-1"})
    pods, builds = (table.of_model(NAMESPACE, "model-1") for table in (objects.pods, objects.build_pods))
    assert (len(pods), len(objects.pods), len(builds)) == (300, 300, 0)
    assert [name for name, _ in objects.build_pods.of_model(NAMESPACE, "model-0")] == ["build-of-model-0"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ({"EdgeModel": ["parts", "x1"], "DeviceProfile": ["box"]}, {"parts", "x1"}),
        ({"DeviceProfile": ["box"]}, None),
        ({"EdgeModel": ["a,b", "Parts", "x" * 64, "-"]}, None),
        ({"EdgeModel": ["a) , b", "parts"]}, {"parts"}),
    ],
)
def test_a_plan_of_profiles_alone_reads_the_children_of_all(
    names: dict[str, list[str]], found: set[str] | None
) -> None:
    documents = [{"kind": kind, "metadata": {"name": name}} for kind, all_ in names.items() for name in all_]
    assert named(documents) == found
