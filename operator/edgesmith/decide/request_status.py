"""What the status says of each request of `spec.rollout`: what it did, and whether it still applies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from edgesmith.api.history import RequestState, RequestStatus
from edgesmith.api.rollout import Promotion, RollbackTo
from edgesmith.decide.fleet import NodeState, Rules
from edgesmith.decide.requests import ALL_STEPS, Requests, Rollback
from edgesmith.decide.rollout import Course

BYTES = 4000
"""Most that all entries have together, as long as each can be said in few words: the status is to stay small."""

_FEW_WORDS = {
    RequestState.DONE: "It is done; the entry can be removed.",
    RequestState.OBSOLETE: "The entry can be removed.",
    RequestState.NOT_FOUND: "No revision is called so, or not yet.",
}
_DIGEST, _KEPT = 64, 12

_LEFT_TO_DO = (
    RequestState.REFUSED,
    RequestState.IN_EFFECT,
    RequestState.NOT_FOUND,
    RequestState.DONE,
    RequestState.OBSOLETE,
)
"""States by how much is left to do, the most first."""

_Said = tuple[RequestState, str]

_NOTHING: _Said = (
    RequestState.NOT_FOUND,
    "The build that is called so has nothing to roll out now; status.variants says why.",
)


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
        say = partial(_promotion, entry=promotion)
        said[f"promote[{promotion.revision}]"] = _of_all(requests, by_profile, promotion.revision, say)
    for entry in spec.rollback_to:
        said[f"rollbackTo[{entry.from_}]"] = _rollback(requests, by_profile, entry)
    for word in spec.override:
        say = partial(_override, rules=rules)
        said[f"override[{word}]"] = _of_all(requests, by_profile, word, say, _override_of_none)
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


def _nothing(course: Course | None) -> _Said:
    del course
    return _NOTHING


def _of_all(
    requests: Requests,
    courses: Mapping[str, Course],
    word: str,
    say: Callable[[Course], _Said],
    without: Callable[[Course | None], _Said] = _nothing,
) -> _Said:
    """What is said of an entry by the variants that a word names: those whose target it is, or would be."""
    found = {
        profile: say(course)
        for profile, course in courses.items()
        if course.target and (one := requests.named(profile)) and one.is_called(word)
    }
    found |= {profile: without(courses.get(profile)) for profile in requests.waiting(word)}
    peopled = {name: said for name, said in found.items() if name in courses and courses[name].variant.nodes}
    return _least(peopled or found) or _nobody(requests, word)


def _least(found: Mapping[str, _Said]) -> _Said | None:
    """What is said by the variant that has most left to do, with its name where there are others; None without any."""
    if not found:
        return None
    profile = min(found, key=lambda name: (_LEFT_TO_DO.index(found[name][0]), name))
    state, message = found[profile]
    return state, message if len(found) == 1 else f"DeviceProfile {profile}: {message}"


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


def _override_of_none(course: Course | None) -> _Said:
    """Where nothing can be rolled out yet."""
    if course is None or not course.variant.trying:
        return _NOTHING
    return RequestState.IN_EFFECT, f"Windows do not hold up the trial on node {course.variant.trying}."


def _rollback(requests: Requests, courses: Mapping[str, Course], entry: RollbackTo) -> _Said:
    found = {
        profile: _replaced(one, courses[profile].variant.nodes if profile in courses else ())
        for profile, one in requests.rollbacks.items()
        if one.entry == entry
    }
    return _least(found) or _nobody(requests, entry.from_)


def _replaced(rollback: Rollback, nodes: Iterable[NodeState]) -> _Said:
    if rollback.to is None:
        return RequestState.REFUSED, rollback.problem
    others = sum(_runs_another(node, rollback) for node in nodes)
    if others:
        run = f"{others} node{'s run' if others > 1 else ' runs'} another one still"
        return RequestState.IN_EFFECT, f"Revision {rollback.to} takes the place of {rollback.left}; {run}."
    return RequestState.DONE, f"Revision {rollback.to} has taken the place of {rollback.left}."


def _runs_another(node: NodeState, rollback: Rollback) -> bool:
    """Whether a node is yet to run what takes the place of another revision; one that is away counts on that alone."""
    other = bool(node.runs) and node.runs != rollback.to and node.ready and not node.foreign
    return other or node.runs == rollback.left
