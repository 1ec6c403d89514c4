"""What the status says of one variant's builds: what was measured of each candidate, and which are out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic.alias_generators import to_camel

from edgesmith.api.conditions import Reason
from edgesmith.api.edgemodel import SOURCE
from edgesmith.api.made_build import MadeBuild
from edgesmith.api.status import ChangedAnswers, RefusedCandidate, VariantBuild
from edgesmith.decide.builds import BuildState
from edgesmith.decide.held import build_before, refused_before, variant_before
from edgesmith.decide.made import made_before
from edgesmith.decide.scores import bounded, scores
from edgesmith_builder.contract import BuildReport, MetricName

_REFUSED = 64
"""Candidates that are out and that are told."""
_MEASURED = (
    *("precision", "metric", "accuracy", "accuracy_error", "accuracy_drop", "accuracy_drop_error"),
    *("changed_answers", "agreement", "agreement_error", "multiplications"),
    *("warnings", "size", "rebased_from"),
)
"""Fields of the status that a build's report says."""


def known(states: Sequence[BuildState], build: BuildState, previous: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a variant's candidates, as fields of its status.

    While the registry does not answer, it is what the report said before: a measurement does not become untrue.

    Args:
        states: All builds of the variant.
        build: The one of them that is rolled out.
        previous: The EdgeModel's status as it stands.
    """
    before = variant_before(previous, build.profile.metadata.name, build.build.key)
    found: dict[str, Any] = {"built_image": build.built, "alternative": build.alternative if build.image else None}
    if build.tagged is None:
        found["built_image"] = before.get("builtImage") or before.get("image")
    found["waiting_since"] = None if build.alternative else build.waiting_since
    found["refused"] = tuple(one for state in states for one in _refused(state, previous))[:_REFUSED]
    found["builds"] = tuple(_build(one, previous) for one in states if one.alternative)
    if build.report:
        return found | _measured(build.report, build.build.metric)
    return found if build.reason is Reason.GATES_FAILED else found | _kept(before, _MEASURED)


def made_builds(profile: str, states: Sequence[BuildState], previous: Mapping[str, Any]) -> tuple[MadeBuild, ...]:
    """What is kept of the images of a variant that Jobs made: of each build the last one.

    Args:
        profile: The variant's.
        states: Its builds; empty while they are not known.
        previous: The EdgeModel's status as it stands.
    """
    before = {one.alternative: one for one in made_before(previous, profile)}
    if not states:
        return tuple(before.values())
    found = []
    for state in states:
        name, server = state.alternative or SOURCE, state.profile.spec.runtime.server
        if state.made:
            key, bundle = state.build.key, state.build.bundle_key(server)
            found.append(MadeBuild(alternative=name, build_key=key, bundle_key=bundle, digest=state.made))
        elif name in before:
            found.append(before[name])
    return tuple(found)


def _build(state: BuildState, previous: Mapping[str, Any]) -> VariantBuild:
    before = build_before(previous, state.profile.metadata.name, state.build.key)
    told = [str(one) for one in state.report.renamed] if state.report else []
    renamed = ", ".join(told) if state.report else before.get("renamed") or ""
    phase = "Failed" if state.phase == "Waiting" and state.tried else state.phase
    return VariantBuild(
        alternative=state.alternative or "",
        build_key=state.build.key,
        image=state.tagged or before.get("image"),
        state=phase,
        reason=state.reason,
        message=bounded(state.message) or None,
        waiting_since=state.waiting_since,
        renamed=bounded(renamed) or None,
    )


def _refused(state: BuildState, previous: Mapping[str, Any]) -> Iterable[RefusedCandidate]:
    if state.refused is None:
        profile, key = state.profile.metadata.name, state.build.key
        for one in refused_before(previous, profile, state.alternative, key):
            yield RefusedCandidate.model_validate(one)
    for found in state.refused or ():
        yield RefusedCandidate(
            alternative=state.alternative,
            precision=found.precision,
            size=found.size,
            image_size=found.image_size,
            message=bounded(found.rejected or ""),
            **scores(found, state.build.metric),
        )


def _measured(report: BuildReport, metric: MetricName) -> dict[str, Any]:
    """What a build measured of the candidate that is rolled out, as fields of the status."""
    measured: dict[str, Any] = dict(scores(report, metric))
    if report.accuracy is not None:
        measured["metric"] = metric
    winner = next((one for one in report.candidates if one.precision == report.precision), None)
    if winner and winner.lost is not None and winner.gained is not None and report.samples:
        measured["changed_answers"] = ChangedAnswers(lost=winner.lost, gained=winner.gained, samples=report.samples)
    same = ("precision", "size", "warnings", "rebased_from")
    return measured | {name: getattr(report, name) for name in same}


def _kept(before: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """Fields of the status as they are."""
    return {ours: before[theirs] for ours in fields if (theirs := to_camel(ours)) in before}
