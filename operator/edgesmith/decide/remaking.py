"""Pods that are made anew, since what they were given of their node's device is gone.

A kubelet gives a pod its device files once, to its self-test and its server alike, and a container that is made later
gets the same ones. A device that gets another address meanwhile takes its file with it: a Coral stick does at its first
use, which is the self-test. So the server's container cannot be made, however often the kubelet tries; the pod after
this one gets the device as it is now. The revision is not to blame, a few times.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from edgesmith.decide.allowance import Terms
from edgesmith.decide.fleet import NodeState
from edgesmith.decide.plan import Delete
from edgesmith.decide.record import Record
from edgesmith.decide.server import Server

TRIES = 3
"""How often a pod is made anew before a server is ready. Plugins look every few seconds at what is there, so the next
pod may be given the old file once more; what keeps a container from being made after that is not the device."""


def unmade(seen: Server, terms: Terms, record: Record | None, *, able: bool) -> Server:
    """A server whose pod is to be made anew, excused; of any other, nothing is said of that.

    Args:
        seen: What its pod shows.
        terms: What holds for its node.
        record: What was kept of that.
        able: Whether another pod may start there now, and its device is offered.
    """
    if not seen.unmade:
        return seen
    known = record if record and record.revision == terms.label else None
    tries = known.remade - (known.excused == seen.run) if known else 0
    if able and terms.devices and tries < TRIES:
        return seen._replace(excused=True)
    return seen._replace(unmade="")


def tries_of(record: Record, seen: Server) -> int:
    """How often the pod of a node was made anew since a server was ready there, this time included."""
    return record.remade + (bool(seen.unmade) and record.excused != seen.run)


def made_anew(states: Iterable[NodeState], moved: Collection[str]) -> tuple[Delete, ...]:
    """The pods that go, so that their DaemonSets make others.

    Args:
        states: The nodes.
        moved: Those that are given another revision now, which ends their pods by itself.
    """
    return tuple(
        Delete(
            "Pod",
            one.unmade,
            f"A container of it cannot be made on node {one.name}, which offers the device that it asks for: another "
            "pod is given the device as it is now.",
        )
        for one in sorted(states, key=lambda state: state.name)
        if one.unmade and one.name not in moved
    )
