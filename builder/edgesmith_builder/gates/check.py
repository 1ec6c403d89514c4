"""Holds what a build measured against gates. Pure: a report and gates in, sentences out.

Gates decide nothing about a candidate's bytes, so they are no part of the build key: the operator judges the report of
a build at every pass, and the builder's command line where its request has gates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgesmith_builder.contract import BuildReport, Candidate, Finalist, Form, Gates

_EPSILON = 1e-9
"""Values are rounded to six digits; a drop of exactly what is allowed must pass whatever its last bit says."""

_NO_IMAGE = "its image is not in the registry, or nothing vouches for it"


@dataclass(frozen=True, slots=True)
class Judged:
    """What gates leave of a build's candidates."""

    finalists: tuple[Finalist, ...]
    """Those that keep them, in the ladder's order, each with a warning where a gate says little."""
    refused: Mapping[Form, str]
    """Why each of the others is out, in one sentence, in the ladder's order."""

    @property
    def words(self) -> str:
        """All that are out, for a sentence: `int8: it agrees …; fp32: the image has …`."""
        return "; ".join(f"{precision}: {why}" for precision, why in self.refused.items())


def judge(report: BuildReport, gates: Gates) -> Judged:
    """Judge every candidate of a build.

    Args:
        report: The first finalist's, which names the others.
        gates: Bounds to keep.
    """
    images = {one.precision: one for one in report.finalists}
    finalists: list[Finalist] = []
    refused: dict[Form, str] = {}
    for candidate in report.candidates:
        why, image = candidate.rejected or rejection(report, candidate, gates), images.get(candidate.precision)
        if why is None and image is not None:
            finalists.append(_doubted(image, doubt(report, candidate, gates)))
        else:
            refused[candidate.precision] = why or _NO_IMAGE
    return Judged(tuple(finalists), refused)


def rejection(report: BuildReport, candidate: Candidate, gates: Gates) -> str | None:
    """Why a candidate does not keep the gates, in one sentence; None where it does. The first that it fails is named.

    What was not measured passes: there are no labels, or it is the source itself, which agrees with itself.
    """
    if candidate.accuracy is not None:
        words = _drop(report, candidate, gates.max_accuracy_drop) or _value(report, candidate.accuracy, gates)
        if words is not None:
            return words
    agreement, size = candidate.agreement, candidate.image_size
    if agreement is not None and agreement < gates.min_agreement - _EPSILON:
        return (
            f"it agrees with the source to {agreement:.4f} only, in {candidate.agreement_where}; "
            f"at least {gates.min_agreement:.4f} is asked by spec.gates.minAgreement"
        )
    if gates.max_image_size is not None and size is not None and size > gates.max_image_size:
        return f"the image has {size} bytes; at most {gates.max_image_size} are allowed by spec.gates.maxImageSize"
    return None


def doubt(report: BuildReport, candidate: Candidate, gates: Gates) -> str | None:
    """Why a gate that was kept says little, in one sentence; None where it says what it seems to."""
    drop, error = candidate.accuracy_drop, candidate.accuracy_drop_error
    if drop is None or error is None or gates.max_accuracy_drop != 0:
        return None
    return (
        f"spec.gates.maxAccuracyDrop is 0, which was counted over these {report.samples} samples alone; over "
        f"others the drop may be {drop + error:.4f}"
    )


def _doubted(finalist: Finalist, words: str | None) -> Finalist:
    return finalist.model_copy(update={"warnings": (words, *finalist.warnings)}) if words else finalist


def _drop(report: BuildReport, candidate: Candidate, gate: float | None) -> str | None:
    """What is wrong with the drop: too large, or larger than the gate for all that so few samples can tell.

    A gate of 0 is about these samples alone. The source itself has no error: it loses nothing.
    """
    drop, error, samples = candidate.accuracy_drop, candidate.accuracy_drop_error, report.samples or 0
    if gate is None or drop is None:
        return None
    verb, of_itself = ("drops", "") if report.higher else ("rises", " of itself")
    allowed = f"at most {gate:.4f} is allowed by spec.gates.maxAccuracyDrop"
    if drop > gate + _EPSILON:
        return f"{report.metric} {verb} by {drop:.4f}{of_itself} to {candidate.accuracy:.4f}; {allowed}"
    if error is None or gate == 0 or error <= gate or drop + error <= gate + _EPSILON:
        return None
    return (
        f"{report.metric} {verb} by {drop:.4f}{of_itself}, known to {error:.4f} either way only over "
        f"{samples} samples, so by {drop + error:.4f} for all that they tell; {allowed}, and an "
        f"evaluation set of about {round(samples * (error / gate) ** 2)} samples would tell"
    )


def _value(report: BuildReport, value: float, gates: Gates) -> str | None:
    least, most = gates.min_accuracy, gates.max_error
    if least is not None and report.higher and value < least - _EPSILON:
        return f"{report.metric} is {value:.4f}; at least {least:.4f} is asked by spec.gates.minAccuracy"
    if most is not None and not report.higher and value > most + _EPSILON:
        return f"{report.metric} is {value:.4f}; at most {most:.4f} is allowed by spec.gates.maxError"
    return None
