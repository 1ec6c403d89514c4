"""Which builds an EdgeModel needs, and which of them have to be made now.

The registry is the database of builds: a key that it holds is never built again. A build runs as a Job; where one
failed, the Job stays until a later one has ended, so that its words can be read and its tries be counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest
from typing import Literal

from edgesmith.api.conditions import Reason
from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import SOURCE, Alternative, EdgeModel
from edgesmith.api.fraction import parse_fraction
from edgesmith.decide.build_jobs import Jobs
from edgesmith.decide.build_slots import RECHECK, admitted
from edgesmith.decide.build_start import start_of, why
from edgesmith.decide.digests import artifacts, given_sizes, undigested
from edgesmith.decide.fitting import why_too_large
from edgesmith.decide.held import held_revision
from edgesmith.decide.job_times import since_end
from edgesmith.decide.made import made_by_job
from edgesmith.decide.pictures import declared
from edgesmith.decide.plan import StartBuild
from edgesmith.decide.retry import REGISTRY_LAG, failed, remaining
from edgesmith.decide.settings import Settings
from edgesmith.decide.sites import awaited_message, overdue, pause, waiting_since
from edgesmith.decide.snapshot import (
    BuildJob,
    ForeignImage,
    Image,
    RegistryProblem,
    Snapshot,
    UnsignedImage,
)
from edgesmith.decide.toolchain import base_image, toolchain_of
from edgesmith.decide.trust import unsigned_problem
from edgesmith_builder.contract import Build, BuildReport, Candidate, Platform, Pruning, Reference, tools_of

BuildPhase = Literal["Built", "Building", "Waiting", "Failed", "Trial", "TrialFailed"]
"""The last two: it is built, and a trial of its finalists goes on, or has left none."""


@dataclass(frozen=True, slots=True)
class BuildState:
    """Where one variant's build stands."""

    profile: DeviceProfile
    build: Build
    phase: BuildPhase
    image: str | None
    """By digest; known from the registry or from a DaemonSet that runs it already."""
    report: BuildReport | None = None
    reason: Reason | None = None
    message: str = ""
    start: StartBuild | None = None
    look_again: float | None = None
    """Seconds until time alone changes something."""
    no_slot: bool = False
    """It is to start and waits for a slot."""
    built: str | None = None
    """The image under the build's tag, where that is not `image`: gates or a trial left another of its finalists."""
    refused: tuple[Candidate, ...] | None = None
    """Candidates that are out, each with the reason; None while the report was not judged."""

    alternative: str | None = None
    """Whose build it is, where there are alternatives: one's name, or `source`."""
    tried: bool = False
    """Whether a Job of the present attempt has tried it in vain."""
    made: str | None = None
    """Digest of the image that a Job says it made for it; None where none says so any more."""
    waiting_since: str | None = None
    """Since when the registry is known not to have it, where another installation is to make it."""

    @property
    def tagged(self) -> str | None:
        """The image under the build's tag; None where it is not known."""
        return self.built or self.image


def builds_for(
    model: EdgeModel, profiles: Iterable[DeviceProfile], settings: Settings
) -> dict[tuple[str, str | None], Build]:
    """The builds for some profiles, by the profile's and the alternative's name.

    Without those for which the digest of a file is not known yet.

    Args:
        model: The EdgeModel.
        profiles: Profiles that it can use.
        settings: The installation's.
    """
    return {
        (profile.metadata.name, name): build_for(model, profile, settings, alternative)
        for profile in profiles
        for name, alternative in models_of(model)
        if not undigested(model, profile, alternative)
    }


def models_of(model: EdgeModel) -> list[tuple[str | None, Alternative | None]]:
    """Every model that an EdgeModel names, as it is called among alternatives: that of `spec.source` first."""
    alternatives = model.spec.optimize.alternatives
    if not alternatives:
        return [(None, None)]
    return [(SOURCE, None), *((one.name, one) for one in alternatives)]


