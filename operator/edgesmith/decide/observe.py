"""How a node does with the revision that its label names, and what is to be kept of that in its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from edgesmith.api.names import short_hash
from edgesmith.decide.allowance import DEATHS, RESTARTS, Allowance, Terms
from edgesmith.decide.devices import Shortage, shortage
from edgesmith.decide.fleet import Failure, NodeState, ServerState
from edgesmith.decide.placement import Placement
from edgesmith.decide.record import Record, new_record
from edgesmith.decide.remaking import tries_of, unmade
from edgesmith.decide.server import NO_SERVER, SERVERS_KEPT, Server, ready_server, server_of
from edgesmith.decide.snapshot import Node, Pod
from edgesmith.decide.taints import Taint, keeping_taint

_ALONE = Placement(None)


class Observation(NamedTuple):
    """A node as the planner sees it, and the record that says so."""

    state: NodeState
    record: Record | None
    """None where nothing needs to be kept."""
    boot: str
    """Which start of its machine it is in, as records have it; empty where it is away, or does not say."""


class _Machine(NamedTuple):
    """What a node says of itself, whatever runs there."""

    taint: Taint | None
    """Why the profile's pods would not be put there."""
    lacks: Shortage | None
    """The devices that they ask for and it does not offer."""
    boot: str


class _Found(NamedTuple):
    """What is seen of a node's server, and what is kept of it."""

    server: Server
    record: Record | None
    ended: str
    """Why it has failed; empty where it has not."""
    blocked: bool
    """Whether it is not judged at the moment."""


def observe(
    node: Node, terms: Terms, pods: Sequence[Pod], record: Record | None, placed: Placement = _ALONE
) -> Observation:
    """Judge one node.

    Args:
        node: The node.
        terms: What holds for it and others like it.
        pods: Pods of the EdgeModel on this node.
        record: What was kept of it.
        placed: What its labels say, where it makes the revision of `terms` ready beside another one.
    """
    if steady := _steady(node, terms, pods, record, placed):
        return steady
    machine = _machine(node, terms)
    taint, lacks, boot = machine
    label, allowed = terms.label, terms.allowed
    seen, kept, ended, blocked = _found(node, terms, pods, record, placed, machine=machine)
    current = kept if kept and seen is not NO_SERVER else None
    server, staged = _doing(current)
    has_deadline = server is ServerState.STARTING and not (blocked or staged)
    unfinished = current is not None and allowed.unfinished
    gone = not node.ready or (lacks is not None and server is not ServerState.SERVING)
    state = NodeState(
        node.name,
        node.ready,
        label,
        server,
        since=current.since if current else None,
        moved=current.moved if current else None,
        away=(current and current.away) or _went(node, terms.now) if gone else None,
        unsteady=current.unsteady if current else None,
        late=(gone or server is ServerState.STARTING) and _is_overdue(current, terms),
        note=ended or seen.note,
        fetching=server is ServerState.STARTING and not (staged or seen.pulled),
        pull_failed=seen.pulling and server is not ServerState.SERVING,
        deadline=current.since + allowed.patience if current and has_deadline else None,
        taint=str(taint) if taint else "",
        failures=_standing(kept.failures, terms.attempt) if kept and kept.failures else {},
        previous=kept.previous if kept else None,
        foreign=terms.foreign,
        unfinished=unfinished,
        labels=node.labels,
        shortage=lacks,
        beside=placed.beside,
        beside_serving=placed.beside is not None and placed.serving(pods),
        staged=staged,
        full=kept.full if kept else None,
        lacks=seen.lacks,
        unmade=seen.unmade,
        answers=server is ServerState.FAILED and _is_ready(seen),
        shaky=unfinished and current is not None and current.went,
    )
    quiet = record is None and state.serving and not allowed.unfinished
    return Observation(state, None if quiet else kept, boot if node.ready else "")


def _machine(node: Node, terms: Terms) -> _Machine:
    """What a node says of itself."""
    return _Machine(
        keeping_taint(node.taints, terms.tolerations) if node.taints else None,
        shortage(terms.devices, node.offers) if terms.devices else None,
        _start(node.boot) if node.boot else "",
    )


