"""What to make of a build that failed: who has to act, and when it is tried again.

Three kinds. *Waiting*: the builder said that a retry can help; it is tried again with growing pauses. *Fixable outside
the spec*: the user has to act, but perhaps outside the cluster (upload the file, correct the Secret), so it is tried
again now and then. *Final*: the same request can only fail again; a changed spec or the retry annotation starts the
next try.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edgesmith.api.conditions import Reason
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import RETRY_ANNOTATION
from edgesmith.decide.job_times import since_end
from edgesmith.decide.snapshot import BuilderJob

REGISTRY_LAG = 15.0
"""Seconds that a registry may take to show an image that was pushed to it."""

LONGEST_PAUSE = 600.0
"""Seconds between two tries, at most."""

_WAITING = {"SourceUnreachable": Reason.WAITING_FOR_SOURCE, "RegistryUnreachable": Reason.WAITING_FOR_REGISTRY}

_FIXABLE_OUTSIDE = {
    "SourceNotFound",
    "SourceForbidden",
    "DigestMismatch",
    "RegistryForbidden",
    "RegistryRefused",
}

_FIRST_PAUSE = 5.0
_FIRST_FIXABLE_PAUSE = 20.0
_UNEXPLAINED_TRIES = 3
_INTERNAL_TRIES = 6
"""A disk that is full is free again within minutes, or not by itself; a tool that crashes on a model always does."""
_LONGEST_REQUEST = 256
"""Characters of a retry that are compared and kept in the status; an annotation may have 262,144."""


@dataclass(frozen=True, slots=True)
class Retry:
    """What a failed Job means."""

    reason: Reason
    message: str
    waiting: bool
    """There is nothing for the user to do."""
    delay: float | None
    """Seconds after the Job's end until the next try; None: not by itself."""


def requested(model: EdgeModel) -> str:
    """The retry that the user asked for last; empty where none was ever asked for.

    It is the annotation's value or, where the annotation is absent or empty, the value that the status says was acted
    on: so a new value starts a try, and removing the annotation starts nothing. A status that is lost while the
    annotation is absent reads as "none was ever asked for", which starts at most one try of what failed.
    """
    handled = model.status.get("lastHandledRetry")
    word = model.metadata.annotations.get(RETRY_ANNOTATION) or (handled if isinstance(handled, str) else "")
    return word[:_LONGEST_REQUEST]


def failed(job: BuilderJob) -> Retry:
    """Judge a Job that failed.

    One whose builder never ran says nothing about the build, so it is awaited and made again. At the deadline the
    builder is stopped and says that it was; that is no reason to try again, so the deadline is looked at before its
    words.
    """
    why = (job.failure_message or "killed").rstrip(".")
    if not job.ran:
        message = f"Job {job.name} ended before its builder could start: {why}."
        return Retry(Reason.BUILDING, message, True, _pause(_FIRST_PAUSE, job.tries))
    if job.overdue:
        return Retry(Reason.BUILD_FAILED, f"Job {job.name} was ended by its deadline: {why}.", False, None)
    failure = job.failure
    if failure is None:
        message = f"Job {job.name} ended without saying why: {why}."
        again = job.tries + 1 < _UNEXPLAINED_TRIES
        return Retry(Reason.BUILD_FAILED, message, again, _pause(_FIRST_PAUSE, job.tries) if again else None)
    reason = Reason.BUILD_FAILED if failure.reason == "Internal" else Reason(failure.reason)
    if failure.reason == "Internal" and job.tries + 1 >= _INTERNAL_TRIES:
        often = f"The builder ended like this {_INTERNAL_TRIES} times; {RETRY_ANNOTATION} asks again."
        return Retry(reason, f"{failure.message.rstrip('.')}. {often}", False, None)
    if failure.retry:
        waiting = _WAITING.get(failure.reason, reason)
        return Retry(waiting, failure.message, True, _pause(_FIRST_PAUSE, job.tries))
    delay = _pause(_FIRST_FIXABLE_PAUSE, job.tries) if failure.reason in _FIXABLE_OUTSIDE else None
    return Retry(reason, failure.message, False, delay)


def cannot_start(model: EdgeModel, job: BuilderJob) -> Retry | None:
    """Why a Job that is not finished does not run; None where nothing keeps it.

    A Secret that is missing is for the user to make; the pod starts by itself then.
    """
    if not job.failure_message:
        return None
    why, secret = job.failure_message.rstrip("."), model.spec.source.secret
    if secret and secret in why:
        namespace = model.metadata.namespace
        message = f"spec.source.secretRef.name {secret!r} in namespace {namespace!r} cannot be used: {why}."
        return Retry(Reason.CREDENTIALS_NOT_FOUND, message, False, None)
    return Retry(Reason.BUILDING, f"Job {job.name} cannot start: {why}.", True, None)


def remaining(verdict: Retry, job: BuilderJob, now: datetime) -> float | None:
    """Seconds until the next try after a Job, or None where only the user can start it.

    At once where nobody can tell when it ended.
    """
    if verdict.delay is None:
        return None
    return verdict.delay - since_end(job, now)


def _pause(first: float, tries: int) -> float:
    """Twice as long with every try, up to the longest pause."""
    return float(min(first * 2 ** min(tries, 16), LONGEST_PAUSE))
