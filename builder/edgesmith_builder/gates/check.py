"""Holds what was measured against the gates. Pure: numbers in, a sentence or nothing out."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith_builder.contract import Gates

_EPSILON = 1e-9
"""Accuracies are rounded to six digits; a drop of exactly what is allowed must pass whatever its last bit says."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a candidate."""

    accuracy: float | None = None
    accuracy_drop: float | None = None
    """Against the source in fp32; negative where the candidate is better."""
    accuracy_drop_error: float | None = None
    """Half the width of the drop's 95 % confidence interval."""
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
    drop, accuracy, size = measured.accuracy_drop, measured.accuracy, measured.image_size
    if gates.max_accuracy_drop is not None and drop is not None and drop > gates.max_accuracy_drop + _EPSILON:
        return (
            f"accuracy drops by {drop:.4f} to {accuracy:.4f}; "
            f"at most {gates.max_accuracy_drop:.4f} is allowed by spec.gates.maxAccuracyDrop"
        )
    if gates.min_accuracy is not None and accuracy is not None and accuracy < gates.min_accuracy - _EPSILON:
        return f"accuracy is {accuracy:.4f}; at least {gates.min_accuracy:.4f} is asked by spec.gates.minAccuracy"
    agreement = measured.agreement
    if agreement is not None and agreement < gates.min_agreement - _EPSILON:
        return (
            f"it agrees with the source to {agreement:.4f} only, in {measured.agreement_where}; "
            f"at least {gates.min_agreement:.4f} is asked by spec.gates.minAgreement"
        )
    if gates.max_image_size is not None and size is not None and size > gates.max_image_size:
        return f"the image has {size} bytes; at most {gates.max_image_size} are allowed by spec.gates.maxImageSize"
    return None


def doubt(measured: Measured, gates: Gates, samples: int) -> str | None:
    """Why a gate that was passed says little, in one sentence; None where it says what it seems to.

    Args:
        measured: What is known of the candidate.
        gates: The gates.
        samples: How many samples its accuracy was counted over.
    """
    gate, error = gates.max_accuracy_drop, measured.accuracy_drop_error
    if gate is None or error is None or error <= gate:
        return None
    return (
        f"the accuracy drop of {measured.accuracy_drop:.4f} is known to {error:.4f} either way only, over {samples} "
        f"samples, and spec.gates.maxAccuracyDrop allows {gate:.4f}; an evaluation set of about "
        f"{round(samples * (error / gate) ** 2) if gate else 'all possible'} samples would tell"
    )
