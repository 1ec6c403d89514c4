"""Build and resolve Jobs and their pods as decisions know them. Pure; every field is checked."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from edgesmith.api.names import (
    ASKED_ANNOTATION,
    ATTEMPT_ANNOTATION,
    BUILD_KEY_LABEL,
    BUILD_REASON_ANNOTATION,
    MODEL_LABEL,
    NUMBER_ANNOTATION,
    PROFILE_LABEL,
    REQUEST_ANNOTATION,
    RESOLVE_LABEL,
    TRIES_ANNOTATION,
)
from edgesmith.cluster.fields import Raw, at, json_object, last_json_line, mapping, mappings, number, text, time_of
from edgesmith.cluster.parse import annotations_of, labels_of, termination_messages
from edgesmith.cluster.pulling import pull_cause
from edgesmith.decide.plan import Change
from edgesmith.decide.server import PULL_REASONS
from edgesmith.decide.snapshot import BuildJob, ResolveJob
from edgesmith_builder.contract import BuildFailure, BuildResult, ResolveResult

AnyJob = TypeVar("AnyJob", BuildJob, ResolveJob)

JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
"""Set by the Job controller on a Job's pods."""

_LACKS_SECRET = "CreateContainerConfigError"  # noqa: S105 -- a reason, no password
"""The kubelet's reason for a container whose environment names a Secret, or a key of one, that is not there."""

_CANNOT_START = {
    _LACKS_SECRET,
    "CreateContainerError",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
}


_DEADLINE = "DeadlineExceeded"
"""The kubelet's reason for a pod that it ended by `spec.activeDeadlineSeconds`."""

_NEVER_SEEN = "ContainerStatusUnknown"
"""The kubelet's reason for a container that it reports as ended without having seen it, with no time of its start."""

_SIGNALLED = 128
"""What container runtimes add to the number of the signal that ended a process, for its exit code."""


@dataclass(frozen=True, slots=True)
class BuildPod:
    """One try of a build or resolve Job."""

    name: str
    uid: str
    job: str
    created: str
    pending: bool
    """It has a node and no container of it has started yet."""
    ran: bool
    """A container of it ran, or runs."""
    blocked: bool
    """It waits for a Secret or for a key of one."""
    overdue: bool
    """The kubelet ended it by its deadline."""
    digest: str | None
    """`sha256:HEX` of the image that its builder pushed or found."""
    made: bool
    """Whether its builder made that image."""
    found: ResolveResult | None
    """What its builder found at URIs."""
    failure: BuildFailure | None
    problem: str | None
    """Why it cannot start, or how it was ended, in the kubelet's words."""


def job(raw: Raw) -> BuildJob:
    """A build Job, without its pods' words."""
    labels = labels_of(raw)
    return BuildJob(
        key=labels.get(BUILD_KEY_LABEL, ""),
        profile=labels.get(PROFILE_LABEL, ""),
        model=labels.get(MODEL_LABEL, ""),
        build=_asked(raw),
        reason=_reason(annotations_of(raw).get(BUILD_REASON_ANNOTATION, "")),
        **_job(raw),
    )


def _asked(raw: Raw) -> Raw:
    """The build in a Job's request, as JSON; empty where there is none."""
    request = json_object(at(raw, "spec", "template", "metadata", "annotations", REQUEST_ANNOTATION))
    return mapping(at(request, "build"))


def _reason(said: str) -> tuple[Change, ...]:
    """Why a build was started, as its Job says; empty where it says nothing that can be read."""
    try:
        found = json.loads(said or "[]")
        return tuple(Change(str(one["field"]), one["old"], one["new"]) for one in found)
    except (ValueError, TypeError, KeyError):
        return ()


def resolve_job(raw: Raw) -> ResolveJob:
    """A resolve Job, without its pods' words."""
    return ResolveJob(key=labels_of(raw).get(RESOLVE_LABEL, ""), **_job(raw))


def _job(raw: Raw) -> dict[str, Any]:
    """What is read alike of every Job of the builder."""
    finished = {
        text(condition, "type"): condition
        for condition in mappings(at(raw, "status", "conditions"))
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed")
    }
    failed = finished.get("Failed")
    ended = time_of(at(raw, "status", "completionTime"))
    annotations = annotations_of(raw)
    return {
        "name": text(raw, "metadata", "name"),
        "attempt": annotations.get(ATTEMPT_ANNOTATION, ""),
        "finished": bool(finished),
        "succeeded": "Complete" in finished,
        "failure": None,
        "failure_message": _job_failure(failed) if failed else None,
        "started_at": time_of(at(raw, "status", "startTime")),
        "finished_at": ended or (time_of(failed.get("lastTransitionTime")) if failed else None),
        "number": _counted(annotations.get(NUMBER_ANNOTATION, "")),
        "asked_at": time_of(annotations.get(ASKED_ANNOTATION)),
        "tries": _counted(annotations.get(TRIES_ANNOTATION, "")),
    }


def _counted(said: str) -> int:
    """What an annotation counts; 0 where it does not."""
    return int(said) if said.isdecimal() else 0