def _found(
    node: Node, terms: Terms, pods: Sequence[Pod], record: Record | None, placed: Placement, *, machine: _Machine
) -> _Found:
    """What is to be known of the node's server; see `observe`."""
    blocked = not node.ready or machine.taint is not None
    if terms.label is None or not terms.known:
        return _Found(NO_SERVER, record, "", blocked)
    seen = _shown(server_of(terms.label, pods, staging=placed.staging), terms, record, machine.lacks)
    seen = unmade(seen, terms, record, able=not blocked and machine.lacks is None)
    blocked = blocked or seen.excused or bool(seen.lacks)
    if not blocked and record is not None and _goes_on(record, seen, terms, machine.boot):
        return _Found(seen, record, "", blocked)
    kept, ended = _judged(record, terms.label, seen, terms, blocked=blocked, boot=machine.boot)
    if kept.away and not node.ready and (record is None or record.away is None):
        kept = _gone(kept, node.unheard, terms.now)
    return _Found(seen, kept if kept is record else _wavered(record, kept, terms.allowed, terms.now), ended, blocked)


def _is_overdue(record: Record | None, terms: Terms) -> bool:
    """Whether a node came and went for the first time `progressDeadline` ago."""
    if record is None or record.unsteady is None:
        return False
    return terms.now - record.unsteady >= terms.allowed.deadline


def _steady(
    node: Node, terms: Terms, pods: Sequence[Pod], record: Record | None, placed: Placement
) -> Observation | None:
    """A node that serves as its record says, with nothing of its own that has to be looked at; None for all others.

    Most are so in most passes. What `observe` says of one is the same, at more than twice the cost.
    """
    if record is None or len(pods) != 1 or placed.beside is not None or not terms.known:
        return None
    if not node.ready or node.taints or (terms.devices and shortage(terms.devices, node.offers)):
        return None
    (pod,) = pods
    if pod.revision != terms.label or not pod.ready or pod.terminating or pod.staging or pod.ended is not None:
        return None
    boot = _start(node.boot) if node.boot else ""
    if not _goes_on(record, ready_server(pod.name, pod.restarts), terms, boot):
        return None
    state = NodeState(
        node.name,
        True,
        terms.label,
        ServerState.SERVING,
        record.since,
        record.moved,
        unsteady=record.unsteady,
        failures=record.failures,
        previous=record.previous,
        foreign=terms.foreign,
        unfinished=terms.allowed.unfinished,
        labels=node.labels,
        shaky=terms.allowed.unfinished and record.went,
    )
    return Observation(state, record, boot)


@lru_cache(maxsize=SERVERS_KEPT)
def _start(boot: str) -> str:
    """Which start of a machine it is, as records have it."""
    return short_hash(boot, 6)


def _shown(seen: Server, terms: Terms, record: Record | None, lacks: Shortage | None) -> Server:
    """What a pod shows of the revision: its own end counts against that, and the lack of a device does not."""
    if seen.ended and terms.allowed.unfinished and not _answered(record, seen, terms):
        seen = seen._replace(state=ServerState.FAILED, note=seen.ended)
    if seen.state is not ServerState.SERVING and (lacks or (record and record.excused)):
        return _excused(seen, lacks, record)
    return seen


def _answered(record: Record | None, seen: Server, terms: Terms) -> bool:
    """Whether the run that ended itself failed before the retry that its pod is now an answer to."""
    failed = record.failures.get(terms.label or "") if record and record.run == seen.run else None
    return failed is not None and bool(terms.attempt) and failed.attempt != terms.attempt


def _excused(seen: Server, lacks: Shortage | None, record: Record | None) -> Server:
    """A server that is not ready, without what it is not to blame for: its run is, or was, without its device."""
    if lacks is None and (record is None or record.excused != seen.run):
        return seen
    state = ServerState.STARTING if seen.state is ServerState.FAILED else seen.state
    return seen._replace(state=state, excused=lacks is not None)


