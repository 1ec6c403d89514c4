"""What an episode of drift starts: each thing once, wherever the operator is killed.

An episode has a name in the status before anything is made for it, and what is made has the episode's name in its own:
a second attempt finds it there. That it was made is in the status from the pass that has seen it, so that a Job that
somebody deletes is not made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.decide.drift import Drifting
from edgesmith.decide.plan import StartRetraining
from edgesmith.decide.snapshot import RetrainingJob

_NO_JOBS = " Nothing is started for it: this installation makes no Jobs (builder.enabled is false)."


@dataclass(frozen=True, slots=True)
class Retrained:
    """What is to be done, and what the status says then."""

    drift: Drifting | None
    starts: tuple[StartRetraining, ...] = ()


def retrain(
    model: EdgeModel,
    drift: Drifting | None,
    jobs: Iterable[RetrainingJob],
    *,
    builds: bool,
    places: Mapping[str, str],
) -> Retrained:
    """Say what the present episode starts.

    Args:
        model: The EdgeModel.
        drift: What its nodes say.
        jobs: The Jobs that episodes of it have started.
        builds: Whether the installation makes Jobs.
        places: The URIs of sources that were rolled out, by their digest.
    """
    asked = model.spec.feedback.retraining
    episode = drift.status.episode if drift is not None else None
    if drift is None or asked is None or episode is None:
        return Retrained(drift)
    own = [one for one in jobs if one.episode == episode.id]
    fired = tuple(sorted({*episode.fired, *(one.what for one in own)}))
    if fired != episode.fired:
        episode = episode.model_copy(update={"fired": fired})
        drift = replace(drift, status=drift.status.model_copy(update={"episode": episode}))
    if episode.ended is None:
        drift = replace(drift, message=f"{drift.message}{''.join(map(_failed, sorted(own, key=lambda one: one.name)))}")
    named: tuple[tuple[Literal["event", "job"], object], ...] = (("event", asked.event), ("job", asked.job))
    wanted = [what for what, one in named if one is not None and what not in fired]
    if not wanted or episode.ended is not None or drift.status.drifted < asked.min_nodes:
        return Retrained(drift)
    if not builds:
        return Retrained(replace(drift, message=f"{drift.message}{_NO_JOBS}"))
    # What the spec asks for may be another one by now.
    uri = places.get(episode.of, model.spec.source.uri)
    return Retrained(drift, tuple(StartRetraining(what, drift.status, drift.message, uri) for what in wanted))


def _failed(job: RetrainingJob) -> str:
    """What is said of a Job that came to nothing: it is the episode's only one."""
    return (
        f" The Job {job.name} that was started for it failed ({job.failure}); its log says why." if job.failure else ""
    )
