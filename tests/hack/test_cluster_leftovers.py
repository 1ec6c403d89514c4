"""Finding what an earlier run left behind."""

import json
import os
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edgesmith_cluster import cgroups, cleanup, disturb, limits, network, processes, sandbox, state
from edgesmith_cluster.console import Console
from edgesmith_cluster.errors import ClusterError
from edgesmith_cluster.locks import locked
from edgesmith_cluster.state import Record
from edgesmith_cluster.waiting import wait_until
from tests.patience import PATIENCE

MOUNTINFO = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 27 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 31 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
40 27 0:40 / /data/clusters/demo/a rw - tmpfs tmpfs rw
41 40 0:41 / /data/clusters/demo/a/b\\040c rw - tmpfs tmpfs rw
42 27 0:42 / /data/clusters/demo-2 rw - tmpfs tmpfs rw
"""


def test_mounts_below_a_folder_are_found_the_innermost_first() -> None:
    folder = Path("/data/clusters/demo")
    assert cleanup.parse_mounts(MOUNTINFO, folder) == [folder / "a/b c", folder / "a"]


def test_control_group_trees_of_both_versions_are_found() -> None:
    assert cgroups.parse_hierarchies(MOUNTINFO) == [
        ("cgroup", Path("/sys/fs/cgroup/memory")),
        ("cgroup2", Path("/sys/fs/cgroup/unified")),
    ]


@pytest.fixture
def trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    found = {"cgroup": tmp_path / "cpuset", "cgroup2": tmp_path / "unified"}
    for tree in found.values():
        tree.mkdir()
    monkeypatch.setattr(cgroups, "_hierarchies", lambda: list(found.items()))
    return found


def test_version_two_controllers_are_passed_down(trees: dict[str, Path]) -> None:
    (trees["cgroup2"] / "cgroup.controllers").write_text("cpuset cpu memory pids\n")
    (trees["cgroup2"] / "cgroup.subtree_control").touch()
    cgroups.create("demo", "hub")
    assert (trees["cgroup2"] / "edgesmith/demo/hub").is_dir()
    # The kernel adds each word written to those before; a plain file keeps the last.
    assert (trees["cgroup2"] / "cgroup.subtree_control").read_text() == "+pids"


def test_groups_are_removed_and_those_of_other_clusters_stay(trees: dict[str, Path]) -> None:
    cgroups.create("demo", "hub")
    cgroups.create("other", "hub")
    (trees["cgroup"] / "edgesmith/demo/hub/kubepods/pod-1").mkdir(parents=True)
    assert cgroups.left("demo")
    cgroups.remove("demo")
    assert not cgroups.left("demo")
    assert cgroups.left("other")
    cgroups.remove("other")
    assert not (trees["cgroup"] / "edgesmith").exists()


def test_a_group_in_use_is_named(trees: dict[str, Path]) -> None:
    cgroups.create("demo", "hub")
    (trees["cgroup"] / "edgesmith/demo/hub/busy").touch()
    with pytest.raises(ClusterError, match="edgesmith/demo/hub is still in use"):
        cgroups.remove("demo", seconds=0.1)


def test_a_process_name_may_hold_anything() -> None:
    stat = "17 (a) R (b) S 1 17 17 0 -1 0 0 0 0 0 1 1 0 0 20 0 1 0 4711 0 0"
    assert processes.parse_started(stat) == 4711
    assert processes.parse_started(stat.replace("(b) S", "(b) Z")) is None


def test_a_process_is_told_from_a_later_one_with_its_number() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        seen: list[processes.Process] = []

        def listed() -> bool:
            seen[:] = [process for process in processes.everything() if process.pid == child.pid]
            return bool(seen)

        wait_until(listed, what="the child to be listed: /proc can miss one while others come and go", seconds=PATIENCE)
        found = seen[0]
        impostor = processes.Process(found.pid, found.started - 1, found.name, found.arguments)
        assert not impostor.alive
        assert processes.kill(lambda: [found] if found.alive else [], what="the test") == 1
        assert child.wait() == -9


def test_this_process_never_kills_itself() -> None:
    own = [process for process in processes.everything() if process.pid == os.getpid()]
    assert len(own) == 1
    assert processes.kill(lambda: own, what="the test") == 0


def test_a_record_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "ROOT", tmp_path)
    record = Record("demo", 3, ("hub", "edge-1"), "user", "password", ready=True)
    state.write_record(record)
    assert state.read_record("demo") == record
    assert state.clusters() == ["demo"]
    assert (tmp_path / "demo/cluster.json").stat().st_mode & 0o077 == 0


def test_a_record_from_before_uplinks_is_one_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "ROOT", tmp_path)
    record = Record("site", 3, ("hub",), "user", "password", ready=True, uplink="demo")
    state.write_record(record)
    assert state.read_record("site") == record
    content = json.loads(record.folder.record.read_text())
    del content["uplink"]
    record.folder.record.write_text(json.dumps(content))
    assert state.read_record("site") == replace(record, uplink=None)


def test_what_leads_to_a_cluster_that_goes_is_taken_out_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "ROOT", tmp_path)
    monkeypatch.setattr(cleanup, "ROOT", tmp_path / "none")
    flushed: list[list[str]] = []
    monkeypatch.setattr(network, "namespaces", lambda name: [Path(f"/run/netns/edgesmith.{name}.hub")])
    monkeypatch.setattr(network, "succeeds", flushed.append)
    for name in ("_processes", "find"):
        monkeypatch.setattr(cleanup, name, lambda _: [])
    monkeypatch.setattr(network, "remove", lambda *_: None)
    monkeypatch.setattr(cgroups, "remove", lambda _: None)
    state.write_record(Record("demo-no-such", 69, ("hub",), "user", "password", ready=True, uplink="test"))
    cleanup.remove("demo-no-such")
    assert flushed == [["ip", "-netns", "edgesmith.test.hub", "route", "flush", "root", "10.249.0.0/16"]]


def test_a_folder_is_gone_at_once_and_what_it_held_soon_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "edgesmith"
    monkeypatch.setattr(state, "ROOT", home / "clusters")
    monkeypatch.setattr(cleanup, "ROOT", home / "clusters")
    for file in ("clusters/no-such/nodes/hub/big", "clusters/other/cluster.json", "removed/killed.1/rest"):
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).write_text("x")
    monkeypatch.setattr(cleanup, "_processes", lambda _: [])
    monkeypatch.setattr(cgroups, "remove", lambda _: None)
    cleanup.remove("no-such")
    assert not (home / "clusters/no-such").exists()
    wait_until(lambda: not (home / "removed").exists(), what="what is put aside to go", seconds=PATIENCE)
    assert (home / "clusters/other/cluster.json").exists()
    (home / "clusters/other/cluster.json").unlink()
    cleanup.remove("other")
    wait_until(lambda: not home.exists(), what="the last folder to go", seconds=PATIENCE)


@pytest.fixture
def standing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster `site`, as far as its record goes."""
    monkeypatch.setattr(state, "ROOT", tmp_path)
    monkeypatch.setattr(disturb, "require_root", lambda: None)
    monkeypatch.setattr(network, "namespaces", lambda _: [Path("/run/netns/x")])
    state.write_record(Record("site", 3, ("hub",), "user", "password", ready=True))