def _goes_on(record: Record, seen: Server, terms: Terms, boot: str) -> bool:
    """Whether a server that is reachable serves as its record says, with nothing to be judged by time.

    Most do, and then the record stays as it is; `_judged` would say the same, at several times the cost.
    """
    return (
        seen.run == record.run
        and seen.state is record.state is ServerState.SERVING
        and record.revision == terms.label
        and not _rebooted(record, boot)
        and record.away is None
        and not record.deaths
        and not record.failures
        and record.full is None
        and terms.allowed.bake is None
    )


def _rebooted(record: Record, boot: str) -> bool:
    """Whether the machine was started since the record was made, though it may never have been seen to be away."""
    return bool(record.boot and boot) and record.boot != boot


def _doing(record: Record | None) -> tuple[ServerState, bool]:
    """How a node does by its record, and whether it is staged, which is a way of starting."""
    if record is None:
        return ServerState.NONE, False
    staged = record.state is ServerState.STAGED
    return ServerState.STARTING if staged else record.state, staged


def _looked(kept: Record, seen: Server) -> Record:
    """The record without what its disk lacked, where what it was given is pulled: it has had room since."""
    return replace(kept, full=None) if kept.full and kept.full.revision == kept.revision and seen.pulled else kept


def _is_ready(seen: Server) -> bool:
    """Whether a server is ready, whatever is said of it: one that ended itself is ready again, and counts as failed."""
    return seen.state is ServerState.SERVING or bool(seen.ended)


def _judged(
    record: Record | None, label: str, seen: Server, terms: Terms, *, blocked: bool, boot: str
) -> tuple[Record, str]:
    """The record as it is after this pass, and why the node has failed where it has."""
    now = terms.now
    kept = _seen(record, label, seen, blocked=blocked, boot=boot, allowed=terms.allowed, now=now)
    ended = _ended(kept, seen, blocked=blocked, allowed=terms.allowed, now=now) or ""
    if ended:
        had = record is not None and record.revision == label and record.state is ServerState.FAILED
        kept = replace(
            kept, state=ServerState.FAILED, since=record.since if record and had else now, run=seen.run or kept.run
        )
        if not had or label not in kept.failures:
            kept = kept.failed(ended, terms.attempt)
    elif kept.state is ServerState.SERVING and label in kept.failures:
        kept = replace(kept, failures={key: one for key, one in kept.failures.items() if key != label})
    return _looked(kept, seen), ended


def _gone(kept: Record, unheard: datetime | None, now: datetime) -> Record:
    """The record of a node that is seen NotReady for the first time.

    Nobody may have looked for long: what its server did in that time is no bake, so the node went when the node
    controller said so, not now. Where nobody can say when, nothing is known of the server since it was last seen.
    """
    if unheard is None:
        return replace(kept, since=now) if kept.state is ServerState.SERVING else kept
    return replace(kept, away=min(max(unheard, kept.moved), now))


def _went(node: Node, now: datetime) -> datetime:
    """When a node went of which nothing needs to be kept, as far as anybody can say."""
    return min(node.unheard, now) if node.unheard else now


def _wavered(record: Record | None, kept: Record, allowed: Allowance, now: datetime) -> Record:
    """The record with when its node went first: what it has made of its time is counted from there, not from now."""
    went = kept.away
    if record is not None and record.revision == kept.revision:
        served = record.away is None and record.state is ServerState.SERVING
        settled = served and now - record.since >= allowed.steady
        before = None if settled else record.unsteady or record.away
        went = before or went or (now if _rebooted(record, kept.boot) else None)
    return kept if kept.unsteady == went else replace(kept, unsteady=went)


def _standing(failures: Mapping[str, Failure], attempt: str) -> Mapping[str, Failure]:
    """Failures that a later value of the retry annotation does not answer."""
    return {key: one for key, one in failures.items() if not attempt or one.attempt == attempt}


