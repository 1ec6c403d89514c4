"""Since when a node has been without its pod."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from snapshots import NOW, node, pod, snapshot

from edgesmith.controller.podless import Podless
from edgesmith.decide.snapshot import Node, Pod, Snapshot
from edgesmith.decide.taints import Taint

KEY = ("plant", "parts")
LATER = NOW + timedelta(hours=1)


def seen(*pods: Pod, on: Node | None = None) -> Snapshot:
    return snapshot(nodes=(on or node("e1", revision="r"),), pods=pods)


def test_it_is_remembered_from_when_it_was_first_seen() -> None:
    memory = Podless()
    assert memory.look(KEY, seen(), NOW) == {"e1": NOW}
    assert memory.look(KEY, seen(), LATER) == {"e1": NOW}


def test_a_pod_that_served_for_days_and_is_deleted_starts_the_wait_when_it_is_gone() -> None:
    memory = Podless()
    assert memory.look(KEY, seen(pod("e1", "r")), NOW) == {}
    assert memory.look(KEY, seen(pod("e1", "r", terminating=True)), LATER) == {"e1": LATER}
    assert memory.look(KEY, seen(pod("e1", "r")), LATER) == {}


def test_another_revisions_pod_is_not_the_one() -> None:
    assert Podless().look(KEY, seen(pod("e1", "old")), NOW) == {"e1": NOW}


def test_the_wait_starts_anew_with_the_revision_the_taints_and_the_nodes_return() -> None:
    first = node("e1", revision="r")
    for changed in (
        node("e1", revision="s"),
        replace(first, taints=(Taint("maintenance", "", "NoSchedule"),)),
        replace(first, online_since=LATER),
    ):
        memory = Podless()
        memory.look(KEY, seen(on=first), NOW)
        assert memory.look(KEY, seen(on=changed), LATER) == {"e1": LATER}


def test_nodes_that_are_away_or_run_nothing_do_not_wait() -> None:
    assert Podless().look(KEY, seen(on=node("e1", online=False, revision="r")), NOW) == {}
    assert Podless().look(KEY, seen(on=node("e1")), NOW) == {}


def test_what_is_gone_is_forgotten() -> None:
    memory = Podless()
    memory.look(KEY, seen(), NOW)
    memory.forget(KEY)
    assert memory.look(KEY, seen(), LATER) == {"e1": LATER}
