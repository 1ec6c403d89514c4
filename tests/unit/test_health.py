"""How a node does with what its label names."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from snapshots import NOW, failed_selftest, node, pod

from edgesmith.decide.health import node_state
from edgesmith.decide.rollout import Health
from edgesmith.decide.snapshot import Pod
from edgesmith.decide.taints import Taint

DEADLINE = timedelta(minutes=5)


def starting(**more: Any) -> Pod:
    return pod("n", "r", ready=False, **({"age": 60} | more))


CASES: dict[str, tuple[list[Pod], Health, str]] = {
    "no pod yet": ([], Health.STARTING, "has no pod of it yet"),
    "ready": ([pod("n", "r")], Health.SERVING, ""),
    "ready after a self-test that failed once": ([pod("n", "r", selftest=failed_selftest())], Health.SERVING, ""),
    "young": ([starting()], Health.STARTING, "is starting"),
    "another revision's pod": ([pod("n", "old")], Health.STARTING, "has no pod of it yet"),
    "on its way out": ([pod("n", "r", terminating=True)], Health.STARTING, "has no pod of it yet"),
    "many restarts of the device, and running": ([starting(restarts=9)], Health.STARTING, "is starting"),
    "two restarts": ([starting(restarts=2)], Health.STARTING, "is starting"),
    "crash loop": (
        [starting(restarts=3, waiting="CrashLoopBackOff", waiting_message="back-off 40s")],
        Health.FAILED,
        "restarts again and again: CrashLoopBackOff: back-off 40s",
    ),
    "self-test": (
        [starting(selftest=failed_selftest())],
        Health.FAILED,
        "failed with GoldenMismatch: 3 of 8 golden samples differ",
    ),
    "pulling": (
        [starting(waiting="ErrImagePull", waiting_message="no route")],
        Health.STARTING,
        "cannot pull the image: ErrImagePull: no route",
    ),
    "late": (
        [starting(age=301)],
        Health.FAILED,
        "did not become ready within spec.rollout.progressDeadline: the readiness probe does not pass",
    ),
    "late and pulling": (
        [starting(age=301, waiting="ImagePullBackOff")],
        Health.FAILED,
        "could not pull the image within spec.rollout.progressDeadline: ImagePullBackOff",
    ),
    "old, and not ready for a moment": (
        [starting(age=9000, unready_since=NOW - timedelta(seconds=9))],
        Health.STARTING,
        "is starting",
    ),
    "the newer of two": ([starting(age=900), pod("n", "r", age=30)], Health.SERVING, ""),
}


@pytest.mark.parametrize("case", CASES)
def test_a_node_with_a_label(case: str) -> None:
    pods, health, note = CASES[case]
    state = node_state(node("n"), label="r", known=True, pods=pods, deadline=DEADLINE, now=NOW)
    assert (state.health, state.note) == (health, note)


def test_the_deadline_does_not_run_while_the_node_is_away() -> None:
    back = replace(node("n"), online_since=NOW - timedelta(seconds=10))
    state = node_state(back, label="r", known=True, pods=[starting(age=9000)], deadline=DEADLINE, now=NOW)
    assert state.health is Health.STARTING
    assert state.deadline == NOW + timedelta(seconds=290)


def test_a_node_that_gets_no_pod_has_failed_at_the_deadline() -> None:
    since = NOW - DEADLINE + timedelta(seconds=1)
    told: dict[str, Any] = {"label": "r", "known": True, "pods": [], "podless_since": since, "deadline": DEADLINE}
    state = node_state(node("n"), **told, now=NOW)
    assert (state.health, state.deadline) == (Health.STARTING, NOW + timedelta(seconds=1))
    late = node_state(node("n"), **told, now=NOW + timedelta(seconds=1))
    assert late.health is Health.FAILED
    assert late.note == "got no pod within spec.rollout.progressDeadline; the events of its DaemonSet say why"


def test_a_taint_that_the_profile_does_not_tolerate_closes_a_node() -> None:
    tainted = replace(node("n"), taints=(Taint("maintenance", "", "NoSchedule"),))
    closed = node_state(tainted, label="r", known=True, pods=[pod("n", "r")], deadline=DEADLINE, now=NOW)
    assert (closed.online, closed.closed, closed.health) == (False, True, Health.SERVING)
    assert closed.note == "carries taint maintenance:NoSchedule, which the tolerations of its DeviceProfile leave out"
    tolerated = node_state(
        tainted,
        label="r",
        known=True,
        pods=[pod("n", "r")],
        tolerations=[{"key": "maintenance", "operator": "Exists"}],
        deadline=DEADLINE,
        now=NOW,
    )
    assert (tolerated.online, tolerated.closed) == (True, False)


@pytest.mark.parametrize(("label", "known"), [(None, False), ("r", False)])
def test_without_a_known_revision_a_node_is_idle(label: str | None, known: bool) -> None:  # noqa: FBT001 -- a column of the table
    pods = [pod("n", "r")]
    assert node_state(node("n"), label=label, known=known, pods=pods, deadline=DEADLINE, now=NOW).health is Health.IDLE