def _seen(
    record: Record | None, label: str, seen: Server, *, blocked: bool, boot: str, allowed: Allowance, now: datetime
) -> Record:
    """The record with what the pod shows, before anything is judged by time."""
    if record is None or record.revision != label:
        fresh = new_record(label, seen.state, now)
        kept = replace(fresh, failures=record.failures, previous=record.previous) if record else fresh
        excused = seen.run if seen.excused else ""
        away = now if blocked and allowed.unfinished else None
        return replace(kept, run=seen.run, boot=boot, away=away, excused=excused, remade=tries_of(kept, seen))
    rebooted = _rebooted(record, boot)
    known = boot if boot and not blocked else record.boot  # a start that ends an absence is told once, at its end
    same_boot = known == record.boot
    if seen.run == record.run and seen.state is record.state and record.away is None and same_boot and not blocked:
        return record
    back = (record.away is not None or rebooted) and not blocked
    pod, _, restarts = seen.run.partition("/")
    was_pod, _, was_restarts = record.run.partition("/")
    same_pod = not record.run or not seen.run or pod == was_pod
    restarted = bool(record.run and seen.run and same_pod and restarts != was_restarts)
    # A kubelet says that it is back before it says that it has started its pods anew.
    returned = now if back and not record.excused else record.returned
    died = restarted and returned is not None and now - returned < allowed.deadline
    deaths, returned = (record.deaths + 1, None) if died else (record.deaths, returned)
    state = seen.state
    # A node that is away is not judged, so what was found against it stands until it is back.
    stands = state is ServerState.STARTING or (blocked and state is ServerState.SERVING)
    if record.state is ServerState.FAILED and stands and same_pod and not back:
        state = ServerState.FAILED
    same = state is record.state and not (state is ServerState.SERVING and (restarted or not same_pod))
    # A server that still started at its deadline would have failed there: nobody looked, and its time begins anew.
    started = record.state is ServerState.STARTING and state is ServerState.SERVING
    unseen = started and now - record.since >= allowed.patience
    # What happened while nobody could see it proves nothing, so a bake begins anew as well.
    begins = not same or back
    # So does that of one which had served for the bake, a few times: it has shown before what it has to show again.
    held = record.state is ServerState.SERVING and allowed.held(record.since, now)
    again = held and begins and not (back or blocked) and record.restarts < RESTARTS
    away = (record.away or now) if blocked and (allowed.unfinished or state is not ServerState.SERVING) else None
    run = seen.run or record.run
    still = record.excused == run and state is not ServerState.SERVING
    excused = run if seen.excused else record.excused if still else ""
    remade = 0 if state is ServerState.SERVING else tries_of(record, seen)
    unchanged = (away, deaths, excused, remade) == (record.away, record.deaths, record.excused, record.remade)
    if not begins and same_boot and unchanged and (run == record.run or _first(record, seen)):
        return record
    return replace(
        record,
        state=state,
        since=now if begins else record.since,
        moved=now if back or unseen or again else record.moved,
        away=away,
        returned=returned,
        run=run,
        boot=known,
        deaths=deaths,
        restarts=record.restarts + again,
        excused=excused,
        remade=remade,
    )


def _first(record: Record, seen: Server) -> bool:
    """Whether a server is in the first start of its pod, and not ready.

    That is not worth a write for each node: it is written with whatever happens to the node next.
    """
    return not record.run and seen.state is ServerState.STARTING and seen.run.endswith("/0")


def _ended(kept: Record, seen: Server, *, blocked: bool, allowed: Allowance, now: datetime) -> str | None:
    """Why a node has failed on its revision, or None."""
    if kept.state is ServerState.FAILED:
        standing = kept.failures.get(kept.revision)
        return seen.note if seen.state is ServerState.FAILED else standing.note if standing else seen.note
    if blocked:
        return None
    if kept.deaths >= DEATHS and allowed.unfinished:
        return f"went down and came back with its server started anew {kept.deaths} times"
    if kept.state is ServerState.STARTING and now - kept.since >= allowed.patience:
        return _late(seen)
    if kept.state is ServerState.SERVING and allowed.bake is not None:
        in_time = now - kept.moved < allowed.patience + allowed.bake
        if not in_time and now - kept.since < allowed.bake:
            return "restarted its server so often that it did not serve for the bake of the rollout's step"
    return None


def _late(seen: Server) -> str:
    if not seen.run:
        return "got no pod within spec.rollout.progressDeadline; the events of its DaemonSet say why"
    what = "could not pull the image" if seen.pulling else "did not become ready"
    words = seen.note.partition(": ")[2] or seen.note
    return f"{what} within spec.rollout.progressDeadline: {words}"
