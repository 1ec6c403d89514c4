"""The forms that candidates take: precisions of the source as it came, and of the source pruned."""

from __future__ import annotations

import functools
import logging
from dataclasses import replace

from edgesmith_builder.contract import PRUNED, Candidate, Form, Pruning
from edgesmith_builder.failures import CompileFailed, machine_failed
from edgesmith_builder.ladder import Attempt, Workshop
from edgesmith_builder.lastwords import left_out, trying
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.prune import prune, refusal

log = logging.getLogger(__name__)

_MILLION = 10**6


class Forms:
    """Tries each form in the workshop that has the material for it."""

    def __init__(self, whole: Workshop, pruning: Pruning | None) -> None:
        """Make it; nothing is computed yet.

        Args:
            whole: Where the source as it came is worked on.
            pruning: What is to be removed, where that is asked for.
        """
        self._whole = whole
        self._pruning = pruning

    def attempt(self, form: Form) -> Attempt:
        """Try one form; see `Workshop.attempt`. One that ended an earlier process of this build is not tried again."""
        why = left_out(form)
        if why is not None:
            return self._whole.rejected(form, why)
        with trying(form):
            return self._attempt(form)

    def _attempt(self, form: Form) -> Attempt:
        if form not in PRUNED.values():
            return self._whole.attempt(form)
        found = self._pruned
        if isinstance(found, str):
            return Attempt(Candidate(precision=form, rejected=found))
        return found.attempt(form)

    @functools.cached_property
    def _pruned(self) -> Workshop | str:
        """Where the pruned source is worked on; or why there is none, in one sentence."""
        material = self._whole.material
        if self._pruning is None or material.calibration is None:
            return refusal(material.source, material.calibration) or "spec.optimize.pruning is absent"
        refused = refusal(material.source, material.calibration)
        if refused is not None:
            return refused
        folder = self._whole.folder / "pruned"
        folder.mkdir()
        try:
            with step("pruned") as current:
                made = prune(material.source, material.calibration, self._pruning.ratio, folder)
                before, after = (f"{count / _MILLION:.4g}" for count in (made.before, made.after))
                current.say(
                    f"from {before} to {after} million multiplications, "
                    f"from {size_text(material.source.size)} to {size_text(made.model.size)}"
                )
        except CompileFailed as error:
            if machine_failed(error):
                raise
            return f"it cannot be pruned: {error}"
        share = round(made.after / made.before, 4)
        return replace(self._whole, material=replace(material, source=made.model, compiled=None), multiplications=share)
