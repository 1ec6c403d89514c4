"""Trials pull images, too: how many nodes may do so at once for them, which is what `maxPulling` leaves."""

from __future__ import annotations

from dataclasses import replace

from edgesmith.decide.plan import StartTrial
from edgesmith.decide.trials import Trials
from edgesmith.decide.words import some


def within(trials: Trials, limit: int | None, pulling: int) -> Trials:
    """The trials without those that are to begin and have no place to pull in: they wait, and their time with them.

    Args:
        trials: What was decided of them.
        limit: Most nodes that may pull at once; None: as many as there are.
        pulling: Those that pull a revision.
    """
    fresh = [one for one in trials.starts if one.node in trials.pulling]
    if limit is None or not fresh:
        return trials
    going = trials.pulling - {one.node for one in fresh}
    out = fresh[max(limit - pulling - len(going), 0) :]
    if not out:
        return trials
    said = {one.profile.metadata.name: _words(one, limit) for one in out}
    builds = {
        name: replace(state, message=said[name]) if name in said and state.phase == "Trial" else state
        for name, state in trials.builds.items()
    }
    asked = {(one.profile.metadata.name, one.node) for one in out}
    records = tuple(
        one.model_copy(update={"started_time": None, "message": said[one.profile]})
        if (one.profile, one.node) in asked and not one.completed_time
        else one
        for one in trials.records
    )
    return replace(
        trials,
        builds=builds,
        records=records,
        starts=tuple(one for one in trials.starts if one not in out),
        pulling=trials.pulling - {one.node for one in out},
    )


def _words(start: StartTrial, limit: int) -> str:
    """Why a trial waits, in one sentence."""
    what = f"Node {start.node} is to try {some(list(start.images))} for {start.profile.metadata.name}"
    return f"{what} once fewer nodes than spec.rollout.maxPulling allows ({limit}) pull an image."
