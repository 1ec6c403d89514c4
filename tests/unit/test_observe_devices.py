"""How a node does whose server's device is not offered, or is offered again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from observations import (
    BAKING,
    DEADLINE,
    FAILED,
    SERVING,
    STARTING,
    TAINTED,
    observed,
    record,
    seconds,
    see,
    starting,
)
from snapshots import NOW, failed_selftest, pod

from edgesmith.decide.remaking import made_anew
from edgesmith.decide.snapshot import Pod, SelfTest

LACKS: dict[str, Any] = {"devices": {"squat.ai/edgetpu": 1}}
BACK: dict[str, Any] = LACKS | {"offers": {"squat.ai/edgetpu": 1}}
LOOPING = {"restarts": 5, "waiting": "CrashLoopBackOff"}


def test_a_server_that_goes_on_without_its_device_is_judged_as_any_other() -> None:
    kept = record(SERVING, ago=40)
    found = see(pod("n", "r"), kept=kept, allowed=BAKING, **LACKS)
    assert (found.state.server, found.state.movable, found.state.gone, found.state.away) == (
        SERVING,
        False,
        False,
        None,
    )
    assert found.record == kept, "its bake goes on"


@pytest.mark.parametrize("shown", [starting(), starting(**LOOPING), starting(selftest=failed_selftest())])
def test_a_server_without_its_device_has_no_deadline_and_does_not_fail(shown: Pod) -> None:
    kept = see(shown, kept=record(ago=200), after=10, **LACKS)
    assert (kept.state.server, kept.state.gone, kept.state.deadline) == (STARTING, True, None)
    assert kept.state.away == NOW + seconds(10)
    later = see(shown, kept=kept.record, after=5000, **LACKS)
    assert later.record == kept.record, "nothing is written while it is without"
    assert (later.state.server, later.state.away, dict(later.state.failures)) == (STARTING, NOW + seconds(10), {})
    back = see(shown, kept=kept.record, after=5010, **BACK)
    assert (back.state.server, back.state.movable) == (STARTING, True)
    assert back.state.deadline == NOW + seconds(5010) + DEADLINE
    late = see(shown, kept=back.record, after=5010 + DEADLINE.total_seconds(), **BACK)
    assert late.state.server is FAILED


def test_a_node_that_failed_and_then_lost_its_device_is_late_after_the_deadline() -> None:
    kept = record(FAILED, ago=3600).failed("did not become ready", "")
    gone = see(starting(), kept=kept, after=10, **LACKS)
    assert (gone.state.server, gone.state.unsteady, gone.state.late) == (FAILED, NOW + seconds(10), False)
    at = 10 + DEADLINE.total_seconds()
    assert not see(starting(), kept=gone.record, after=at - 1, **LACKS).state.late
    assert see(starting(), kept=gone.record, after=at, **LACKS).state.late


def test_the_next_start_with_the_device_is_judged() -> None:
    kept = observed(starting(**LOOPING), kept=record(ago=20), **LACKS)
    back = observed(starting(**LOOPING), kept=kept, after=10, **BACK)
    assert see(starting(**LOOPING | {"restarts": 6}), kept=back, after=20, **BACK).state.server is FAILED


def test_a_server_that_starts_without_its_device_is_excused_from_the_beginning() -> None:
    fresh = observed(starting(**LOOPING), kept=None, **LACKS)
    assert fresh.excused == fresh.run != ""
    assert see(starting(**LOOPING), kept=fresh, after=10, **BACK).state.server is STARTING


@pytest.mark.parametrize("now", [pod("n", "r", restarts=5), starting(restarts=6)])
def test_once_it_was_seen_with_its_device_nothing_is_excused_any_more(now: Pod) -> None:
    kept = observed(starting(**LOOPING), kept=record(ago=20), **LACKS)
    assert observed(starting(**LOOPING), kept=kept, after=10, **BACK).excused == kept.run
    assert observed(now, kept=kept, after=20, **BACK).excused == ""


def test_a_device_that_comes_and_goes_is_no_node_that_died() -> None:
    kept, runs = record(ago=20), iter(range(1, 9))
    for number in range(3):
        kept = observed(starting(restarts=next(runs)), kept=kept, after=number * 60, **LACKS)
        kept = observed(starting(restarts=next(runs)), kept=kept, after=number * 60 + 30, **BACK)
    assert (kept.deaths, kept.state) == (0, STARTING)


def test_what_failed_with_its_device_stays_failed_without() -> None:
    failed = observed(starting(selftest=failed_selftest()), kept=record(ago=20), **BACK)
    assert failed.state is FAILED
    gone = observed(starting(selftest=failed_selftest()), kept=failed, after=10, **LACKS)
    assert (gone.state, "r" in gone.failures) == (FAILED, True)


def unmade(name: str, reason: str = "CreateContainerError") -> Pod:
    """A pod that has passed its self-test and of which the kubelet cannot make the server."""
    return starting(name=name, waiting=reason, selftest=SelfTest(True, "Passed", ""))


@pytest.mark.parametrize("reason", ["CreateContainerError", "RunContainerError"])
def test_a_pod_whose_container_cannot_be_made_is_made_anew_and_the_next_one_has_all_its_time(reason: str) -> None:
    kept = record(ago=DEADLINE.total_seconds() - 1)
    found = see(unmade("one", reason), kept=kept, **BACK)
    assert (found.state.unmade, found.state.server, found.state.deadline) == ("one", STARTING, None)
    assert found.record is not None
    assert found.record.remade == 1
    again = see(unmade("one", reason), kept=found.record, after=5, **BACK)
    assert (again.state.unmade, again.record) == ("one", found.record), "it was not deleted, and is no other pod"
    following = see(starting(name="two"), kept=found.record, after=10, **BACK)
    assert (following.state.unmade, following.state.deadline) == ("", NOW + seconds(10) + DEADLINE)
    assert not following.state.failures
    assert observed(pod("n", "r", name="two"), kept=following.record, after=20, **BACK).remade == 0


def test_what_cannot_be_made_in_one_pod_after_the_other_is_not_the_devices() -> None:
    kept = record()
    names: list[str] = []
    for number in range(6):
        found = see(unmade(f"pod-{number}"), kept=kept, after=number * 10, **BACK)
        assert found.record is not None
        kept, names = found.record, [*names, found.state.unmade]
        assert see(unmade(f"pod-{number}"), kept=kept, after=number * 10 + 5, **BACK).state.unmade == names[-1]
    assert names == ["pod-0", "pod-1", "pod-2", "", "", ""]
    late = see(unmade("pod-5"), kept=kept, after=30 + DEADLINE.total_seconds(), **BACK)
    assert (late.state.server, late.state.unmade) == (FAILED, "")
    assert "CreateContainerError" in late.state.note


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="asks for none"),
        pytest.param(LACKS, id="not offered"),
        pytest.param(BACK | {"ready": False}, id="not ready"),
        pytest.param(BACK | {"taints": TAINTED}, id="no pod may start"),
    ],
)
def test_a_pod_is_not_made_anew_where_another_would_get_no_device(more: dict[str, Any]) -> None:
    found = see(unmade("one"), kept=record(), **more)
    assert (found.state.unmade, found.record and found.record.remade) == ("", 0)


def test_what_a_pod_found_out_counts_though_a_container_cannot_be_made() -> None:
    found = see(starting(waiting="CreateContainerError", selftest=failed_selftest()), kept=record(), **BACK)
    assert (found.state.server, found.state.unmade) == (FAILED, "")


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "CrashLoopBackOff", "CreateContainerConfigError"])
def test_what_another_pod_would_not_change_makes_none(reason: str) -> None:
    assert see(unmade("one", reason), kept=record(), **BACK).state.unmade == ""


def test_each_pod_goes_once_and_none_of_a_node_that_is_given_another_revision() -> None:
    states = [replace(see(unmade(f"pod-{name}"), kept=record(), **BACK).state, name=name) for name in "cab"]
    serves = see(pod("n", "r"), kept=record(), **BACK).state
    assert [(one.kind, one.name) for one in made_anew([*states, serves], {"b"})] == [("Pod", "pod-a"), ("Pod", "pod-c")]
