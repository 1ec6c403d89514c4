"""What the status says of each request of `spec.rollout`: what it did, and whether it still applies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgesmith.api.history import RequestState, RequestStatus
from edgesmith.api.rollout import Promotion, RollbackTo
from edgesmith.decide.fleet import Rules
from edgesmith.decide.requests import ALL_STEPS, Requests
from edgesmith.decide.rollout import Course

BYTES = 4000
"""Most that all entries have together, as long as each can be said in few words: the status is to stay small."""

_FEW_WORDS = {
    RequestState.DONE: "It is done; the entry can be removed.",
    RequestState.OBSOLETE: "The entry can be removed.",
    RequestState.NOT_FOUND: "No revision is called so, or not yet.",
}
_DIGEST, _KEPT = 64, 12

_Said = tuple[RequestState, str]


def request_statuses(requests: Requests, courses: Iterable[Course], rules: Rules) -> tuple[RequestStatus, ...]:
    """What became of each request.

    Args:
        requests: Those of this pass.
        courses: Where each variant stands after it.
        rules: The rules.
    """
    by_profile = {course.variant.profile: course for course in courses}
    spec = requests.spec
    said: dict[str, _Said] = {}
    for promotion in spec.promote:
        found = _called(requests, by_profile, promotion.revision)
        said[f"promote[{promotion.revision}]"] = (
            _promotion(found, promotion) if found else _nobody(requests, promotion.revision)
        )
    for entry in spec.rollback_to:
        said[f"rollbackTo[{entry.from_}]"] = _rollback(requests, by_profile, entry)
    for word in spec.override:
        found = _called(requests, by_profile, word)
        said[f"override[{word}]"] = _override(found, rules) if found else _nobody(requests, word)
    told = said if _size(said) <= BYTES else _few_words(said)
    return tuple(RequestStatus(request=name, state=state, message=message) for name, (state, message) in told.items())


def _size(said: Mapping[str, _Said]) -> int:
    return sum(len(name) + len(state) + len(message) for name, (state, message) in said.items())


def _few_words(said: Mapping[str, _Said]) -> dict[str, _Said]:
    """What is said of entries that do nothing more, without what the entry itself names."""
    return {name: (state, _FEW_WORDS.get(state, message)) for name, (state, message) in said.items()}


def _named(word: str) -> str:
    """A word of the spec, in a sentence beside the entry that has all of it."""
    kind, colon, digest = word.rpartition(":")
    return f"{kind}{colon}{digest[:_KEPT]}…" if len(digest) >= _DIGEST else word


def _called(requests: Requests, courses: Mapping[str, Course], word: str) -> Course | None:
    """The variant whose target a word names."""
    return next(
        (
            course
            for profile, course in courses.items()
            if course.target and (one := requests.named(profile)) and one.is_called(word)
        ),
        None,
    )


def _nobody(requests: Requests, word: str) -> _Said:
    """What is said where a word does not name a revision that is rolled out."""
    if requests.exists(word):
        return (
            RequestState.OBSOLETE,
            f"The spec asks for another revision than {_named(word)}; the entry can be removed.",
        )
    return RequestState.NOT_FOUND, f"No revision that the spec asks for is called {_named(word)}, or not yet."


def _promotion(course: Course, entry: Promotion) -> _Said:
    target = course.target
    if target is None or target.rolled_back:
        return RequestState.OBSOLETE, f"Revision {_named(entry.revision)} was rolled back; the entry can be removed."
    early = f"{target.promoted} of them before their bakes were over"
    if target.proven:
        return RequestState.DONE, f"Revision {target.revision} has held its steps, {early}."
    if entry.steps is not None and target.steps >= entry.steps:
        return RequestState.DONE, f"Revision {target.revision} has held {target.steps} steps, {early}."
    until = "" if (entry.steps or ALL_STEPS) >= ALL_STEPS else f" up to step {entry.steps}"
    return RequestState.IN_EFFECT, f"Revision {target.revision} does not wait for the bakes of its steps{until}."


def _override(course: Course, rules: Rules) -> _Said:
    target = course.target
    if target is None or target.rolled_back:
        return RequestState.OBSOLETE, "The revision was rolled back; the entry can be removed."
    if target.completed:
        return RequestState.DONE, f"Revision {target.revision} is completed; the entry can be removed."
    when = "a window is open" if rules.opening.open else "no window is open, and it is rolled out all the same"
    return RequestState.IN_EFFECT, f"Windows do not hold revision {target.revision} up; {when}."


def _rollback(requests: Requests, courses: Mapping[str, Course], entry: RollbackTo) -> _Said:
    for profile, one in requests.rollbacks.items():
        if one.entry != entry:
            continue
        if one.to is None:
            return RequestState.REFUSED, one.problem
        nodes = len(courses[profile].variant.on(one.left)) if profile in courses else 0
        if nodes:
            run = f"{nodes} node{'s' if nodes > 1 else ''}"
            return RequestState.IN_EFFECT, f"Revision {one.to} takes the place of {one.left}, which is on {run} still."
        return RequestState.DONE, f"Revision {one.to} has taken the place of {one.left}."
    return _nobody(requests, entry.from_)
