"""Five nodes of one kind: models and images that are bad, nodes that go and return, a hub that restarts in mid-wave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any

import bad_images
import five
import pytest
from bad_images import BAD, Bad
from device_class import device_class
from faults import BadStorage, OperatorKilled, PoisonPill, Watched, registry_down, spoilt_blob
from namespaces import keep_evidence, namespace_of

from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground, cluster
from edgesmith_stage.pulls import Pulls
from edgesmith_stage.waiting import until

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

NAME = five.NAME
LABEL = "edgesmith-test/line"
FIRST, SECOND = "line-fp32", "line-int8"
ROLLOUT = {
    "steps": [{"nodes": 1, "bake": "2s"}, {"nodes": "100%", "bake": "0s"}],
    "maxUnavailable": 4,
    "maxFailed": 1,
    "progressDeadline": "3m",
}
BACK = 150
"""Seconds in which a node whose line is back follows: a kubelet waits up to a minute and a half after failed pulls."""


@pytest.fixture(scope="module")
def shared(ground: Ground) -> Iterator[Fleet]:
    """One EdgeModel that serves on all five nodes; the tests go on from whatever revision it serves."""
    kube = ground.kube
    kube("label", "nodes", *ground.edges, f"{LABEL}=five")
    for name, rung in ((FIRST, "fp32"), (SECOND, "int8")):
        toolchain = {"name": "ONNXRuntime", "precisions": [rung]}
        kube.apply(device_class(name, {LABEL: "five"}, toolchain=toolchain))
    with namespace_of(ground, "five-nodes") as fleet:
        manifest = fleet.manifest(NAME, five.version(fleet), deviceProfiles={"names": [FIRST]}, rollout=ROLLOUT)
        for field in ("evaluation", "gates"):
            del manifest["spec"][field]
        fleet.apply(manifest)
        yield fleet
        kube("delete", "edgemodel", NAME, "-n", fleet.namespace)
    kube("label", "nodes", *ground.edges, f"{LABEL}-")
    kube("delete", "deviceprofile", FIRST, SECOND)


@pytest.fixture
def line(shared: Fleet, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """The five nodes at rest, each with a ready server of one revision."""
    shared.heal_everybody()
    if shared.condition(NAME, "Stalled") and not five.one_revision(shared):
        shared.patch(NAME, {"source": five.version(shared), "rollout": ROLLOUT})
        shared.wait_settled(NAME)
    until(
        lambda: five.one_revision(shared),
        seconds=120,
        what="one revision on all five nodes",
        detail=lambda: five.say(shared),
    )
    yield shared
    keep_evidence(request, shared)


def test_nodes_that_return_are_no_rollout_and_are_updated(line: Fleet) -> None:
    early, late = "edge-4", "edge-5"
    if line.condition(NAME, "Stalled"):
        line.patch(NAME, {"source": five.version(line), "rollout": ROLLOUT})
    line.wait_settled(NAME)
    pods, ready = line.pods(NAME), line.condition(NAME, "Ready")
    with Watched(lambda: str((line.condition(NAME, "Ready") or {}).get("status"))) as watched:
        for node in (early, late):
            line.cut(node)
        until(lambda: line.not_ready() == {early, late}, seconds=60, what=f"{early} and {late} to be NotReady")
        line.heal(early)
        until(lambda: line.not_ready() == {late}, seconds=60, what=f"{early} to be Ready")
        until(
            lambda: five.nodes(line)["notReady"] == 1,
            seconds=60,
            what="the status to count one node",
            detail=lambda: five.say(line),
        )
        until(
            lambda: five.nodes(line)["ready"] == 4,
            seconds=60,
            what="four nodes to serve",
            detail=lambda: five.say(line),
        )
    assert watched.seen == ["True"]
    assert (line.condition(NAME, "Ready") or {})["lastTransitionTime"] == (ready or {})["lastTransitionTime"]
    assert line.pods(NAME) == pods

    # Another port is another revision of the same image: nothing is built.
    port = line.model(NAME)["spec"]["serving"]["port"]
    line.patch(NAME, {"serving": {"port": port + 10}, "rollout": ROLLOUT})
    line.wait_settled(NAME)
    assert five.nodes(line) == {
        "desired": 5,
        "updated": 4,
        "ready": 4,
        "notReady": 1,
        "tainted": 0,
        "deviceMissing": 0,
        "diskFull": 0,
        "failed": 0,
    }
    assert [(one["name"], one["reason"]) for one in line.model(NAME)["status"]["pending"]] == [(late, "NotReady")]
    line.heal(late)
    until(
        lambda: five.nodes(line)["updated"] == 5 and five.one_revision(line), seconds=BACK, what=f"{late} to be updated"
    )


def test_another_profile_takes_over_node_by_node_with_the_operator_killed_throughout(line: Fleet) -> None:
    pods = line.pods(NAME)
    others = {SECOND: FIRST, FIRST: SECOND}
    profile = others[line.model(NAME)["spec"]["deviceProfiles"]["names"][0]]
    with OperatorKilled(line) as killed, Watched(lambda: f"{five.serving(line)} serve") as watched:
        line.patch(NAME, {"deviceProfiles": {"names": [profile]}, "rollout": {**ROLLOUT, "maxUnavailable": 2}})
        line.wait(NAME, "Reconciling", reason="Building", seconds=60)
        assert line.pods(NAME) == pods, "nothing is touched before there is a build to take over"
        until(
            lambda: five.profiles(line) == {profile},
            seconds=150,
            what=f"{profile} on every node",
            detail=lambda: five.say(line),
        )
    assert killed.kills >= 2
    assert min(watched.seen) >= "3 serve", watched.seen
    line.wait_settled(NAME)
    assert five.one_revision(line)


def test_a_model_that_takes_its_machine_down_reaches_two_of_five(line: Fleet) -> None:
    servers, pods = line.servers(NAME), line.pods(NAME)
    # Longer than a busy machine takes to start a server and the API server to notice that its node is gone (10 s).
    rollout = {"steps": [{"nodes": 1, "bake": "15s"}, {"nodes": "100%", "bake": "0s"}], "progressDeadline": "1m"}
    with PoisonPill(line) as pill:
        line.patch(NAME, {"source": five.version(line), "rollout": rollout})
        stalled = line.wait(NAME, "Stalled", reason="RolledBack", seconds=300)
        assert len(pill.lost) == 2
        for word in ("CanaryLost", *pill.lost):
            assert word in stalled["message"]
        # They come back to the revision before: another start of this one would take them down again.
        line.on(*pill.lost)
        until(
            lambda: {node: s.revision for node, s in line.servers(NAME).items() if s.ready} == five.revisions(servers),
            seconds=60,
            what="the revision before to serve on all five nodes",
            detail=lambda: five.say(line),
        )
        assert len(pill.lost) == 2
    untouched = {name for name, server in servers.items() if name not in pill.lost and server.pod in line.pods(NAME)}
    assert len(untouched) == 3
    assert all(line.pods(NAME)[servers[node].pod] == pods[servers[node].pod] for node in untouched)


def test_a_broken_device_goes_back_alone_and_does_not_stop_the_next_rollout(line: Fleet) -> None:
    broken = "edge-3"
    before = line.servers(NAME)
    with BadStorage(line, broken) as storage:
        for _ in range(2):
            line.patch(NAME, {"source": five.version(line), "rollout": ROLLOUT})
            stalled = line.wait(NAME, "Stalled", reason="NodesFailed", seconds=240)
            assert broken in stalled["message"]
            until(lambda: five.serving(line) == 5, seconds=60, what="all five to serve", detail=lambda: five.say(line))
            after = line.servers(NAME)
            assert after[broken].revision == before[broken].revision
            (revision,) = {server.revision for node, server in after.items() if node != broken}
            assert revision == line.variants(NAME)[five.profile_of(line)]["revision"]
            assert [one["name"] for one in line.model(NAME)["status"]["pending"]] == [broken]
        assert len(storage.spoilt) == 2


def test_a_wave_waits_for_the_registry_and_a_revert_goes_back_while_the_api_server_restarts(line: Fleet) -> None:
    before, jobs = line.servers(NAME), five.jobs(line)
    source = line.model(NAME)["spec"]["source"]
    slow = {**ROLLOUT, "steps": [{"nodes": 1, "bake": "15s"}, {"nodes": "100%", "bake": "0s"}]}
    old = set(five.revisions(before).values())
    with Watched(lambda: f"{len({node for node, _ in five.ready(line)})} serve") as serving:
        line.patch(NAME, {"source": five.version(line), "rollout": slow})
        until(
            lambda: five.moved(line, old) == 1, seconds=120, what="the canary to serve", detail=lambda: five.say(line)
        )
        with registry_down(line):
            until(
                lambda: five.not_pulled(line) == 4,
                seconds=60,
                what="four nodes to fail to pull",
                detail=lambda: five.say(line),
            )
            assert five.moved(line, old) == 1
            assert not line.condition(NAME, "Stalled"), "a registry that is away is no fault of the revision"
        until(
            lambda: five.moved(line, old) == 5 and five.one_revision(line),
            seconds=120,
            what="the wave to go on",
            detail=lambda: five.say(line),
        )
    assert serving.seen == ["5 serve"]
    built = five.jobs(line)
    assert len(built - jobs) == 1

    new, pulls = set(five.revisions(line.servers(NAME)).values()), Pulls(line.ground)
    line.patch(NAME, {"source": source, "rollout": slow})
    until(
        lambda: five.moved(line, new) >= 1, seconds=60, what="the first node to go back", detail=lambda: five.say(line)
    )
    addresses = five.addresses(line, new)
    cluster("off", "control-plane", "--name", line.ground.name)
    assert set(addresses) == set(line.ground.edges)
    assert all(map(five.answers, addresses.values())), "servers go on without an API server"
    cluster("on", "control-plane", "--name", line.ground.name)
    line.wait_settled(NAME, 120)
    assert five.revisions(line.servers(NAME)) == five.revisions(before)
    assert five.jobs(line) == built, "what was built before is not built again"
    assert sum(pulls.bytes_by_node().get(node, 0) for node in line.ground.edges) < MANIFESTS


@pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])
def test_a_canary_whose_image_is_wrong_is_rolled_back_and_no_server_ends(line: Fleet, tmp_path: Path, bad: Bad) -> None:
    before, pods, jobs, known = line.servers(NAME), line.pods(NAME), five.jobs(line), _rolled_back(line)
    good, image = line.model(NAME)["spec"]["source"], line.variants(NAME)[five.profile_of(line)]["image"]
    source = {**good, "uri": f"s3://models/{bad.name}/model.onnx", "sha256": sha256(bad.name.encode()).hexdigest()}
    layer = bad_images.push(image, bad_images.key_of(line, NAME, source, tmp_path), bad.change, tmp_path)
    with spoilt_blob(line, layer) if bad.spoilt else nullcontext():
        line.patch(NAME, {"source": source, "rollout": ROLLOUT})
        if bad.spoilt:  # the deadline is to end after the pull has failed, however busy the machine is
            until(lambda: five.not_pulled(line) == 1, seconds=90, what="the canary to fail to pull")
            line.patch(NAME, {"rollout": {"progressDeadline": "10s"}})
        stalled = line.wait(NAME, "Stalled", reason="RolledBack", seconds=90)
    until(lambda: five.one_revision(line), seconds=60, what="the canary to end", detail=lambda: five.say(line))
    (mark,) = [one for name, one in _rolled_back(line).items() if name not in known]
    assert mark["reason"] == "CanaryFailed", mark
    assert bad.says in mark["message"], mark
    assert bad.says in stalled["message"]
    assert line.pods(NAME) == pods, "what failed ran beside the server of the canary"
    assert five.revisions(line.servers(NAME)) == five.revisions(before)
    assert five.jobs(line) == jobs, "nobody built it: the image was there already"
    line.patch(NAME, {"source": good, "rollout": ROLLOUT})
    line.wait_settled(NAME)


def _rolled_back(fleet: Fleet) -> dict[str, Any]:
    """What is known of the revisions that were rolled back, by name."""
    return {one["name"]: one for one in fleet.model(NAME)["status"]["revisions"] if one.get("rolledBack")}


def test_a_node_that_is_cut_while_it_makes_a_revision_ready_keeps_nobody_waiting(line: Fleet) -> None:
    old = set(five.revisions(line.servers(NAME)).values())
    # One place of the budget is the lost node's: it may be the revision that took it.
    by_three = {**ROLLOUT, "steps": [{"nodes": 1, "bake": "15s"}], "maxUnavailable": 3}
    line.patch(NAME, {"source": five.version(line), "rollout": by_three})
    until(lambda: five.moved(line, old) == 1, seconds=120, what="the canary to serve", detail=lambda: five.say(line))
    ((canary, revision),) = {(node, found) for node, found in five.ready(line) if found not in old}
    others = [node for node in line.ground.edges if node != canary]
    with line.without_registry(*others):
        until(lambda: five.not_pulled(line) == 3, seconds=60, what="three nodes to pull", detail=lambda: five.say(line))
        given = five.made_ready(line)
        assert set(given.values()) == {revision}
        lost = min(given)
        assert lost != canary
        line.cut(lost)
    until(lambda: line.not_ready() == {lost}, seconds=60, what=f"{lost} to be NotReady")
    line.wait_settled(NAME)
    # It may have been over before the node was NotReady, and the operator has yet to say that.
    wanted = {"updated": 4, "ready": 4, "notReady": 1}
    until(lambda: wanted.items() <= five.nodes(line).items(), seconds=30, what="the lost node to be counted")
    assert not line.condition(NAME, "Stalled"), "nobody says that the revision took it"
    assert {node for node, found in five.ready(line) if found == revision} == set(line.ground.edges) - {lost}
    line.heal(lost)
    until(lambda: five.nodes(line)["updated"] == 5 and five.one_revision(line), seconds=BACK, what=f"{lost} to arrive")


def test_a_node_that_is_cut_after_its_turn_keeps_its_server_and_the_others_follow(line: Fleet) -> None:
    old, port = set(five.revisions(line.servers(NAME)).values()), line.model(NAME)["spec"]["serving"]["port"]
    # One place of the budget is the lost node's: it may be the revision that took it.
    by_two = {**ROLLOUT, "steps": [{"nodes": 1, "bake": "2s"}], "maxUnavailable": 2}
    line.patch(NAME, {"serving": {"port": port + 10}, "rollout": by_two})
    until(lambda: five.moved(line, old) >= 2, seconds=90, what="a second node to move", detail=lambda: five.say(line))
    lost = min(node for node, found in five.ready(line) if found not in old)
    line.cut(lost)
    assert five.moved(line, old) < len(line.ground.edges), "it was over before"
    pod = line.servers(NAME)[lost].pod
    uid = line.pods(NAME)[pod]
    until(lambda: line.not_ready() == {lost}, seconds=60, what=f"{lost} to be NotReady")
    line.wait_settled(NAME)
    # It may have been over before the node was NotReady, and the operator has yet to say that.
    wanted = {"updated": 4, "ready": 4, "notReady": 1}
    until(lambda: wanted.items() <= five.nodes(line).items(), seconds=30, what="the lost node to be counted")
    assert not line.condition(NAME, "Stalled"), "nobody says that the revision took it"
    line.heal(lost)
    until(lambda: five.nodes(line)["updated"] == 5 and five.one_revision(line), seconds=BACK, what=f"{lost} to be back")
    assert line.pods(NAME)[pod] == uid, "it served on"


def test_a_wave_goes_on_where_it_was_when_api_server_and_etcd_restart_in_its_middle(line: Fleet) -> None:
    old, jobs = set(five.revisions(line.servers(NAME)).values()), five.jobs(line)
    port = line.model(NAME)["spec"]["serving"]["port"]
    one_by_one = {**ROLLOUT, "steps": [{"nodes": 1, "bake": "2s"}], "maxUnavailable": 1}
    line.patch(NAME, {"serving": {"port": port + 10}, "rollout": one_by_one})
    until(lambda: five.moved(line, old) >= 2, seconds=90, what="a second node to move", detail=lambda: five.say(line))
    there = {name: uid for name, uid in line.pods(NAME).items() if not any(one in name for one in old)}
    addresses = five.addresses(line, old)
    cluster("off", "control-plane", "--name", line.ground.name)
    assert set(addresses) == set(line.ground.edges)
    assert all(map(five.answers, addresses.values())), "servers go on without an API server"
    cluster("on", "control-plane", "--name", line.ground.name)
    assert five.moved(line, old) < len(line.ground.edges), "it was over before"
    until(
        lambda: five.moved(line, old) == 5 and five.one_revision(line),
        seconds=120,
        what="the wave to go on",
        detail=lambda: five.say(line),
    )
    assert len(there) >= 2, there
    assert there.items() <= line.pods(NAME).items(), "what had moved was moved once"
    assert five.jobs(line) == jobs


MANIFESTS = 16 * 1024
"""Bytes of manifests that five nodes may ask for; a layer of the model has more."""
