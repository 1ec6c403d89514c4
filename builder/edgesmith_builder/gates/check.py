"""Holds what was measured against the gates. Pure: numbers in, a sentence or nothing out."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith_builder.contract import Gates

_EPSILON = 1e-9
"""Values are rounded to six digits; a drop of exactly what is allowed must pass whatever its last bit says."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a metric says of a candidate."""

    value: float
    drop: float
    """Lost against the source on the same samples; negative where the candidate is better. Of an error, its relative
    rise."""
    error: float | None = None
    """Half the width of the drop's 95 % confidence interval; None for the source itself, which loses nothing."""
    samples: int = 0
    """How many it was measured over."""
    name: str = "accuracy"
    """What the metric is called."""
    higher: bool = True
    """Whether a higher value is a better one."""

    def tells(self, gate: float) -> bool:
        """Whether so many samples can tell a drop of the gate from none; a gate of 0 is about these samples alone."""
        return self.error is None or gate == 0 or self.error <= gate


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a candidate."""

    scored: Scored | None = None
    agreement: float | None = None
    """With the source, where it is least."""
    agreement_where: str = ""
    """Which output, and which part of it."""
    image_size: int | None = None
    """Compressed bytes of the whole image."""


def rejection(measured: Measured, gates: Gates) -> str | None:
    """Why a candidate may not win, in one sentence; None where it may. The first gate it fails is named.

    What is not measured yet passes, so that the cheap gates can be asked before the image is packed.
    """
    agreement, size = measured.agreement, measured.image_size
    if measured.scored is not None:
        words = _drop(measured.scored, gates.max_accuracy_drop) or _value(measured.scored, gates)
        if words is not None:
            return words
    if agreement is not None and agreement < gates.min_agreement - _EPSILON:
        return (
            f"it agrees with the source to {agreement:.4f} only, in {measured.agreement_where}; "
            f"at least {gates.min_agreement:.4f} is asked by spec.gates.minAgreement"
        )
    if gates.max_image_size is not None and size is not None and size > gates.max_image_size:
        return f"the image has {size} bytes; at most {gates.max_image_size} are allowed by spec.gates.maxImageSize"
    return None


def _drop(scored: Scored, gate: float | None) -> str | None:
    """What is wrong with the drop: too large, or larger than the gate for all that so few samples can tell."""
    if gate is None:
        return None
    verb, of_itself = ("drops", "") if scored.higher else ("rises", " of itself")
    allowed = f"at most {gate:.4f} is allowed by spec.gates.maxAccuracyDrop"
    if scored.drop > gate + _EPSILON:
        return f"{scored.name} {verb} by {scored.drop:.4f}{of_itself} to {scored.value:.4f}; {allowed}"
    if scored.error is None or scored.tells(gate) or scored.drop + scored.error <= gate + _EPSILON:
        return None
    return (
        f"{scored.name} {verb} by {scored.drop:.4f}{of_itself}, known to {scored.error:.4f} either way only over "
        f"{scored.samples} samples, so by {scored.drop + scored.error:.4f} for all that they tell; {allowed}, and an "
        f"evaluation set of about {round(scored.samples * (scored.error / gate) ** 2)} samples would tell"
    )


def _value(scored: Scored, gates: Gates) -> str | None:
    least, most = gates.min_accuracy, gates.max_error
    if least is not None and scored.higher and scored.value < least - _EPSILON:
        return f"{scored.name} is {scored.value:.4f}; at least {least:.4f} is asked by spec.gates.minAccuracy"
    if most is not None and not scored.higher and scored.value > most + _EPSILON:
        return f"{scored.name} is {scored.value:.4f}; at most {most:.4f} is allowed by spec.gates.maxError"
    return None


def doubt(measured: Measured, gates: Gates) -> str | None:
    """Why a gate that was passed says little, in one sentence; None where it says what it seems to."""
    scored = measured.scored
    if scored is None or scored.error is None or gates.max_accuracy_drop != 0:
        return None
    return (
        f"spec.gates.maxAccuracyDrop is 0, which was counted over these {scored.samples} samples alone; over "
        f"others the drop may be {scored.drop + scored.error:.4f}"
    )