def build_for(
    model: EdgeModel, profile: DeviceProfile, settings: Settings, alternative: Alternative | None = None
) -> Build:
    """Everything that decides the bytes of one variant's image.

    Args:
        model: The EdgeModel.
        profile: The profile.
        settings: The installation's.
        alternative: Which model; None: that of `spec.source`.

    Raises:
        ValueError: The profile is one that is refused, see `edgesmith.decide.refusals`, or the digest of a file is not
            known: a build is made of bytes and never of a place.
    """
    base = base_image(profile, settings)
    if base is None:
        raise ValueError(f"there is no runtime base image for DeviceProfile {profile.metadata.name!r}")
    spec, files = model.spec, artifacts(model, profile, alternative)
    own, reference = alternative.source if alternative else spec.source, files.get("reference")
    return Build(
        source=files["source"],
        compiled=files.get("compiled"),
        trust_pickle=own.trust_pickle,
        reference=Reference(source=reference, trust_pickle=spec.source.trust_pickle) if reference else None,
        calibration=files.get("calibration"),
        evaluation=files.get("evaluation"),
        metric=spec.evaluation.metric if spec.evaluation else "Accuracy",
        metric_options=spec.evaluation.options if spec.evaluation else {},
        output=spec.evaluation.output if spec.evaluation else None,
        missing_values=spec.missing_values,
        pruning=Pruning(ratio=parse_fraction(spec.optimize.pruning.ratio)) if spec.optimize.pruning else None,
        picture=declared(spec.picture) if spec.picture else None,
        platform=Platform(**profile.spec.platform.model_dump()),
        toolchain=toolchain_of(profile, compiled="compiled" in files),
        base=base,
        engine_version=profile.spec.runtime.engine_version,
        device_memory=profile.memory,
        tools=tools_of(profile.spec.toolchain.name),
    )


def build_states(
    snapshot: Snapshot, profiles: Iterable[DeviceProfile], now: datetime
) -> dict[str, tuple[BuildState, ...]]:
    """Where the builds of every profile stand, by the profile's name: that of `spec.source`, then its alternatives'.

    Two that share a key start one Job. A profile for which the digest of a file is not known yet has none, and an
    alternative without such a digest joins the others once it is known.
    """
    states: dict[str, list[BuildState]] = {}
    started: set[str] = set()
    model = snapshot.model
    for profile in profiles:
        for name, alternative in models_of(model):
            if undigested(model, profile) or undigested(model, profile, alternative):
                continue
            build = build_for(model, profile, snapshot.settings, alternative)
            state = _fitting(_state(snapshot, profile, build, now), model, alternative)
            state = _named(state, name, given_sizes(model, profile, alternative))
            state = replace(state, made=made_by_job(snapshot, build))
            if state.start and build.key in started:
                words = f"Building for {profile.metadata.name}."
                image, reason = state.image, Reason.BUILDING
                state = BuildState(profile, build, "Building", image, None, reason, words, alternative=name)
            if state.start:
                started.add(build.key)
            states.setdefault(profile.metadata.name, []).append(state)
    return _within_bound(snapshot, states)


def _fitting(state: BuildState, model: EdgeModel, alternative: Alternative | None) -> BuildState:
    """The build, refused where its device cannot hold its model: no Job would find out anything else."""
    why = None if state.phase == "Built" else why_too_large(model, state.profile, alternative)
    if why is None:
        return state
    return BuildState(state.profile, state.build, "Failed", state.image, None, Reason.MODEL_TOO_LARGE, why)


def _named(state: BuildState, alternative: str | None, sizes: tuple[tuple[str, int], ...]) -> BuildState:
    """A build with what its Job is told besides: the name of its alternative, and sizes of its files."""
    start = replace(state.start, alternative=alternative, sizes=sizes) if state.start else None
    return replace(state, alternative=alternative, start=start)


