"""What `spec.rollout` asks of single revisions: promote, rollbackTo and override. Each names the revisions it is about.

A request stays in git after it was met. It says nothing of any other revision, so the next change of the source is
rolled out as ever, and the status says that the request does not apply any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.rollout import RollbackTo
from edgesmith.decide.marks import Mark, marks_of
from edgesmith.decide.snapshot import Revision, Snapshot
from edgesmith.decide.trust import key_of

REQUESTED = "RollbackRequested"
"""Why a revision was rolled back that spec.rollout.rollbackTo leaves."""
ALL_STEPS = 16
"""As many as `spec.rollout.steps` can have."""


class Named(NamedTuple):
    """A revision with all that it may be called."""

    revision: str
    image: str
    """By digest."""
    key: str
    """Of its build; empty where it is not known."""

    def is_called(self, word: str) -> bool:
        """Whether a word of the spec names it."""
        return word in {self.revision, self.key} or self.image.endswith(f"@{word}")


NO_NAMES: Mapping[str, Named] = {}


@dataclass(frozen=True, slots=True)
class Rollback:
    """An entry of rollbackTo that is about the revision that the spec asks for."""

    entry: RollbackTo
    left: str
    """That revision."""
    to: str | None
    """What takes its place; None where the entry cannot be met."""
    problem: str = ""
    """Why it cannot, as a sentence."""


class Requests:
    """What is asked of the revisions of one EdgeModel in this pass."""

    def __init__(
        self,
        snapshot: Snapshot,
        asked: Mapping[str, Named],
        marks: Mapping[str, Mark],
        without: Mapping[str, Named] = NO_NAMES,
    ) -> None:
        """Read them.

        Args:
            snapshot: Everything that is known of one EdgeModel.
            asked: The revision that the spec asks for, by the profile's name, before anything is rolled back.
            marks: What was found out about revisions.
            without: The same where nothing of the builds that the spec asks for can be rolled out now, as gates refuse
                it: what was rolled out of them before, with which nodes can be asked to go back, or the build's key.
        """
        self.spec = snapshot.model.spec.rollout
        self._known = [named(one) for one in snapshot.revisions]
        self.rollbacks: dict[str, Rollback] = {}
        """By the profile's name."""
        called = {**{profile: one for profile, one in without.items() if one.revision}, **asked}
        for profile, one in called.items():
            for entry in self.spec.rollback_to:
                if one.is_called(entry.from_):
                    ours = [found for found in snapshot.revisions if found.profile == profile]
                    self.rollbacks[profile] = _rollback(entry, one, ours, marks, snapshot.gone)
                    break
        self.left = {profile: rollback.left for profile, rollback in self.rollbacks.items() if rollback.to is not None}
        """The revisions that are left, by the profile's name."""
        self.targets = {
            profile: self._target(profile, one.revision)
            for profile, one in called.items()
            if profile in asked or profile in self.left
        }
        """What nodes are to run, by the profile's name."""
        self._names = {
            profile: next((known for known in self._known if known.revision == target), called[profile])
            for profile, target in self.targets.items()
        }
        self._without = {profile: one for profile, one in without.items() if profile not in self.targets}

    def _target(self, profile: str, revision: str) -> str:
        rollback = self.rollbacks.get(profile)
        return rollback.to if rollback and rollback.to else revision

    def promoted(self, profile: str) -> int:
        """How many of the first steps of a profile's target need not wait for their bakes."""
        one = self._names.get(profile)
        return max(
            (entry.steps or ALL_STEPS for entry in self.spec.promote if one and one.is_called(entry.revision)),
            default=0,
        )

    def overridden(self, profile: str) -> bool:
        """Whether windows do not hold up a profile's target; without one, the trial that chooses it."""
        one = self._names.get(profile) or self._without.get(profile)
        return bool(one and any(one.is_called(word) for word in self.spec.override))

    def named(self, profile: str) -> Named | None:
        """What a profile's target may be called."""
        return self._names.get(profile)

    def waiting(self, word: str) -> tuple[str, ...]:
        """The profiles of which a word names builds that have nothing to roll out now."""
        return tuple(profile for profile, one in self._without.items() if one.is_called(word))

    def exists(self, word: str) -> bool:
        """Whether a word names a revision that has a DaemonSet."""
        return any(one.is_called(word) for one in self._known)


def named(one: Revision) -> Named:
    """A DaemonSet's names."""
    return Named(one.revision, one.image, key_of(one) or "")


def candidates(model: EdgeModel, revisions: Iterable[Revision]) -> tuple[str, ...]:
    """Images of revisions that rollbackTo could go back to and has not begun to: they are looked for first.

    Args:
        model: The EdgeModel.
        revisions: Its DaemonSets.
    """
    known, marks = [named(one) for one in revisions], marks_of(model.status)
    begun = [one for one in known if (mark := marks.get(one.revision)) and mark.state.reason == REQUESTED]
    words = [
        entry.revision
        for entry in model.spec.rollout.rollback_to
        if not any(one.is_called(entry.from_) for one in begun)
    ]
    return tuple(sorted({one.image for one in known if any(one.is_called(word) for word in words)}))


def _rollback(
    entry: RollbackTo, asked: Named, ours: Iterable[Revision], marks: Mapping[str, Mark], gone: Collection[str]
) -> Rollback:
    """Whether an entry can be met: what it goes back to exists, has held its steps and can be pulled.

    An image that cannot be found is said before the first node is moved. Later it changes nothing: nodes that are on
    their way would only turn round.
    """
    found = [one for one in ours if named(one).is_called(entry.revision) and one.revision != asked.revision]
    where = f"spec.rollout.rollbackTo[{entry.from_}].revision is {entry.revision!r}"
    if not found:
        return Rollback(entry, asked.revision, None, f"{where}, but no DaemonSet of such a revision is there any more.")
    proven = [
        (mark.state.proven, one.revision, one.image)
        for one in found
        if (mark := marks.get(one.revision)) and mark.state.proven and not mark.state.rolled_back
    ]
    if not proven:
        said = f"{where}, which has not held its steps or was rolled back; name one that served before."
        return Rollback(entry, asked.revision, None, said)
    _, revision, image = max(proven)
    was = marks.get(asked.revision)
    begun = bool(was and was.state.rolled_back and was.state.reason == REQUESTED)
    if image in gone and not begun:
        said = f"{where}, but the registry has its image {image} no more; set spec.source, which builds it again."
        return Rollback(entry, asked.revision, None, said)
    return Rollback(entry, asked.revision, revision)