def build_pod(raw: Raw) -> BuildPod:
    """A pod of a build or resolve Job."""
    failure: BuildFailure | None = None
    built: BuildResult | None = None
    found: ResolveResult | None = None
    statuses = list(mappings(at(raw, "status", "containerStatuses")))
    beside = list(mappings(at(raw, "status", "initContainerStatuses")))
    for status in statuses:
        for message in termination_messages(status):
            failure = failure or build_failure(message)
            built = built or build_result(message)
            found = found or resolve_result(message)
    ran = any(_ran(status) for status in statuses)
    return BuildPod(
        name=text(raw, "metadata", "name"),
        uid=text(raw, "metadata", "uid"),
        job=labels_of(raw).get(JOB_NAME_LABEL, ""),
        created=text(raw, "metadata", "creationTimestamp"),
        pending=text(raw, "status", "phase") == "Pending" and bool(text(raw, "spec", "nodeName")) and not ran,
        ran=ran,
        blocked=any(text(status, "state", "waiting", "reason") == _LACKS_SECRET for status in statuses),
        overdue=text(raw, "status", "phase") == "Failed" and text(raw, "status", "reason") == _DEADLINE,
        digest=built.digest if built else None,
        made=built is not None and built.made,
        found=found,
        failure=failure,
        problem=_pod_problem(raw, statuses, ran=ran) or next(filter(None, map(_beside_problem, beside)), None),
    )


def with_pods(found: AnyJob, pods: Iterable[BuildPod]) -> AnyJob:
    """A Job with the words of its pods, the newest first.

    A Job that is not finished is as its newest pod is: what ended an earlier one (a node that was drained, say) is of
    no use to anybody, and neither is what went wrong before a Job succeeded in the end.
    """
    own = sorted((pod for pod in pods if pod.job == found.name), key=lambda pod: pod.created, reverse=True)
    if not own:
        return found
    if found.succeeded:
        if isinstance(found, ResolveJob):
            return replace(found, found=next((pod.found for pod in own if pod.found), None))
        told = next((pod for pod in own if pod.digest), None)
        return replace(found, digest=told.digest, made=told.made) if told else found
    if not found.finished:
        newest = own[0]
        return replace(found, ran=newest.ran, failure_message=None if newest.ran else newest.problem)
    failure = next((pod.failure for pod in own if pod.failure), None)
    problem = next((pod.problem for pod in own if pod.problem), None)
    return replace(
        found,
        ran=any(pod.ran for pod in own),
        overdue=own[0].overdue,
        failure=failure,
        failure_message=problem or found.failure_message,
    )


def build_result(message: str) -> BuildResult | None:
    """What a termination message of the builder says of an image; None where it holds no result."""
    found = last_json_line(message)
    if found is None:
        return None
    try:
        return BuildResult.model_validate(found)
    except ValueError:
        return None


def resolve_result(message: str) -> ResolveResult | None:
    """What a termination message of the builder says lies at URIs; None where it says nothing of it."""
    found = last_json_line(message)
    if found is None:
        return None
    try:
        return ResolveResult.model_validate(found)
    except ValueError:
        return None


def build_failure(message: str) -> BuildFailure | None:
    """The builder's own words in a termination message: JSON on its last line; None where there are none."""
    found = last_json_line(message)
    if found is None:
        return None
    try:
        return BuildFailure.model_validate(found)
    except ValueError:
        return None


def _ran(status: Raw) -> bool:
    """Whether a container ran, or runs. One that the kubelet never saw is reported as ended, without a start."""
    ended = at(status, "state", "terminated")
    unseen = text(ended, "reason") == _NEVER_SEEN and not text(ended, "startedAt") if ended else False
    return bool(at(status, "state", "running") or (ended and not unseen))


def _pod_problem(raw: Raw, statuses: Iterable[Raw], *, ran: bool) -> str | None:
    """Why a pod cannot start, or how it was ended: the deadline, its container's state, its phase, the scheduler."""
    phase, reason = text(raw, "status", "phase"), text(raw, "status", "reason")
    if phase == "Failed" and reason == _DEADLINE:
        seconds = at(raw, "spec", "activeDeadlineSeconds")
        what = "its builder ran" if ran else "it waited on its node without a start"
        return f"{what} for longer than {seconds} s (builder.deadlineSeconds)"
    problem = next((problem for status in statuses if (problem := _container_problem(status))), None)
    if not problem and phase == "Failed":
        problem = text(raw, "status", "message") or reason or None
    return problem or next(
        (
            text(condition, "message")
            for condition in mappings(at(raw, "status", "conditions"))
            if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable"
        ),
        None,
    )


def _container_problem(status: Raw) -> str | None:
    reason = text(status, "state", "waiting", "reason")
    if reason in _CANNOT_START:
        return _cannot_start(status)
    ended = at(status, "state", "terminated") or at(status, "lastState", "terminated")
    if ended and text(ended, "reason") not in ("", "Completed", "Error", _NEVER_SEEN):
        # OOMKilled, ContainerCannotRun: the builder had no chance to say so itself.
        return f"the builder was ended: {text(ended, 'reason')}"
    if ended and not text(ended, "message") and (name := _signal(ended)):
        return f"the builder was ended: {name}"
    return None


def _signal(ended: Raw) -> str | None:
    """The signal that ended a container, as its exit code has it; None where it ended by itself."""
    code = int(number(ended.get("exitCode")) or 0)
    return next((f"{one.name}, exit code {code}" for one in signal.Signals if one == code - _SIGNALLED), None)


def _beside_problem(status: Raw) -> str | None:
    """Why a container beside the builder, the compiler's, cannot start."""
    if text(status, "state", "waiting", "reason") not in _CANNOT_START:
        return None
    return f"{text(status, 'name')}: {_cannot_start(status)}"


def _cannot_start(status: Raw) -> str:
    """Why a container cannot start, by the kubelet's message, or its reason where it has none."""
    reason, said = (text(status, "state", "waiting", field) for field in ("reason", "message"))
    return (pull_cause(said) if reason in PULL_REASONS else said) or reason


def _job_failure(failed: Raw) -> str:
    reason, message = text(failed, "reason"), text(failed, "message")
    return f"{reason}: {message}" if message else reason