@pytest.mark.usefixtures("standing")
def test_a_part_that_a_cluster_lacks_is_named() -> None:
    with pytest.raises(ClusterError, match="has no 'edge-1': expected one of hub, control-plane"):
        disturb.off(Console(), "site", "edge-1")
    with pytest.raises(ClusterError, match=r"has no 'uplink': expected one of hub$"):
        disturb.cut("site", "uplink")


@pytest.mark.usefixtures("standing")
def test_power_fails_everywhere_at_once_or_in_the_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[tuple[str, ...]] = []
    monkeypatch.setattr(sandbox, "stop", lambda _, *names: stopped.append(names))
    monkeypatch.setattr(cgroups, "remove", lambda *_: None)
    disturb.off(Console(), "site")
    disturb.off(Console(), "site", "control-plane")
    assert stopped == [("control-plane", "hub"), ("control-plane",)]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "demo"}'])
def test_half_a_record_is_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr(state, "ROOT", tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/cluster.json").write_text(content)
    assert state.read_record("demo") is None


def test_a_lock_lets_one_in_at_a_time_and_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "locks/demo.lock"
    inside, most, waited = 0, 0, threading.Event()
    guard = threading.Lock()

    def enter() -> None:
        nonlocal inside, most
        for _ in range(50):
            with locked(file, waited.set):
                with guard:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.001)  # so that others are let in where nothing keeps them out
                with guard:
                    inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert not file.exists()


def test_a_kernel_limit_is_found_out_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "max_user_instances"
    monkeypatch.setattr(limits, "_LIMIT", limit)
    monkeypatch.setattr(limits, "used", lambda user: 100 + user)
    limit.write_text("128\n")
    with pytest.raises(ClusterError, match=r"28 more .* of 128 .* needs 49: .*max_user_instances=1024"):
        limits.check(4)
    limit.write_text("149\n")
    limits.check(4)
