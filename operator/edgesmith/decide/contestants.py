"""The builds of one variant, that of `spec.source` and those of its alternatives, and the candidates of all of them.

Each is a build of its own. One that fails, or none of whose candidates keeps the gates, is out, and the others go on
without it; what is awaited holds back a first rollout and nothing that runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TypeVar

from edgesmith.api.trial_status import FinalistStatus, candidate_name
from edgesmith.decide.builds import BuildState
from edgesmith.decide.plan import StartBuild
from edgesmith.decide.scores import bounded
from edgesmith.decide.trial_records import finalists_of

T = TypeVar("T")

MOST = 16
"""How many candidates a trial takes: each is a layer over the node's link and a turn of its self-test."""


@dataclass(frozen=True, slots=True)
class Contestants:
    """One variant's builds in the order of the spec, that of `spec.source` first; see `contestants`."""

    states: tuple[BuildState, ...]

    @property
    def lead(self) -> BuildState:
        """The build of `spec.source`."""
        return self.states[0]

    @property
    def keys(self) -> tuple[str, ...]:
        """Their build keys."""
        return tuple(one.build.key for one in self.states)

    @property
    def starts(self) -> tuple[StartBuild, ...]:
        """Jobs to make."""
        return tuple(one.start for one in self.states if one.start)

    @property
    def built(self) -> tuple[BuildState, ...]:
        """Builds with candidates that keep the gates."""
        return tuple(one for one in self.states if one.phase == "Built" and one.image is not None)

    @property
    def awaited(self) -> tuple[BuildState, ...]:
        """Builds that a first rollout waits for.

        Not one that a Job has tried in vain: it is tried again as every build is, and joins the others when it is made.
        Where there are several, one whose report is not at hand is awaited too: what it has is not known.
        """
        several = len(self.states) > 1
        return tuple(
            one
            for one in self.states
            if (one.phase in ("Building", "Waiting") and not (several and one.tried))
            or (several and one.phase == "Built" and one.report is None)
        )

    def finalists(self) -> tuple[FinalistStatus, ...]:
        """Candidates that keep the gates, not tried yet: the first of every build, then the second of every one."""
        ladders = [
            finalists_of(one.report, one.image or "", one.build.metric, one.alternative)
            for one in self.built
            if one.report is not None
        ]
        return tuple(one for one in _by_turns(ladders))

    def made(self, image: str) -> BuildState | None:
        """The build that an image is of, as far as reports tell; None where none does."""
        digest = image.partition("@")[2]
        return next(
            (
                one
                for one in self.states
                if image in (one.image, one.built)
                or any(finalist.digest == digest for finalist in (one.report.finalists if one.report else ()))
            ),
            None,
        )

    def waiting(self) -> BuildState:
        """The variant while nothing can be rolled out and something is awaited."""
        first = self.awaited[0]
        if len(self.states) == 1:
            return first
        names = " and ".join(str(one.alternative) for one in self.awaited)
        profile = first.profile.metadata.name
        message = f"The first rollout for {profile} waits for the build of {names}: {first.message or 'Not known yet.'}"
        reason = first.reason or self.lead.reason
        phase = first.phase if first.phase != "Built" else "Waiting"
        return replace(self._without_image(), phase=phase, reason=reason, message=message, start=None)

    def failed(self) -> BuildState:
        """The variant where every build is out, in the words of each."""
        if len(self.states) == 1:
            return self.lead
        why = " ".join(f"{one.alternative}: {one.message.rstrip('.')}." for one in self.states)
        phase = "Failed" if self.lead.phase == "Built" else self.lead.phase
        return replace(self._without_image(), phase=phase, message=bounded(why), start=None)

    def _without_image(self) -> BuildState:
        return replace(self.lead, image=None, built=self.lead.tagged, report=None)


def contestants(states: Sequence[BuildState], *, trial: bool) -> Contestants:
    """One variant's builds as they meet.

    Args:
        states: In the order of the spec, each judged.
        trial: Whether a device chooses among them. Where none does, the first that is not out is rolled out, so what
            comes after it is not built.
    """
    if not trial:
        first = next((place for place, one in enumerate(states) if one.phase != "Failed"), len(states))
        after = (replace(one, start=None, look_again=None, no_slot=False) for one in states[first + 1 :])
        return Contestants((*states[: first + 1], *after))
    return Contestants(_limited(states))


def _limited(states: Sequence[BuildState]) -> tuple[BuildState, ...]:
    """The builds with as many candidates as a trial takes, by turns; the others are refused, with the reason."""
    ladders = [[(place, one) for one in _digests(state)] for place, state in enumerate(states)]
    if sum(map(len, ladders)) <= MOST:
        return tuple(states)
    taken = {*_by_turns(ladders)[:MOST]}
    return tuple(
        _cut(state, {one for at, one in taken if at == place}) if len(ladders[place]) else state
        for place, state in enumerate(states)
    )


def _digests(state: BuildState) -> list[str]:
    return [str(one.digest) for one in state.report.finalists] if state.report and state.image else []


def _cut(state: BuildState, taken: set[str]) -> BuildState:
    report = state.report
    if report is None:
        return state
    kept = tuple(one for one in report.finalists if str(one.digest) in taken)
    why = f"it is left out: a trial takes {MOST} candidates, those that come first in the ladder of each build"
    out = tuple(
        report.candidate(one.precision).model_copy(update={"rejected": why})
        for one in report.finalists
        if str(one.digest) not in taken
    )
    cut = report.model_copy(update={"finalists": kept})
    return replace(state, report=cut, refused=(*(state.refused or ()), *out))


def _by_turns(ladders: Sequence[Sequence[T]]) -> list[T]:
    """The first of each, then the second of each, and so on."""
    return [one for turn in zip_longest(*ladders) for one in turn if one is not None]


def out_of(found: Contestants) -> tuple[BuildState, ...]:
    """Builds that the others go on without, where there are others that do."""
    awaited = {id(one) for one in found.awaited}
    if not found.built:
        return ()
    return tuple(one for one in found.states if one.image is None and one.message and id(one) not in awaited)


def name_of(state: BuildState, precision: str) -> str:
    """What sentences call a candidate of a build: `int8`, or `gru/int8`."""
    return candidate_name(state.alternative, precision)
