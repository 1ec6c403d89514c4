"""The server of a node as its pods show it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from edgesmith.api.names import short_hash
from edgesmith.decide.fleet import ServerState
from edgesmith.decide.snapshot import Pod, SelfTest

CRASH_LOOP_RESTARTS = 3
"""A container that waits in a back-off after so many restarts will not get ready by waiting longer.

The count alone says little: over months, a few restarts of the device itself add up to as many.
"""

MEASURED_TRIES = 3
"""Tries of the self-test before a measurement counts as failed: the first runs beside the server that is ending."""

MEASURED = frozenset({"LatencyExceeded", "MemoryExceeded"})

REMEMBERED = frozenset({"ErrorRateExceeded", "LatencyRatioExceeded", "ConfidenceDropExceeded", "InternalError"})
"""What counts until a revision is completed though its server was started anew and is ready again."""

SERVERS_KEPT = 16384
"""Ready servers that are kept, for speed alone: most are the same in every pass. Some 5 MB at most."""

PULL_REASONS = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"})
"""The kubelet's words for an image that it cannot get. It goes on trying, so only the deadline ends it."""

UNMADE_REASONS = frozenset({"CreateContainerError", "RunContainerError"})
"""The kubelet's words for a container that its runtime cannot make. A pod keeps the device files that it was given, so
where one of them is gone the kubelet goes on trying in vain, and only another pod gets those that are there now."""


class Server(NamedTuple):
    """The server on a node as its pod shows it."""

    state: ServerState
    note: str = ""
    pulling: bool = False
    run: str = ""
    excused: bool = False
    """Whether it is without its device, and so shows nothing."""
    ended: str = ""
    """Why its run before this one, in which it is ready again, ended itself."""
    pulled: bool = True
    """Whether its image is on the node."""
    unmade: str = ""
    """The pod, where a container of it cannot be made; empty where none is known."""
    lacks: str = ""
    """What the node's disk lacks for the image, as the end of a sentence; empty where that was not found."""


NO_SERVER = Server(ServerState.NONE)


def server_of(label: str, pods: Iterable[Pod], *, staging: bool) -> Server:
    """What the newest pod of the revision shows: its server, or the one that stages it."""
    newest = None
    for pod in pods:
        own = pod.revision == label and not pod.terminating and pod.staging is staging
        if own and (newest is None or (pod.created, pod.name) > (newest.created, newest.name)):
            newest = pod
    if newest is None:
        return Server(ServerState.STARTING, "has no pod of it yet", pulled=False)
    if newest.ready and staging:
        return Server(ServerState.STAGED, "waits for the old server to end", run=_run(newest.name, newest.restarts))
    if not newest.ready:
        return _unready(newest)
    ready = ready_server(newest.name, newest.restarts)
    said = newest.ended
    return ready._replace(ended=_failed_with(said)) if said and said.reason in REMEMBERED else ready


@lru_cache(maxsize=SERVERS_KEPT)
def ready_server(pod: str, restarts: int) -> Server:
    """A server whose pod is ready."""
    return Server(ServerState.SERVING, run=_run(pod, restarts))


def _failed_with(said: SelfTest) -> str:
    """What a container found out, as the end of a sentence that begins with its node."""
    return f"failed with {said.reason}: {said.message.rstrip('.')}"


def _unready(pod: Pod) -> Server:
    """What a pod that is not ready shows."""
    run = _run(pod.name, pod.restarts)
    pulling = pod.waiting in PULL_REASONS
    if pod.lacks:
        words = f"does not pull the image: {pod.lacks}"
        return Server(ServerState.STARTING, words, run=run, pulled=False, lacks=pod.lacks)
    failure = _failure(pod)
    if failure:
        return Server(ServerState.FAILED, failure, pulling, run)
    unmade = pod.name if pod.waiting in UNMADE_REASONS else ""
    return Server(ServerState.STARTING, _awaited(pod), pulling, run, pulled=pod.pulled, unmade=unmade)


def _run(pod: str, restarts: int) -> str:
    """Which start of a server it is."""
    return f"{short_hash(pod, 6)}/{restarts}"


def _failure(pod: Pod) -> str | None:
    """Why a pod will not become ready, as the end of a sentence that begins with its node."""
    test = pod.selftest
    if test and not test.passed and (test.reason not in MEASURED or test.tries >= MEASURED_TRIES):
        return _failed_with(test)
    if pod.restarts >= CRASH_LOOP_RESTARTS and pod.waiting == "CrashLoopBackOff":
        return f"restarts again and again: {_kubelet(pod)}"
    return None


def _awaited(pod: Pod) -> str:
    """What a pod that is not ready waits for, as the end of a sentence that begins with its node."""
    test = pod.selftest
    if test and not test.passed:
        return f"failed with {test.reason} in try {test.tries} of {MEASURED_TRIES}: {test.message.rstrip('.')}"
    if pod.waiting in PULL_REASONS:
        return f"cannot pull the image: {_kubelet(pod)}"
    if pod.waiting:
        return f"is starting: {_kubelet(pod)}"
    return f"is starting: {pod.stage}"


def _kubelet(pod: Pod) -> str:
    """The kubelet's words."""
    return ": ".join(part for part in (pod.waiting, pod.waiting_message) if part).rstrip(".")
