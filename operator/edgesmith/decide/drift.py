"""What nodes say of drift, as one condition, and when an episode of it begins and ends. Pure.

Only what is said of the revision that is rolled out counts, by nodes that run it and can be reached: what another
model's server said, or one that nobody has heard of since, says nothing of the present one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from edgesmith.api.conditions import Reason
from edgesmith.api.drift_status import MOST_NAMED, DriftedFeature, DriftedNode, DriftStatus, EpisodeStatus
from edgesmith.api.names import short_hash
from edgesmith.decide.conditions import SENTENCES
from edgesmith.decide.fleet import NodeState
from edgesmith.decide.words import some

_SHOWN = 3
"""Features that the status has of a node."""
_LONGEST_NAME = 48
_FORM = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class DriftVerdict:
    """What one node's server says."""

    state: Literal["Learning", "Steady", "Drifted"]
    since: datetime
    """By the node's clock."""
    features: tuple[tuple[str, float, float], ...] = ()
    """Name, value and limit; the worst first."""


@dataclass(frozen=True, slots=True)
class Report:
    """A reporter's pod: it runs where its revision does."""

    node: str
    revision: str
    verdict: DriftVerdict | None
    """The last that it told; None: none yet."""
    failure: str = ""
    """Why it ended by itself, where it does not run: reason and sentence; empty otherwise."""


@dataclass(frozen=True, slots=True)
class Drifting:
    """What is to be said of an EdgeModel's drift."""

    condition: Literal["True", "False", "Unknown"]
    reason: Reason
    message: str
    status: DriftStatus


def drifting(
    reports: Iterable[Report],
    nodes: Iterable[tuple[NodeState, str | None]],
    *,
    of: str,
    still: Collection[str] = (),
    uid: str,
    previous: Mapping[str, Any],
    now: datetime,
) -> Drifting:
    """Judge a fleet.

    Args:
        reports: What reporters' pods told.
        nodes: Every node whose server watches for drift, with the revision that is rolled out to it.
        of: The source that is rolled out: its SHA-256; empty where nobody knows in this pass.
        still: The sources that an open episode goes on with beside that one: of several that are rolled out each, and
            what nodes go back to where the newer one has not held its steps.
        uid: The EdgeModel's.
        previous: `status.drift` as it stands.
        now: The hub's time.
    """
    reports = list(reports)
    told = {(one.node, one.revision): one.verdict for one in reports if one.verdict is not None}
    failures = {(one.node, one.revision): one.failure for one in reports if one.failure}
    failed: dict[str, str] = {}
    found: dict[str, DriftVerdict] = {}
    words: dict[str, str] = {}
    steady = unknown = 0
    for node, revision in nodes:
        if node.label == revision and node.ready and (why := failures.get((node.name, revision or ""))):
            failed[node.name] = why
        verdict = told.get((node.name, revision or "")) if node.label == revision else None
        words[node.name] = verdict.state if verdict is not None else "Learning"
        if verdict is None or verdict.state == "Learning" or not node.ready:
            unknown += 1
        elif verdict.state == "Drifted":
            found[node.name] = verdict
        else:
            steady += 1
    condition: Literal["True", "False", "Unknown"] = "True" if found else "False" if steady else "Unknown"
    reason, message = _words(found, steady=steady, unknown=unknown)
    message += _of_reporters(failed)
    episode = _episode(found, words, of=of, still=still, uid=uid, previous=previous.get("episode"), now=now)
    status = DriftStatus(
        drifted=len(found),
        steady=steady,
        unknown=unknown,
        nodes=_drifted(found),
        features=_features(found.values()),
        episode=episode,
    )
    return Drifting(condition, reason, message, status)


def _drifted(found: Mapping[str, DriftVerdict]) -> tuple[DriftedNode, ...]:
    """Those that drifted first, with what they saw."""
    ranked = sorted(found, key=lambda name: (found[name].since, name))[:MOST_NAMED]
    return tuple(
        DriftedNode(
            name=name,
            since=found[name].since.strftime(_FORM),
            features=tuple(
                f"{_short(what)} {value:.3g} ({limit:.3g})" for what, value, limit in found[name].features[:_SHOWN]
            ),
        )
        for name in ranked
    )


