"""What power and an uplink are to a local cluster: what ends, what is waited for, and what leads where."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgesmith_cluster import cgroups, cli, cluster, disturb, network, sandbox, state, storage, tools
from edgesmith_cluster.console import Console
from edgesmith_cluster.errors import ClusterError
from edgesmith_cluster.plan import UPLINK, Plan
from edgesmith_cluster.state import Record, write_record

HUB = Record("hub-cluster", 0, ("hub",), "user", "password", ready=True)
SITE = Record("site", 3, ("hub", "edge-1"), "user", "password", ready=True, uplink="hub-cluster")


@pytest.fixture(autouse=True)
def standing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster `site` behind another one, as far as their records go."""
    monkeypatch.setattr(state, "ROOT", tmp_path / "clusters")
    monkeypatch.setattr(state, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(disturb, "require_root", lambda: None)
    monkeypatch.setattr(network, "namespaces", lambda _: [Path("/run/netns/x")])
    monkeypatch.setattr(tools, "binaries", lambda: tmp_path / "tools/bin")
    monkeypatch.setattr(sandbox, "stop", lambda *_: None)
    write_record(HUB)
    write_record(SITE)


@pytest.fixture
def power(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was given power or was waited for, in order, where nothing ran before."""
    done: list[str] = []
    monkeypatch.setattr(sandbox, "find", lambda *_: None)
    monkeypatch.setattr(network, "cut_nodes", lambda _: set())
    monkeypatch.setattr(cluster.Starter, "power", lambda _, parts: done.append(f"power of {', '.join(parts)}"))
    monkeypatch.setattr(disturb, "_wait", lambda _record, node, _check: done.append(f"wait for {node.name}"))
    return done


@pytest.mark.parametrize(("part", "nodes"), [("edge-1", ["edge-1"]), (None, ["hub", "edge-1"]), ("control-plane", [])])
def test_what_a_node_had_in_memory_goes_with_its_power(
    monkeypatch: pytest.MonkeyPatch, part: str | None, nodes: list[str]
) -> None:
    gone: list[tuple[str, str]] = []
    monkeypatch.setattr(cgroups, "remove", lambda *words: gone.append(words))
    for name in SITE.nodes:
        (SITE.folder.node(name) / "run").mkdir(parents=True)
        (SITE.folder.node(name) / "disk").mkdir()
    disturb.off(Console(), "site", part)
    assert gone == [("site", node) for node in nodes]
    assert [name for name in SITE.nodes if not (SITE.folder.node(name) / "run").exists()] == nodes
    assert all((SITE.folder.node(name) / "disk").exists() for name in SITE.nodes), "disks stay"


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (None, ["power of control-plane, hub, edge-1", "wait for hub", "wait for edge-1"]),
        ("edge-1", ["power of edge-1", "wait for edge-1"]),
        ("control-plane", ["power of control-plane"]),
    ],
)
def test_power_comes_back_at_once_and_each_node_is_waited_for(
    power: list[str], part: str | None, expected: list[str]
) -> None:
    disturb.on(Console(), "site", part)
    assert power == expected


def test_nobody_waits_for_a_node_that_is_cut_off(power: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "cut_nodes", lambda _: {"edge-1", UPLINK})
    disturb.on(Console(), "site")
    assert power == ["power of control-plane, hub, edge-1", "wait for hub"]


def test_what_is_on_is_not_given_power_again(power: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "find", lambda _, name: object() if name == "edge-1" else None)
    with pytest.raises(ClusterError, match="edge-1 of the cluster site is on: expected one that is off"):
        disturb.on(Console(), "site")
    disturb.on(Console(), "site", "hub")
    assert power == ["power of hub", "wait for hub"]


@pytest.mark.parametrize(
    ("flags", "up", "cut"),
    [(["UP", "LOWER_UP"], True, set()), (["BROADCAST"], False, {UPLINK}), (None, False, set())],
)
def test_an_uplink_is_seen_as_it_is(
    monkeypatch: pytest.MonkeyPatch, flags: list[str] | None, *, up: bool, cut: set[str]
) -> None:
    links = [{"ifname": name, "flags": ["UP"]} for name in ("lo", "hub", "edge-1", "host", "site4")]
    links += [{"ifname": UPLINK, "flags": flags}] if flags is not None else []
    monkeypatch.setattr(network, "run", lambda _: json.dumps(links))
    assert network.has_uplink("site") is up
    assert network.cut_nodes("site") == cut


def test_both_ends_of_an_uplink_know_the_way_to_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[str, str] = {}

    def run(words: list[str], text: str = "") -> str:
        said[words[2]] = said.get(words[2], "") + text + "\n"
        return ""

    monkeypatch.setattr(network, "run", run)
    network.connect("site", SITE.plan, "hub-cluster", HUB.plan)
    to_hub, to_site = (network.uplink_commands(plan) for plan in (HUB.plan, SITE.plan))
    for name, commands in (("site.hub", to_hub), ("site.edge-1", to_hub), ("hub-cluster.hub", to_site)):
        assert said[f"edgesmith.{name}"].split("\n")[:-1] == commands
    assert f"link set {UPLINK} master bridge0" in said["edgesmith.site.fabric"]
    assert "link set site3 up" in said["edgesmith.hub-cluster.fabric"]


@pytest.mark.parametrize(
    ("uplink", "up", "waits"), [(None, False, True), ("hub-cluster", True, True), ("hub-cluster", False, False)]
)
def test_a_mirror_is_waited_for_where_it_can_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uplink: str | None, *, up: bool, waits: bool
) -> None:
    """It ends at its start while its upstream is away; the rest of the site is to come up all the same."""
    waited: list[Any] = []
    control = SimpleNamespace(start_api=list, wait=lambda _: None, start_controllers=list)
    monkeypatch.setattr(cluster, "ControlPlane", lambda *_: control)
    monkeypatch.setattr(sandbox, "boot", lambda *_, **__: None)
    monkeypatch.setattr(network, "has_uplink", lambda _: up)
    monkeypatch.setattr(storage, "start_registry", lambda *_: "the registry")
    monkeypatch.setattr(storage, "start_minio", lambda *_: "MinIO")
    monkeypatch.setattr(storage, "wait", lambda _, minio, registry: waited.append((minio, registry)))
    cluster.Starter(Console(), replace(SITE, uplink=uplink), tmp_path)._start_control_plane()
    assert waited == [("MinIO", "the registry" if waits else None)]


@pytest.mark.parametrize("uplink", [None, "hub-cluster"])
def test_a_mirror_that_ends_is_started_again(tmp_path: Path, uplink: str | None) -> None:
    started: list[tuple[str, list[Any]]] = []
    machine: Any = SimpleNamespace(start=lambda name, words, **_: started.append((name, words)))
    record = replace(SITE, uplink=uplink)
    record.folder.control_plane.mkdir(parents=True)
    storage.start_registry(record, machine, tmp_path)
    ((name, words),) = started
    config = json.loads((record.folder.control_plane / "registry.yaml").read_text())
    if uplink is None:
        assert (name, words[:2], "proxy" in config) == ("registry", [tmp_path / "registry", "serve"], False)
    else:
        assert (name, words[:2], words[3]) == ("sh", ["sh", "-c"], tmp_path / "registry")
        assert words[2].startswith("while :; do ")
        assert config["proxy"]["remoteurl"] == f"http://{HUB.plan.hub}:5000"


def test_a_cluster_is_no_uplink_of_itself(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cluster, "up", lambda *_, **__: pytest.fail("it was started"))
    assert cli.main(["up", "--name", "site", "--uplink", "site"]) == 1
    said = capsys.readouterr()
    assert "--uplink site is the cluster itself: expected another one" in said.out + said.err


def test_an_uplink_leads_to_a_cluster_that_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster._upstream("hub-cluster") == Plan(0, ("hub",))
    for name in ("nowhere", "site"):
        monkeypatch.setattr(network, "namespaces", lambda other: [] if other == "site" else [Path("/run/netns/x")])
        with pytest.raises(ClusterError, match=f"--uplink {name}: there is no such cluster: start it first"):
            cluster._upstream(name)
