"""Which candidates of a build keep the gates of the EdgeModel. Judged at every pass: changed gates build nothing."""

from __future__ import annotations

from dataclasses import replace

from edgesmith.api.conditions import Reason
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.decide.builds import BuildState
from edgesmith.decide.gates import gates_of
from edgesmith.decide.held import build_before
from edgesmith_builder.contract import BuildReport
from edgesmith_builder.gates import judge

_SILENT = 10.0
"""Seconds until the registry is asked again for a report."""


def judged(state: BuildState, model: EdgeModel) -> BuildState:
    """A build that is there, with what its gates leave: the first of the ladder as the image, all as finalists.

    Where they leave none, there is no image and no build is started: another one would measure the same.

    Args:
        state: Where the build stands.
        model: Whose gates are asked.
    """
    if state.report is None:
        return _as_before(state, model)
    found, tagged = judge(state.report, gates_of(model)), state.image or ""
    refused = tuple(
        one.model_copy(update={"rejected": found.refused[one.precision]})
        for one in state.report.candidates
        if one.precision in found.refused
    )
    if not found.finalists:
        message = f"No candidate keeps the gates: {found.words}"
        failed = replace(state, phase="Failed", reason=Reason.GATES_FAILED, message=message)
        return replace(failed, image=None, built=tagged, report=None, refused=refused)
    repository, _, digest = tagged.partition("@")
    finalists = tuple(one if one.digest else one.model_copy(update={"digest": digest}) for one in found.finalists)
    report: BuildReport = state.report.of(finalists[0]).model_copy(update={"finalists": finalists})
    image = f"{repository}@{finalists[0].digest}"
    return replace(state, image=image, built=tagged if tagged != image else None, report=report, refused=refused)


def _as_before(state: BuildState, model: EdgeModel) -> BuildState:
    """A build whose report is not at hand: what gates refused before is not rolled out for want of the report."""
    before = build_before(model.status, state.profile.metadata.name, state.build.key)
    if state.phase != "Built" or before.get("reason") != Reason.GATES_FAILED:
        return state
    message, tagged = str(before.get("message") or ""), state.built or state.image
    failed = replace(state, phase="Failed", reason=Reason.GATES_FAILED, message=message, look_again=_SILENT)
    return replace(failed, image=None, built=tagged)