def _within_bound(snapshot: Snapshot, states: Mapping[str, Sequence[BuildState]]) -> dict[str, tuple[BuildState, ...]]:
    """The same states, where builds beyond the bound on builds at once wait; those of sources come first."""
    limit = snapshot.settings.max_concurrent_builds
    turns = [one for turn in zip_longest(*states.values()) for one in turn if one is not None]
    wanted_now = [one.start for one in turns if one.start]
    fitting = admitted(wanted_now, snapshot.builds_running, limit)
    return {
        name: tuple(_without_slot(one, limit) if one.start and one.start not in fitting else one for one in of_profile)
        for name, of_profile in states.items()
    }


def _without_slot(state: BuildState, limit: int) -> BuildState:
    """A build that waits for a slot; the words of one that failed before are kept, they say what is wrong with it."""
    waits = replace(state, start=None, look_again=RECHECK, no_slot=True)
    if state.phase != "Building":
        return waits
    name = state.profile.metadata.name
    message = f"The build for {name} waits: {limit} builds run already (builder.maxConcurrent)."
    return replace(waits, phase="Waiting", message=message)


def _state(snapshot: Snapshot, profile: DeviceProfile, build: Build, now: datetime) -> BuildState:
    """Where one build stands: the registry first, then what its Jobs say."""
    answer = snapshot.images.get(build.key)
    if isinstance(answer, Image):
        return BuildState(profile, build, "Built", answer.reference, answer.report)
    held = held_revision(snapshot, profile.metadata.name, build.key)
    jobs = Jobs.of(snapshot, build)
    here = snapshot.settings.builds
    tried = jobs.tried_in_vain if here else overdue(snapshot, profile.metadata.name, build, now)
    found = replace(
        _not_found(snapshot, profile, build, jobs, known=held.image if held else None, now=now),
        tried=tried,
        waiting_since=None if here else waiting_since(snapshot, profile.metadata.name, build, now),
    )
    return replace(found, built=held.built or None) if held and found.image else found


def _not_found(
    snapshot: Snapshot, profile: DeviceProfile, build: Build, jobs: Jobs, *, known: str | None, now: datetime
) -> BuildState:
    """Where a build stands that the registry does not show as one that may be rolled out.

    Args:
        snapshot: Everything that is known of the EdgeModel.
        profile: The variant's.
        build: The variant's.
        jobs: The build's.
        known: The image of the build that a DaemonSet runs.
        now: The hub's time.
    """
    answer = snapshot.images.get(build.key)
    refused = _refused(snapshot, profile, build, known, jobs.ended)
    if refused:
        return refused
    if isinstance(answer, UnsignedImage):
        known = None  # what was rolled out before stays where it is, and goes nowhere else
    asked = build.key in snapshot.images and not isinstance(answer, RegistryProblem)
    if not asked and known:
        return BuildState(profile, build, "Built", known)
    if jobs.running:
        return _under_way(snapshot.model, profile, build, jobs, known)
    if not asked:
        return _unanswered(profile, build, answer if isinstance(answer, RegistryProblem) else None)
    if not snapshot.settings.builds:
        return _awaited(snapshot, profile, build, known, now)
    return _absent(snapshot, profile, build, known=known, ended=jobs.ended, now=now)


def _refused(
    snapshot: Snapshot, profile: DeviceProfile, build: Build, known: str | None, ended: BuildJob | None
) -> BuildState | None:
    """An image that is there and may not be rolled out; None where there is none, or a Job can make it good.

    A Job makes an image without the right signature again; once one has done so in vain, another would too.
    """
    answer, name = snapshot.images.get(build.key), profile.metadata.name
    if isinstance(answer, ForeignImage):
        message = _foreign(answer, profile)
        return BuildState(profile, build, "Failed", known, None, Reason.IMAGE_DIGEST_MISMATCH, message, None, 60.0)
    signs = snapshot.settings.builds and snapshot.settings.signing_secret
    if isinstance(answer, UnsignedImage) and (not signs or (ended and ended.succeeded)):
        reason, message = unsigned_problem(answer, name, snapshot.settings)
        return BuildState(profile, build, "Failed", None, None, reason, message, None, 60.0)
    return None


