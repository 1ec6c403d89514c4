"""A device that changed compiles the model anew: the status says what was and is, and an event does once."""

from __future__ import annotations

from dataclasses import replace

from clusters import Cluster, three_nodes
from snapshots import said

from edgesmith.api.recompiled import Recompiled
from edgesmith.decide.plan import Event, Plan
from edgesmith.decide.snapshot import SelfTest

DRIVER = "the driver was 540.4.0 and is 550.1"
JETPACK = "Jetson Linux was 36.4.3 and is 36.5"


def serving() -> Cluster:
    """Three nodes that serve the first revision."""
    cluster = three_nodes()
    cluster.run(23)
    return cluster


def self_tested(cluster: Cluster, node: str, recompiled: str | None, *, passed: bool = True) -> None:
    """Its self-test runs once more."""
    test = SelfTest(passed, "Passed" if passed else "EngineFailed", "", p95_ms=1.0, recompiled=recompiled)
    cluster.pods[node] = replace(cluster.pods[node], selftest=test)


def told(plan: Plan) -> tuple[Recompiled, ...]:
    (variant,) = plan.status.variants
    return variant.recompiled


def events(plan: Plan) -> list[Event]:
    return [event for event in plan.events if event.reason == "Recompiled"]


def test_each_change_is_in_the_status_once_whatever_the_number_of_nodes_and_makes_nothing_unready() -> None:
    cluster = serving()
    assert told(cluster.run(1)) == ()
    for name, change in {"e1": DRIVER, "e2": DRIVER, "e3": JETPACK}.items():
        self_tested(cluster, name, change)
    plan = cluster.run(1)
    assert told(plan) == (Recompiled(change=JETPACK, node="e3", nodes=1), Recompiled(change=DRIVER, node="e1", nodes=2))
    assert [one.sentence for one in told(plan)] == [
        f"On e3 the model is compiled anew, since {JETPACK}.",
        f"On e1 and 1 more node the model is compiled anew, since {DRIVER}.",
    ]
    assert plan.status.variants[0].device_warnings == (), "it is no warning"
    assert said(plan)["Ready"] == ("True", "Succeeded")


def test_an_event_says_a_change_once_and_no_node_that_follows_says_it_again() -> None:
    cluster = serving()
    self_tested(cluster, "e2", DRIVER)
    (event,) = events(cluster.run(1))
    assert (event.type, event.message) == ("Normal", f"amd64: On e2 the model is compiled anew, since {DRIVER}.")
    self_tested(cluster, "e1", DRIVER)
    assert events(cluster.run(1)) == []
    self_tested(cluster, "e3", JETPACK)
    (event,) = events(cluster.run(1))
    assert JETPACK in event.message


def test_it_is_over_when_the_next_self_test_finds_its_engines_and_a_later_change_is_told_anew() -> None:
    cluster = serving()
    self_tested(cluster, "e1", DRIVER)
    assert told(cluster.run(1)) != ()
    self_tested(cluster, "e1", None)
    plan = cluster.run(1)
    assert (told(plan), events(plan)) == ((), [])
    self_tested(cluster, "e1", DRIVER)
    assert len(events(cluster.run(1))) == 1


def test_a_device_that_changed_and_fails_says_what_changed() -> None:
    cluster = serving()
    self_tested(cluster, "e1", JETPACK, passed=False)
    cluster.pods["e1"] = replace(cluster.pods["e1"], ready=False, waiting="CrashLoopBackOff", restarts=3)
    assert told(cluster.run(1)) == (Recompiled(change=JETPACK, node="e1", nodes=1),)
