"""Holds what a build measured against gates. Pure: a report and gates in, sentences out.

Gates decide nothing about a candidate's bytes, so they are no part of the build key: the operator judges the report of
a build at every pass, and the builder's command line where its request has gates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgesmith_builder.contract import BuildReport, Candidate, Finalist, Form, Gates
from edgesmith_builder.gates.bound import EPSILON, Bound, Measured, value_text

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
            words = doubts(report, candidate, gates)
            finalists.append(image.model_copy(update={"warnings": (*words, *image.warnings)}) if words else image)
        else:
            refused[candidate.precision] = why or _NO_IMAGE
    return Judged(tuple(finalists), refused)


def rejection(report: BuildReport, candidate: Candidate, gates: Gates) -> str | None:
    """Why a candidate does not keep the gates, in one sentence; None where it does. The first that it fails is named.

    What was not measured passes: there are no labels, or it is the source itself, which agrees with itself.
    """
    if candidate.accuracy is not None:
        words = _drop(report, candidate, gates.max_accuracy_drop) or _value(report, candidate, gates)
        if words is not None:
            return words
    agreed, size = _agreed(candidate), candidate.image_size
    asked = _agreement(gates).broken(agreed) if agreed else None
    if agreed and asked:
        return f"it agrees with the source to {agreed.value:.4f} only, in {candidate.agreement_where}; {asked}"
    if gates.max_image_size is not None and size is not None and size > gates.max_image_size:
        return f"the image has {size} bytes; at most {gates.max_image_size} are allowed by spec.gates.maxImageSize"
    return None


def doubts(report: BuildReport, candidate: Candidate, gates: Gates) -> tuple[str, ...]:
    """Why gates that were kept say little, each in one sentence: so few samples do not tell whether they are kept."""
    found: list[str | None] = []
    drop, error = candidate.accuracy_drop, candidate.accuracy_drop_error
    if drop is not None and error is not None and gates.max_accuracy_drop == 0:
        found.append(
            f"spec.gates.maxAccuracyDrop is 0, which was counted over these {report.samples} samples alone; over "
            f"others the drop may be {drop + error:.4f}"
        )
    value, bound, agreed = _scored(report, candidate), _bound(report, gates), _agreed(candidate)
    found.append(bound.doubt(report.metric, value) if bound and value else None)
    if agreed and gates.min_agreement > 0:
        found.append(_agreement(gates).doubt("agreement with the source", agreed))
    return tuple(words for words in found if words)


def _drop(report: BuildReport, candidate: Candidate, gate: float | None) -> str | None:
    """What is wrong with the drop: too large, or larger than the gate for all that so few samples can tell.

    A gate of 0 is about these samples alone. The source itself has no error: it loses nothing.
    """
    drop, error, samples = candidate.accuracy_drop, candidate.accuracy_drop_error, report.samples or 0
    if gate is None or drop is None:
        return None
    verb, of_itself = ("drops", "") if report.higher else ("rises", " of itself")
    allowed = f"at most {gate:.4f} is allowed by spec.gates.maxAccuracyDrop"
    if drop > gate + EPSILON:
        value = value_text(candidate.accuracy or 0.0, share=report.higher)
        return f"{report.metric} {verb} by {drop:.4f}{of_itself} to {value}; {allowed}"
    if error is None or gate == 0 or error <= gate or drop + error <= gate + EPSILON:
        return None
    return (
        f"{report.metric} {verb} by {drop:.4f}{of_itself}, known to {error:.4f} either way only over "
        f"{samples} samples, so by {drop + error:.4f} for all that they tell; {allowed}, and an "
        f"evaluation set of about {round(samples * (error / gate) ** 2)} samples would tell"
    )


def _value(report: BuildReport, candidate: Candidate, gates: Gates) -> str | None:
    value, bound = _scored(report, candidate), _bound(report, gates)
    asked = bound.broken(value) if bound and value else None
    return f"{report.metric} is {value_text(value.value, share=report.higher)}; {asked}" if value and asked else None


def _scored(report: BuildReport, candidate: Candidate) -> Measured | None:
    if candidate.accuracy is None:
        return None
    return Measured(candidate.accuracy, candidate.accuracy_error, report.samples)


def _agreed(candidate: Candidate) -> Measured | None:
    if candidate.agreement is None:
        return None
    return Measured(candidate.agreement, candidate.agreement_error, candidate.agreement_samples)


def _bound(report: BuildReport, gates: Gates) -> Bound | None:
    """The gate on the metric's value; None where there is none for such a metric."""
    gate = gates.min_accuracy if report.higher else gates.max_error
    field = "spec.gates.minAccuracy" if report.higher else "spec.gates.maxError"
    return Bound(gate, least=report.higher, field=field) if gate is not None else None


def _agreement(gates: Gates) -> Bound:
    return Bound(gates.min_agreement, least=True, field="spec.gates.minAgreement")