def _unanswered(profile: DeviceProfile, build: Build, problem: RegistryProblem | None) -> BuildState:
    """The registry could not be asked, or has not been yet."""
    if problem is None:
        message = f"The registry has not been asked yet for the build for {profile.metadata.name}."
        return BuildState(profile, build, "Waiting", None, None, Reason.WAITING_FOR_REGISTRY, message, None, 2.0)
    reason = Reason.REGISTRY_FORBIDDEN if problem.forbidden else Reason.WAITING_FOR_REGISTRY
    phase: BuildPhase = "Failed" if problem.forbidden else "Waiting"
    return BuildState(profile, build, phase, None, None, reason, problem.message, None, 10.0)


def _awaited(snapshot: Snapshot, profile: DeviceProfile, build: Build, known: str | None, now: datetime) -> BuildState:
    """The registry holds no such image, and another installation is to make it."""
    message = awaited_message(snapshot, profile.metadata.name, build)
    again = pause(snapshot, profile.metadata.name, build, now)
    return BuildState(profile, build, "Waiting", known, None, Reason.WAITING_FOR_BUILD, message, None, again)


def _foreign(image: ForeignImage, profile: DeviceProfile) -> str:
    ours = " or ".join(image.trusted)
    return (
        f"{image.reference} has the tag of the build for {profile.metadata.name}, which was pushed as {ours}; "
        "it is not rolled out. Find out who pushed it and delete the tag, and the build is made again"
    )


def _absent(
    snapshot: Snapshot,
    profile: DeviceProfile,
    build: Build,
    *,
    known: str | None,
    ended: BuildJob | None,
    now: datetime,
) -> BuildState:
    """The registry holds no such image and no Job is at work on it."""
    name = profile.metadata.name
    start = start_of(snapshot, profile, build, known, tries=0, now=now)
    if ended is None:
        return BuildState(
            profile,
            build,
            "Building",
            known,
            None,
            Reason.BUILDING,
            f"Building for {name}{why(start, snapshot.settings)}.",
            start,
        )
    if ended.succeeded:
        waited = since_end(ended, now)
        message = f"Job {ended.name} has pushed the image for {name}, and the registry does not show it yet."
        if waited < REGISTRY_LAG:
            return BuildState(
                profile,
                build,
                "Waiting",
                known,
                None,
                Reason.WAITING_FOR_REGISTRY,
                message,
                None,
                REGISTRY_LAG - waited,
            )
        start = start_of(snapshot, profile, build, known, tries=ended.tries + 1, now=now)
        return BuildState(
            profile, build, "Building", known, None, Reason.BUILDING, f"Building for {name} again.", start
        )
    verdict = failed(ended)
    wait = remaining(verdict, ended, now)
    again = wait is not None and wait <= 0
    return BuildState(
        profile,
        build,
        "Waiting" if verdict.waiting else "Failed",
        known,
        None,
        verdict.reason,
        verdict.message,
        start_of(snapshot, profile, build, known, tries=ended.tries + 1, now=now) if again else None,
        wait if wait is not None and wait > 0 else None,
    )


def _under_way(model: EdgeModel, profile: DeviceProfile, build: Build, jobs: Jobs, known: str | None) -> BuildState:
    """A Job is at work on it, or is to be once something else is there."""
    hindered = jobs.hindered(model)
    if hindered:
        phase: BuildPhase = "Waiting" if hindered.waiting else "Failed"
        return BuildState(profile, build, phase, known, None, hindered.reason, hindered.message)
    message = f"Building for {profile.metadata.name}{jobs.whose(model)}."
    return BuildState(profile, build, "Building", known, None, Reason.BUILDING, message)
