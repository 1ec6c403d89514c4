"""How a node does with what its label names: from its pods, its record and the hub's clock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from observations import (
    ALLOWED,
    BAKING,
    COMPLETED,
    DEADLINE,
    FAILED,
    NONE,
    SERVING,
    STARTING,
    TAINTED,
    observed,
    record,
    seconds,
    see,
    starting,
)
from snapshots import NOW, failed_selftest, node, pod

from edgesmith.decide.fleet import Failure, ServerState
from edgesmith.decide.placement import Placement
from edgesmith.decide.record import Record
from edgesmith.decide.snapshot import Pod

LATENCY, MEMORY = failed_selftest("LatencyExceeded", "p95 is 9 ms."), failed_selftest("MemoryExceeded", "It took 2 GB.")
BROKEN = failed_selftest("InternalError", "serve ended with KeyError: 'shape'")
FAILING = failed_selftest("ErrorRateExceeded", "60 of 90 requests failed.")
CASES: dict[str, tuple[list[Pod], ServerState, str]] = {
    "no pod yet": ([], STARTING, "has no pod of it yet"),
    "ready": ([pod("n", "r")], SERVING, ""),
    "ready after a self-test that failed once": ([pod("n", "r", selftest=failed_selftest())], SERVING, ""),
    "the probe does not pass yet": ([starting()], STARTING, "is starting: the readiness probe does not pass"),
    "unscheduled": (
        [starting(stage="its pod cannot be scheduled: 0/3 nodes: Insufficient memory")],
        STARTING,
        "is starting: its pod cannot be scheduled: 0/3 nodes: Insufficient memory",
    ),
    "in its self-test": (
        [starting(stage="its pod runs the init container selftest")],
        STARTING,
        "is starting: its pod runs the init container selftest",
    ),
    "waiting for its image": (
        [starting(stage="its pod waits for its images and volumes")],
        STARTING,
        "is starting: its pod waits for its images and volumes",
    ),
    "another revision's pod": ([pod("n", "old")], STARTING, "has no pod of it yet"),
    "on its way out": ([pod("n", "r", terminating=True)], STARTING, "has no pod of it yet"),
    "the newer of two": ([starting(name="a", age=900), pod("n", "r", name="b", age=30)], SERVING, ""),
    "many restarts, and running": (
        [starting(restarts=9)],
        STARTING,
        "is starting: the readiness probe does not pass",
    ),
    "a crash loop": (
        [starting(restarts=3, waiting="CrashLoopBackOff", waiting_message="back-off 40s.")],
        FAILED,
        "restarts again and again: CrashLoopBackOff: back-off 40s",
    ),
    "a second restart": (
        [starting(restarts=2, waiting="CrashLoopBackOff", waiting_message="back-off 20s")],
        STARTING,
        "is starting: CrashLoopBackOff: back-off 20s",
    ),
    "a Secret that is missing": (
        [starting(restarts=5, waiting="CreateContainerConfigError", waiting_message="secret not found")],
        STARTING,
        "is starting: CreateContainerConfigError: secret not found",
    ),
    "a self-test": (
        [starting(selftest=failed_selftest())],
        FAILED,
        "failed with GoldenMismatch: 3 of 8 golden samples differ",
    ),
    "a measurement, first try": (
        [starting(selftest=LATENCY)],
        STARTING,
        "failed with LatencyExceeded in try 1 of 3: p95 is 9 ms",
    ),
    "a measurement, second try": (
        [starting(selftest=replace(MEMORY, tries=2), restarts=1)],
        STARTING,
        "failed with MemoryExceeded in try 2 of 3: It took 2 GB",
    ),
    "a measurement, while the third try runs": (
        [starting(selftest=replace(LATENCY, tries=2), restarts=2)],
        STARTING,
        "failed with LatencyExceeded in try 2 of 3: p95 is 9 ms",
    ),
    "a measurement, third try": (
        [starting(selftest=replace(LATENCY, tries=3), restarts=2)],
        FAILED,
        "failed with LatencyExceeded: p95 is 9 ms",
    ),
    "a mistake of ours, in the first try": (
        [starting(selftest=BROKEN)],
        FAILED,
        "failed with InternalError: serve ended with KeyError: 'shape'",
    ),
    "a mistake of ours, while it is started anew": (
        [starting(selftest=BROKEN, restarts=1, waiting="CrashLoopBackOff", waiting_message="back-off 10s")],
        FAILED,
        "failed with InternalError: serve ended with KeyError: 'shape'",
    ),
    "a mistake of ours, and ready again": (
        [pod("n", "r", ended=BROKEN, restarts=1)],
        FAILED,
        "failed with InternalError: serve ended with KeyError: 'shape'",
    ),
    "a server whose requests failed": (
        [starting(selftest=FAILING)],
        FAILED,
        "failed with ErrorRateExceeded: 60 of 90 requests failed",
    ),
    "a server whose requests failed, and ready again": (
        [pod("n", "r", ended=FAILING, restarts=1)],
        FAILED,
        "failed with ErrorRateExceeded: 60 of 90 requests failed",
    ),
    "ready again after another end": ([pod("n", "r", ended=failed_selftest(), restarts=1)], SERVING, ""),
    **{
        f"pulling, {reason}": (
            [starting(waiting=reason, waiting_message="no route")],
            STARTING,
            f"cannot pull the image: {reason}: no route",
        )
        for reason in ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull")
    },
}


@pytest.mark.parametrize("case", CASES)
def test_a_node_with_a_label(case: str) -> None:
    pods, server, note = CASES[case]
    for age in (-1e6, 0, 1e8):
        found = see(*(replace(one, created=one.created - seconds(age)) for one in pods)).state
        assert (found.server, found.note) == (server, note), "whatever the device's clock says"
        assert found.pull_failed is note.startswith("cannot pull")
        assert found.deadline == (NOW + DEADLINE if server is STARTING else None)


@pytest.mark.parametrize(
    "reason", ["ErrorRateExceeded", "LatencyRatioExceeded", "ConfidenceDropExceeded", "InternalError"]
)
def test_a_server_that_judged_itself_or_broke_down_has_failed_until_its_revision_is_completed(reason: str) -> None:
    again = pod("n", "r", ended=failed_selftest(reason), restarts=1)
    found = see(again, kept=record(SERVING))
    assert found.state.server is FAILED
    assert found.record is not None
    assert found.record.failures["r"].note.startswith(f"failed with {reason}: ")
    assert see(again, kept=found.record).state.server is FAILED, "however often it is looked at"
    assert found.state.answers
    assert see(again, kept=record(SERVING), ready=False).state.answers  # as far as is known
    assert not see(starting(restarts=1, selftest=failed_selftest(reason)), kept=record(SERVING)).state.answers
    assert see(again, kept=record(SERVING), allowed=COMPLETED).state.server is SERVING


def test_a_retry_gives_a_server_that_judged_itself_another_try_where_its_pod_was_left() -> None:
    again = pod("n", "r", ended=FAILING, restarts=1)
    failed = see(again, kept=record(SERVING), attempt="1").record
    assert see(again, kept=failed, attempt="1").state.server is FAILED
    assert see(again, kept=failed, attempt="2").state.server is SERVING
    once_more = pod("n", "r", ended=FAILING, restarts=2)
    assert see(once_more, kept=failed, attempt="2").state.server is FAILED


@pytest.mark.parametrize(("label", "known"), [(None, False), ("r", False)])
def test_without_a_known_revision_a_node_has_no_server(label: str | None, known: bool) -> None:  # noqa: FBT001 -- a column of the table
    kept = record(SERVING, previous="p", failures={"r": Failure()})
    found = see(pod("n", "r"), kept=kept, label=label, known=known, foreign=True)
    assert (found.state.server, found.state.label, found.state.previous) == (NONE, label, "p")
    assert found.state.failures == {"r": Failure()}
    assert found.state.foreign
    assert found.record is kept


LATE = {
    "no pod": ([], "got no pod within spec.rollout.progressDeadline; the events of its DaemonSet say why"),
    "a probe": (
        [starting()],
        "did not become ready within spec.rollout.progressDeadline: the readiness probe does not pass",
    ),
    "an image": (
        [starting(waiting="ImagePullBackOff", waiting_message="no route")],
        "could not pull the image within spec.rollout.progressDeadline: ImagePullBackOff: no route",
    ),
    "a measurement": (
        [starting(selftest=LATENCY)],
        "did not become ready within spec.rollout.progressDeadline: p95 is 9 ms",
    ),
}


@pytest.mark.parametrize("case", LATE)
def test_the_deadline_is_the_hubs_and_counts_from_what_the_operator_saw_first(case: str) -> None:
    pods, note = LATE[case]
    kept = observed(*pods)
    before = see(*pods, kept=kept, after=299)
    assert (before.state.server, before.state.deadline) == (STARTING, NOW + DEADLINE)
    assert before.record == kept
    late = see(*pods, kept=kept, after=300)
    assert (late.state.server, late.state.note, late.state.deadline) == (FAILED, note, None)
    assert late.state.since == NOW + DEADLINE
    assert late.state.failures == {"r": Failure(note=note)}
    again = see(*pods, kept=late.record, after=900)
    assert again.record == late.record
    assert (again.state.server, again.state.note) == (FAILED, note)


def test_a_machine_that_died_shortly_before_the_deadline_is_lost_and_not_late() -> None:
    allowed = replace(ALLOWED, grace=seconds(50))
    kept = observed(starting(), allowed=allowed)
    taken_for_ready = see(starting(), kept=kept, after=349, allowed=allowed)
    assert (taken_for_ready.state.server, taken_for_ready.state.deadline) == (STARTING, NOW + DEADLINE + seconds(50))
    gone = see(starting(), kept=taken_for_ready.record, after=349, allowed=allowed, ready=False)
    assert (gone.state.server, gone.state.gone) == (STARTING, True)
    assert see(starting(), kept=gone.record, after=5000, allowed=allowed, ready=False).state.server is STARTING
    assert see(starting(), kept=kept, after=350, allowed=allowed).state.server is FAILED


def test_a_server_that_is_ready_at_the_last_moment_has_the_whole_bake() -> None:
    allowed = replace(BAKING, grace=seconds(50))
    kept = observed(starting(), allowed=allowed)
    ready = see(pod("n", "r"), kept=kept, after=349, allowed=allowed)
    assert ready.record is not None
    assert ready.record.moved == kept.moved, "its time is the one that it was given"
    for after in range(349, 420):
        assert see(pod("n", "r"), kept=ready.record, after=after, allowed=allowed).state.server is SERVING


def test_which_start_of_the_server_it_is_about_is_kept_up_to_date() -> None:
    run = observed(starting()).run
    assert observed(starting(), kept=record(run="")) == record(run=""), "a pod's first start is not worth a write"
    assert observed(pod("n", "r"), kept=record(run="")).run == run
    assert observed(starting(), kept=record(run=""), after=9000).run == run, "the deadline has passed"
    assert observed(starting(), kept=record(run=""), ready=False).run == run
    assert observed(starting(restarts=1), kept=record(run="")).run == observed(starting(restarts=1)).run
    again = observed(starting(restarts=4), kept=record())
    assert again == replace(record(), run=observed(starting(restarts=4)).run)
    assert observed(kept=record()).run == record().run


def test_a_node_that_failed_though_its_server_is_ready_stays_as_it_is_from_look_to_look() -> None:
    failed = see(pod("n", "r", restarts=2), kept=record(SERVING, deaths=2))
    again = see(pod("n", "r", restarts=2), kept=failed.record, after=60)
    assert (failed.state.server, failed.state.answers) == (FAILED, True)
    assert again.record == failed.record, "or it would be written down with every look, and that is one more event"
    assert again.state == failed.state
    stops = see(starting(restarts=2), kept=failed.record, after=60)
    assert (stops.state.server, stops.state.answers) == (FAILED, False)
    away = see(pod("n", "r", restarts=2), kept=failed.record, after=60, ready=False)
    assert (away.state.server, away.state.answers) == (FAILED, True)


def test_a_server_that_serves_has_not_failed_any_more() -> None:
    failures = {"r": Failure(), "x": Failure()}
    assert set(observed(pod("n", "r"), kept=record(SERVING, failures=failures)).failures) == {"x"}


def test_a_record_of_another_revision_says_nothing_of_the_server() -> None:
    kept = replace(record(SERVING), revision="x")
    assert (observed(pod("n", "r"), kept=kept).revision, observed(pod("n", "r"), kept=kept).since) == ("r", NOW)


def test_a_record_of_another_revision_keeps_what_the_node_is_known_for_and_no_time() -> None:
    failures = {"bad": Failure("1", note="failed")}
    kept = replace(
        record(SERVING, ago=9000, previous="p", failures=failures, deaths=2, restarts=2, doubtful=True), revision="old"
    )
    found = observed(pod("n", "r"), kept=kept)
    assert found == Record("r", SERVING, NOW, NOW, run=found.run, previous="p", failures=failures)


def test_a_taint_that_the_profile_does_not_tolerate_keeps_a_node_from_being_moved() -> None:
    found = see(pod("n", "r"), taints=TAINTED).state
    assert (found.ready, found.movable, found.taint) == (True, False, "maintenance:NoSchedule")
    assert found.away is None
    tolerations = [{"key": "maintenance", "operator": "Exists"}]
    assert see(pod("n", "r"), taints=TAINTED, tolerations=tolerations).state.movable


def test_a_later_retry_word_excuses_failures() -> None:
    failures = {"x": Failure("1"), "y": Failure("2")}
    kept = record(SERVING, failures=failures)
    assert set(see(pod("n", "r"), kept=kept).state.failures) == {"x", "y"}
    assert set(see(pod("n", "r"), kept=kept, attempt="2").state.failures) == {"y"}
    assert set(see(pod("n", "r"), kept=kept, attempt="3", label=None).state.failures) == set()
    failed = observed(starting(selftest=failed_selftest()), kept=record(), attempt="3")
    assert failed.failures["r"].attempt == "3"
    again = observed(starting(selftest=failed_selftest()), kept=failed, attempt="4")
    assert again.failures["r"].attempt == "3", "it answers the word there was when it failed"


def test_nothing_is_kept_of_a_node_that_serves_a_completed_revision() -> None:
    assert see(pod("n", "r"), allowed=COMPLETED).record is None
    kept = record(SERVING, ago=90)
    assert see(pod("n", "r"), kept=kept, allowed=COMPLETED).record is kept
    assert see(pod("n", "r"), kept=kept, allowed=COMPLETED, ready=False).record is kept, "its absence means nothing"
    stopped = see(starting(), allowed=COMPLETED, kept=kept).record
    assert stopped
    assert (stopped.state, stopped.since) == (STARTING, NOW)
    assert see(starting(), allowed=COMPLETED).record
    assert see(pod("n", "r"), allowed=ALLOWED).record


def test_a_node_whose_label_names_what_is_not_completed_is_unfinished() -> None:
    assert see(pod("n", "r")).state.unfinished
    assert not see(pod("n", "r"), allowed=COMPLETED).state.unfinished
    assert not see(label=None).state.unfinished


def test_a_nodes_labels_are_what_steps_select_by() -> None:
    assert see(pod("n", "r")).state.labels == node("n").labels


def test_a_node_is_well_that_can_be_moved_serves_and_has_failed_on_nothing() -> None:
    kept = record(SERVING, failures={"x": Failure()})
    assert see(pod("n", "r")).state.well
    assert not see(starting()).state.well
    assert not see(pod("n", "r"), ready=False).state.well
    assert not see(pod("n", "r"), taints=TAINTED).state.well
    assert not see(pod("n", "r"), devices={"squat.ai/edgetpu": 1}).state.well
    assert not see(pod("n", "r"), kept=kept).state.well


GONE_PODS = pod("n", "older", name="z", terminating=True)
SERVED = record(SERVING, ago=600)
ASIDE: dict[str, dict[str, Any]] = {
    "as its record says": {},
    "a node that is NotReady": {"ready": False},
    "a taint": {"taints": TAINTED},
    "a device that it offers": {"devices": {"a/b": 1}, "offers": {"a/b": 1}},
    "a device that it lacks": {"devices": {"a/b": 1}},
    "a revision that does not exist": {"known": False},
    "a bake": {"allowed": BAKING},
    "a completed revision": {"allowed": COMPLETED},
    "another start of its machine": {"kept": replace(SERVED, boot="before"), "boot": "other"},
    "a record of another revision": {"kept": replace(SERVED, revision="old")},
    "a record of another run": {"kept": replace(SERVED, run="000000/0")},
    "a record of a start": {"kept": replace(SERVED, state=STARTING)},
    "a record of an absence": {"kept": replace(SERVED, away=NOW - seconds(60))},
    "a record of a death": {"kept": replace(SERVED, deaths=1)},
    "a failure before": {"kept": replace(SERVED, failures={"r": Failure("1", broken=False, note="failed")})},
    "no record": {"kept": None},
    "a pod that is not ready": {"pods": [starting()]},
    "a pod of another revision": {"pods": [pod("n", "old", name="n-r")]},
    "a server beside that is gone": {"placed": Placement("r", "old")},
    "a pod that stages": {"pods": [pod("n", "r", staging=True)]},
    "a pod on its way out": {"pods": [pod("n", "r", terminating=True)]},
    "a server that ended itself before": {"pods": [pod("n", "r", ended=FAILING)]},
    "another profile's revision": {"foreign": True},
}


@pytest.mark.parametrize("aside", ASIDE.values(), ids=ASIDE)
def test_a_pod_that_ends_beside_changes_nothing(aside: dict[str, Any]) -> None:
    """A node with one pod is seen in a shorter way, where it serves as its record says."""
    facts = {"kept": SERVED} | aside
    pods = facts.pop("pods", [pod("n", "r")])
    assert see(*pods, **facts) == see(*pods, GONE_PODS, **facts)