def _words(found: Mapping[str, DriftVerdict], *, steady: int, unknown: int) -> tuple[Reason, str]:
    others = f" {unknown} more {'says' if unknown == 1 else 'say'} nothing yet." if unknown else ""
    if not found and not steady:
        return Reason.DRIFT_UNKNOWN, "No node has seen enough of the revision that is rolled out to say."
    told = len(found) + steady
    if not found:
        return Reason.NO_DRIFT, f"{steady} of {told} nodes are asked what the model was made with.{others}"
    worst = [one.name for one in _features(found.values())][:SENTENCES]
    names = sorted(found, key=lambda name: (found[name].since, name))
    shown = some(names, MOST_NAMED)
    what = f", by {', '.join(worst)} most" if worst else ""
    verb = "is" if len(found) == 1 else "are"
    return (
        Reason.NODES_DRIFTED,
        f"{len(found)} of {told} nodes {verb} asked other things than the model was made with{what}: {shown}.{others}",
    )


def _of_reporters(failed: Mapping[str, str]) -> str:
    """What is said of reporters that ended by a mistake of their own."""
    if not failed:
        return ""
    first = min(failed)
    more = f" and those of {len(failed) - 1} more nodes" if len(failed) > 1 else ""
    return f" The reporter on {first}{more} failed with {failed[first]}."


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _features(verdicts: Iterable[DriftVerdict]) -> tuple[DriftedFeature, ...]:
    named = (dict.fromkeys(_short(name) for name, *_ in verdict.features) for verdict in verdicts)
    counted = Counter(name for one in named for name in one)
    ranked = sorted(counted.items(), key=lambda one: (-one[1], one[0]))[:MOST_NAMED]
    return tuple(DriftedFeature(name=name, nodes=count) for name, count in ranked)


def _episode(
    found: Mapping[str, DriftVerdict],
    words: Mapping[str, str],
    *,
    of: str,
    still: Collection[str],
    uid: str,
    previous: Any,
    now: datetime,
) -> EpisodeStatus | None:
    """The episode after this pass.

    One that is open stays so until each node that drifted in it says otherwise, or is no node of the fleet any more:
    one that is off at night must not begin another each morning. With another source it is over, whatever is said.

    Args:
        found: Nodes that say that they drift.
        words: Every node, with the last that it said of the revision, whether it can be reached or not. A name in the
            status is what is left where that is lost, with another revision of the same source.
        of: The source that is rolled out; empty where nobody knows, which ends and begins none.
        still: The sources that one goes on with beside that.
        uid: The EdgeModel's.
        previous: The episode as the status has it.
        now: The hub's time.
    """
    try:
        last = EpisodeStatus.model_validate(previous) if isinstance(previous, Mapping) else None
    except ValueError:
        last = None
    at = now.astimezone(UTC).strftime(_FORM)
    drifted = sorted(name for name, word in words.items() if word == "Drifted")
    if last is not None and last.ended is None:
        known = [name for name in last.nodes if words.get(name, "Steady") != "Steady"]
        left = list(dict.fromkeys([*known, *drifted]))
        if left and (not of or last.of == of or last.of in still):
            return last.model_copy(update=_named(left))
        last = last.model_copy(update={"ended": at, **_named([])})
    if not found or not of:
        return last
    first = min(verdict.since for verdict in found.values())
    name = short_hash("/".join((uid, of, first.strftime(_FORM), last.id if last else "")))
    return EpisodeStatus(id=name, of=of, began=at, **_named(drifted))


def _named(names: Sequence[str]) -> dict[str, Any]:
    return {"nodes": tuple(names[:MOST_NAMED]), "others": max(0, len(names) - MOST_NAMED)}


def source_of(digests: Sequence[str]) -> str:
    """What drift is about: the digest of the one source, or a hash of several."""
    different = sorted(set(digests))
    return different[0] if len(different) == 1 else short_hash("/".join(different), 64)
