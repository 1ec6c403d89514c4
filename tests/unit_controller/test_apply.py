"""A plan as calls: their order, what is left out, and what one refusal does to the rest."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from played_hub import DS1, DS2, IMAGE, JOB, PROFILES, R1, R2, STATUS, Hub, condition, plan
from snapshots import LABEL, NEXT, NOW, SETTINGS, model

from edgesmith.api.names import BUILD_KEY_LABEL, trial_pod_name
from edgesmith.cluster.apply import MOVES_PER_PASS, RECORDS_BESIDE_MOVES, RECORDS_PER_PASS
from edgesmith.cluster.done import AT_ONCE
from edgesmith.cluster.errors import (
    AdmissionDenied,
    Conflict,
    Forbidden,
    Invalid,
    NameTaken,
    QuotaExceeded,
    Stalled,
    Unreachable,
)
from edgesmith.cluster.kinds import DAEMON_SET, EDGE_MODEL, KINDS
from edgesmith.decide.plan import Delete, Event, HoldImage, Keep, Move
from edgesmith.decide.snapshot import Snapshot
from tests.patience import PATIENCE

TRIAL = f"create Pod {trial_pod_name('parts', 't', 'n0', ['int8', 'fp32'])}"


def move(node: int, revision: str | None = R1, *, urgent: bool = False) -> Move:
    return Move(f"n{node}", revision, "Because.", record=f"record {node}", urgent=urgent)


async def test_the_calls_come_in_order() -> None:
    hub = Hub(nodes=4)
    done = await hub.apply(
        plan(
            revisions=["amd64", "arm64"],
            moves=[move(0), move(1, None, urgent=True)],
            records=[Keep("n2", "kept")],
            builds=["amd64"],
            trials=["amd64"],
            deletes=[
                Delete("Pod", "tried", "It has ended."),
                Delete("DaemonSet", "old", "It is old."),
                Delete("Job", "done", "It is done."),
            ],
            service=True,
            events=[Event("Normal", "Canary", "It begins.")],
        )
    )
    assert hub.asked() == [
        f"apply DaemonSet {DS1}", f"apply DaemonSet {DS2}", "status", "mark n1", "mark n0", "mark n2", JOB,
        TRIAL, "delete Pod tried", "delete DaemonSet old",
        "delete Job done", "get Service parts", "apply Service parts", "event",
    ]  # fmt: skip
    assert (done.applied, done.moves, done.records, done.deleted, done.events) == (3, 2, 1, 3, 1)
    assert (done.builds, done.trials) == (1, 1)
    assert done.status
    assert not done.left
    assert hub.client.marks == {
        "n0": {"labels": {LABEL: R1}, "record": "record 0"},
        "n1": {"labels": {LABEL: None}, "record": "record 1"},
        "n2": {"record": "kept"},
    }
    known = hub.objects.nodes.get("", "n0")
    assert known
    assert (known.labels[LABEL], known.records[LABEL]) == (R1, "record 0"), "the next pass sees it at once"


async def test_a_node_is_staged_and_switched_in_one_write_each_once_the_daemon_set_is_there() -> None:
    hub = Hub(nodes=2)
    base = plan(revisions=["amd64"])
    staging = replace(base, revisions=(replace(base.revisions[0], staging="Test"),))
    staged = replace(move(0), beside="old", staging=True)
    await hub.apply(replace(base, moves=(staged,)))
    assert hub.asked() == [f"apply DaemonSet {DS1}", "status"], "without it the node would wait for nothing"
    done = await hub.apply(replace(staging, moves=(staged, replace(move(1), beside="old"))))
    assert hub.asked() == [f"apply DaemonSet {DS1}-staging", "mark n0", "mark n1"]
    assert (done.applied, done.moves) == (1, 2)
    assert hub.client.marks["n0"]["labels"] == {LABEL: "old", NEXT: f"{R1}.staging"}
    assert hub.client.marks["n1"]["labels"] == {LABEL: "old", NEXT: R1}
    assert list(hub.objects.revisions.keys()) == [("plant", DS1)], "what stages a revision is none"
    assert not (await hub.apply(replace(staging, moves=(staged,)))).moves
    assert hub.asked() == []
    await hub.apply(replace(staging, moves=(move(0), move(1))))
    assert hub.client.marks["n0"]["labels"] == hub.client.marks["n1"]["labels"] == {LABEL: R1, NEXT: None}


async def test_what_holds_an_image_is_there_before_a_node_is_moved_and_is_no_revision() -> None:
    hub = Hub(nodes=1)
    hold = HoldImage(PROFILES["amd64"], "before", IMAGE, (R1,))
    wanted = replace(plan(revisions=["amd64"], moves=[move(0)]), holds=(hold,))
    await hub.apply(wanted)
    assert hub.asked() == [f"apply DaemonSet {DS1}", "apply DaemonSet parts-before-held", "status", "mark n0"]
    assert list(hub.objects.revisions.keys()) == [("plant", DS1)]
    assert [(one.revision, one.profile) for one in hub.objects.holding.all()] == [("before", "amd64")]
    await hub.apply(wanted)
    assert hub.asked() == [], "it is as it should be"
    await hub.apply(replace(wanted, holds=(replace(hold, others=(R1, R2)),)))
    assert hub.asked() == ["apply DaemonSet parts-before-held"], "there is one more that it is held beside"


async def test_what_is_as_it_should_be_is_not_written() -> None:
    hub = Hub()
    wanted = plan(revisions=["amd64"], service=True, moves=[move(0)], events=[Event("Normal", "Canary", "It begins.")])
    assert await hub.apply(wanted)
    hub.asked()
    assert not await hub.apply(wanted)
    assert hub.asked() == []


async def test_a_daemonset_that_somebody_changed_is_applied_again() -> None:
    hub = Hub()
    await hub.apply(plan(revisions=["amd64"]))
    changed = hub.client.objects["DaemonSet", DS1] | {"spec": {"paused": True}}
    hub.objects.put(DAEMON_SET, hub.client.put(DAEMON_SET, changed))
    hub.asked()
    assert (await hub.apply(plan(revisions=["amd64"]))).applied == 1
    assert hub.asked() == [f"apply DaemonSet {DS1}"]
    hub.client.objects.pop(("DaemonSet", DS1))
    hub.objects.revisions.drop(("plant", DS1))
    await hub.apply(plan(revisions=["amd64"]))
    assert hub.asked() == [f"apply DaemonSet {DS1}"], "and one that somebody deleted"


REFUSALS = {
    QuotaExceeded: "QuotaExceeded",
    AdmissionDenied: "AdmissionDenied",
    Forbidden: "Forbidden",
    Invalid: "SpecInvalid",
    NameTaken: "NameTaken",
}


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("what", [f"apply DaemonSet {DS1}", JOB])
async def test_a_refusal_of_one_variant_stops_nothing_else_and_is_its_reason(kind: type[Stalled], what: str) -> None:
    hub = Hub()
    hub.client.refuse[what] = kind("It is refused.")
    wanted = plan(
        revisions=["amd64", "arm64"],
        moves=[move(0, R2), move(1, None, urgent=True)],
        records=[Keep("n2", "kept")],
        builds=["amd64", "arm64"],
        deletes=[Delete("DaemonSet", "old", "It is old.")],
        service=True,
    )
    assert {type(error) for error in await hub.refused(wanted)} == {kind}
    calls = hub.asked()
    for expected in (f"apply DaemonSet {DS2}", "mark n0", "mark n1", "mark n2", JOB, "apply Service parts"):
        assert expected in calls
    assert sum(call.startswith("create Job") for call in calls) == 2
    assert "delete DaemonSet old" in calls
    reason = REFUSALS[kind]
    assert hub.said == {
        "Ready": ("False", reason),
        "Stalled": ("True", reason),
        "BuildsReady": ("True", "Succeeded"),
    }, "not Reconciling beside Stalled"
    assert hub.variants == {"amd64": (reason, "It is refused."), "arm64": (None, "As planned.")}


async def test_no_node_is_moved_to_a_daemonset_that_was_refused() -> None:
    hub = Hub()
    hub.client.refuse[f"apply DaemonSet {DS1}"] = QuotaExceeded("It is refused.")
    await hub.refused(plan(revisions=["amd64"], moves=[move(0), move(1, None), move(2, "gone")]))
    assert [call for call in hub.asked() if "mark" in call] == ["mark n1"]


@pytest.mark.parametrize("what", [f"apply DaemonSet {DS1}", JOB, "apply Service parts", "delete Job done", "mark n0"])
async def test_the_status_is_steady_while_a_refusal_lasts(what: str) -> None:
    hub = Hub()
    hub.client.refuse[what] = Forbidden("It is refused.")
    wanted = plan(
        revisions=["amd64"],
        builds=["amd64"],
        moves=[move(0, None)],
        service=True,
        deletes=[Delete("Job", "done", "It is done.")],
    )
    await hub.refused(wanted)
    written = len(hub.client.statuses)
    assert hub.said["Stalled"] == ("True", "Forbidden")
    since = hub.client.statuses[-1]["conditions"]
    for later in range(1, 4):
        await hub.refused(wanted, NOW + timedelta(hours=later))
    assert (len(hub.client.statuses), hub.client.statuses[-1]["conditions"]) == (written, since)
    hub.client.refuse.clear()
    await hub.apply(wanted, NOW + timedelta(hours=5))
    assert len(hub.client.statuses) == written + 1
    assert "Stalled" not in hub.said
    await hub.apply(wanted, NOW + timedelta(hours=6))
    assert len(hub.client.statuses) == written + 1


async def test_several_refusals_are_one_message_and_the_first_ones_reason() -> None:
    hub = Hub()
    hub.client.refuse = {
        f"apply DaemonSet {DS1}": QuotaExceeded("One."),
        f"apply DaemonSet {DS2}": QuotaExceeded("One."),
        JOB: AdmissionDenied("Two."),
        "delete Job a": Forbidden("Three."),
        "delete Job b": Forbidden("Four."),
        "delete Job c": Forbidden("Five."),
    }
    deletes = [Delete("Job", name, "It is done.") for name in "abc"]
    await hub.refused(plan(revisions=["amd64", "arm64"], builds=["amd64"], deletes=deletes))
    ready = next(one for one in hub.client.statuses[-1]["conditions"] if one["type"] == "Ready")
    assert (ready["reason"], ready["message"]) == ("QuotaExceeded", "One. Two. Three. And 2 more.")
    assert ready["lastTransitionTime"] == "2030-01-01T12:00:00Z"


async def test_a_condition_that_turns_says_when() -> None:
    hub = Hub()
    fine = STATUS.model_copy(update={"conditions": (condition("Ready", reason="Succeeded"),)})
    await hub.apply(plan(status=fine))
    hub.client.refuse[JOB] = Forbidden("It is refused.")
    await hub.refused(plan(builds=["amd64"], status=fine), NOW + timedelta(hours=1))
    times = {one["type"]: one["lastTransitionTime"] for one in hub.client.statuses[-1]["conditions"]}
    assert times == {"Ready": "2030-01-01T13:00:00Z", "Stalled": "2030-01-01T13:00:00Z"}


async def test_what_can_succeed_later_is_not_the_users_to_change() -> None:
    hub = Hub()
    hub.client.refuse = {f"apply DaemonSet {DS1}": Forbidden("It is refused."), "mark n0": Unreachable("No answer.")}
    errors = await hub.refused(plan(revisions=["amd64", "arm64"], moves=[move(0, R2), move(1, R2)]))
    assert {type(error) for error in errors} == {Forbidden, Unreachable}
    assert "mark n1" in hub.asked()
    assert hub.said["Stalled"] == ("True", "Forbidden")
    hub = Hub()
    hub.client.refuse = {"mark n0": Unreachable("No answer.")}
    await hub.refused(plan(revisions=["amd64"], moves=[move(0)]))
    assert "Stalled" not in hub.said


async def test_nothing_is_moved_before_the_status_says_why() -> None:
    hub = Hub()
    hub.client.refuse["status"] = Unreachable("No answer.")
    with pytest.raises(Unreachable):
        await hub.apply(plan(revisions=["amd64"], moves=[move(0), move(1, None, urgent=True)], builds=["amd64"]))
    assert hub.asked() == [f"apply DaemonSet {DS1}", "status"]


async def test_one_pass_moves_so_many_nodes_forward_and_all_that_have_to_go_back() -> None:
    count = MOVES_PER_PASS + 30
    hub = Hub(nodes=2 * count)
    back = [move(number, None, urgent=True) for number in range(count)]
    onward = [move(number) for number in range(count, 2 * count)]
    done = await hub.apply(plan(revisions=["amd64"], moves=[*onward, *back]))
    assert (done.moves, done.left) == (count + MOVES_PER_PASS, True)
    marked = [call for call in hub.asked() if call.startswith("mark")]
    assert sorted(marked[:count]) == sorted(f"mark {one.node}" for one in back), "those first"
    assert hub.client.most_at_once == AT_ONCE
    done = await hub.apply(plan(revisions=["amd64"], moves=onward[MOVES_PER_PASS:]))
    assert (done.moves, done.left) == (30, False)


async def test_one_pass_writes_so_many_records() -> None:
    hub = Hub(nodes=RECORDS_PER_PASS + 5)
    kept = [Keep(f"n{number}", "kept") for number in range(RECORDS_PER_PASS + 5)]
    done = await hub.apply(plan(records=kept))
    assert (done.records, done.left, hub.client.most_at_once) == (RECORDS_PER_PASS, True, AT_ONCE)
    assert not (await hub.apply(plan(records=kept[:RECORDS_PER_PASS]))).left


async def test_moves_come_before_records_as_long_as_no_other_edge_model_waits_for_them() -> None:
    hub = Hub(nodes=RECORDS_PER_PASS + 1)
    kept = [Keep(f"n{number}", "kept") for number in range(RECORDS_PER_PASS)]
    moving = plan(revisions=["amd64"], moves=[move(RECORDS_PER_PASS)], records=kept)
    done = await hub.apply(moving)
    assert (done.records, done.left) == (RECORDS_BESIDE_MOVES, True)
    hub.others = (model(name="other"),)
    done = await hub.apply(moving)
    assert (done.records, done.left) == (RECORDS_PER_PASS, False)


async def test_calls_to_nodes_do_not_wait_for_the_slowest_of_those_before() -> None:
    hub = Hub(nodes=3 * AT_ONCE)
    hub.client.slow["mark n0"] = f"mark n{3 * AT_ONCE - 1}"
    async with asyncio.timeout(PATIENCE):
        done = await hub.apply(plan(records=[Keep(f"n{number}", "kept") for number in range(3 * AT_ONCE)]))
    assert done.records == 3 * AT_ONCE


async def test_a_node_that_is_gone_stops_nothing() -> None:
    hub = Hub(nodes=2)
    done = await hub.apply(
        plan(revisions=["amd64"], moves=[move(7), move(1)], records=[Keep("n8", None), Keep("n0", None)])
    )
    assert (done.moves, done.records) == (1, 1)
    await hub.applier.remove_marks("n9", LABEL)
    await hub.applier.remove_marks("n1", LABEL)
    assert hub.client.marks["n1"] == {"labels": {LABEL: None}, "record": None}


async def test_no_service_is_wanted_before_there_is_a_revision() -> None:
    hub = Hub()
    await hub.apply(plan())
    assert hub.asked() == ["status"]


async def test_events_are_recorded_once_the_status_is_written_and_a_lost_one_is_no_error() -> None:
    hub = Hub()
    begins, goes_on = Event("Normal", "Canary", "It begins."), Event("Normal", "RollingOut", "It goes on.")
    hub.client.refuse["event"] = Forbidden("No events.")
    assert (await hub.apply(plan(events=[begins, goes_on]))).events == 0
    assert hub.asked() == ["status", "event", "event"]
    assert (await hub.apply(plan(events=[begins]))).events == 0
    assert hub.asked() == []


@pytest.mark.parametrize("since", ["gone", "made anew", "unreadable"])
async def test_a_status_is_not_written_onto_another_of_its_name(since: str) -> None:
    """What was decided for a deleted one is not so for one that was made since: its revisions are not proven."""
    hub = Hub()
    raw = hub.client.objects["EdgeModel", "parts"] | {"status": {}}
    known = hub.objects.models.get("plant", "parts")
    assert known is not None
    seen = Snapshot(known, SETTINGS, (), (), (), (), (), {})
    hub.objects.remove(EDGE_MODEL, raw)
    if since != "gone":
        raw["metadata"] = raw["metadata"] | {"uid": "another", "resourceVersion": "200"}
        hub.objects.put(EDGE_MODEL, raw if since == "made anew" else raw | {"spec": {}})
    assert not (await hub.applier.apply(plan(), seen, NOW)).status
    assert hub.asked() == []
    assert hub.client.statuses == []


async def test_a_model_that_is_forgotten_is_applied_anew() -> None:
    hub = Hub()
    await hub.apply(plan(service=True))
    hub.applier.forget("plant", "parts")
    hub.asked()
    await hub.apply(plan(service=True))
    assert hub.asked() == ["get Service parts", "apply Service parts"]


async def test_a_deleted_daemonset_that_is_wanted_again_is_applied_again() -> None:
    hub = Hub()
    await hub.apply(plan(revisions=["amd64"]))
    await hub.apply(plan(deletes=[Delete("DaemonSet", DS1, "It is old.")]))
    hub.objects.revisions.drop(("plant", DS1))
    hub.asked()
    assert (await hub.apply(plan(revisions=["amd64"]))).applied == 1
    assert hub.asked() == [f"apply DaemonSet {DS1}"]


async def test_a_variants_own_refusal_does_not_outlive_it() -> None:
    hub = Hub()
    hub.client.refuse[JOB] = QuotaExceeded("It is refused.")
    await hub.refused(plan(builds=["amd64"]))
    without = replace(plan(), status=STATUS)
    await hub.apply(without)
    assert hub.variants["amd64"] == (None, "As planned.")


@pytest.mark.parametrize(("owner", "refused"), [("another", 0), ("u", 1)])
async def test_a_job_that_another_edgemodel_has_just_made_is_taken_for_its_own(owner: str, refused: int) -> None:
    """Two operators' passes, or two EdgeModels', start the same build at once: one of them comes second."""
    hub = Hub()
    name = JOB.rpartition(" ")[2]
    reference = {"uid": owner, "controller": True}
    metadata = {"name": name, "namespace": "plant", "ownerReferences": [reference], "labels": {BUILD_KEY_LABEL: "k"}}
    hub.client.put(KINDS["Job"], {"metadata": metadata})
    hub.client.refuse[JOB] = Conflict(f"making Job plant/{name} failed: it exists")
    done = await hub.apply(plan(builds=["amd64"]))
    assert (len(done.refusals), done.builds) == (refused, 0)
    assert [one for one, _ in hub.objects.jobs.of_group("plant", "k")] == [name] * (1 - refused)
