"""How a node does with the revision that its label names: serving, on its way, or failed, and in which words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from edgesmith.decide.rollout import Health, NodeState
from edgesmith.decide.snapshot import Node, Pod
from edgesmith.decide.taints import closed_by

CRASH_LOOP_RESTARTS = 3
"""A container that waits in a back-off after so many restarts will not get ready by waiting longer.

The count alone says little: over months, a few restarts of the device itself add up to as many.
"""

PULL_REASONS = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"})
"""The kubelet's words for an image that it cannot get. It goes on trying, so only the deadline ends it."""


def node_state(
    node: Node,
    *,
    label: str | None,
    known: bool,
    pods: Iterable[Pod],
    podless_since: datetime | None = None,
    tolerations: Iterable[Mapping[str, Any]] = (),
    deadline: timedelta,
    now: datetime,
) -> NodeState:
    """Judge one node.

    Args:
        node: The node.
        label: The revision that its label names, or None.
        known: Whether that revision exists for the profile that the node is of.
        pods: Pods of the EdgeModel on this node.
        podless_since: Since when it has been seen without a pod of the revision; None where nobody has watched.
        tolerations: What its profile's pods tolerate.
        deadline: How long a pod may take to become ready while its node is reachable.
        now: The time.
    """
    state = _state(node, label=label, known=known, pods=pods, podless_since=podless_since, deadline=deadline, now=now)
    taint = closed_by(node.taints, tolerations)
    if taint is None or not node.online:
        return state
    note = f"carries taint {taint}, which the tolerations of its DeviceProfile leave out"
    return replace(state, online=False, closed=True, note=note, deadline=None)


def _state(
    node: Node,
    *,
    label: str | None,
    known: bool,
    pods: Iterable[Pod],
    podless_since: datetime | None,
    deadline: timedelta,
    now: datetime,
) -> NodeState:
    if label is None or not known:
        return NodeState(node.name, node.online, label, Health.IDLE)
    pod = max(
        (pod for pod in pods if pod.revision == label and not pod.terminating),
        key=lambda pod: (pod.created, pod.name),
        default=None,
    )
    if pod is None:
        return _without_pod(node, label, podless_since + deadline if podless_since else None, now)
    if pod.ready:
        return NodeState(node.name, node.online, label, Health.SERVING, since=pod.ready_since or pod.created)
    ends = max(filter(None, (pod.created, pod.unready_since, node.online_since))) + deadline
    pulling = pod.waiting in PULL_REASONS
    failure = _failure(pod, late=now >= ends)
    if failure:
        return NodeState(node.name, node.online, label, Health.FAILED, note=failure, pull_failed=pulling)
    note = f"cannot pull the image: {_waiting(pod)}" if pulling else "is starting"
    return NodeState(node.name, node.online, label, Health.STARTING, note=note, pull_failed=pulling, deadline=ends)


def _without_pod(node: Node, label: str, ends: datetime | None, now: datetime) -> NodeState:
    """A node whose pod the DaemonSet controller has not made, be it that a quota or an admission policy forbids it."""
    if ends and now >= ends:
        note = "got no pod within spec.rollout.progressDeadline; the events of its DaemonSet say why"
        return NodeState(node.name, node.online, label, Health.FAILED, note=note)
    return NodeState(node.name, node.online, label, Health.STARTING, note="has no pod of it yet", deadline=ends)


def _failure(pod: Pod, *, late: bool) -> str | None:
    """Why a pod that is not ready will not become ready, as the end of a sentence that begins with its node."""
    if pod.selftest and not pod.selftest.passed:
        return f"failed with {pod.selftest.reason}: {pod.selftest.message.rstrip('.')}"
    if pod.restarts >= CRASH_LOOP_RESTARTS and pod.waiting == "CrashLoopBackOff":
        return f"restarts again and again: {_waiting(pod)}"
    if late:
        pulling = pod.waiting in PULL_REASONS
        what = "could not pull the image" if pulling else "did not become ready"
        return f"{what} within spec.rollout.progressDeadline: {_waiting(pod)}"
    return None


def _waiting(pod: Pod) -> str:
    """The kubelet's words."""
    said = ": ".join(part for part in (pod.waiting, pod.waiting_message) if part)
    return (said or "the readiness probe does not pass").rstrip(".")
