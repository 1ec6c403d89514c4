"""Which candidates are worth bettering, and which of several forms of one is taken. Pure; knows no gate.

A candidate loses what can be told where its drop is more than its standard error, a 1.96th of half the 95 % interval:
then it is more likely real than not. Where it agrees with the source to less than 20 dB, or in nine answers of ten, it
loses whatever its score says.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgesmith_builder.contract import REFINES, Candidate, Form

AGREEMENT = 0.9
"""Least agreement with the source of a candidate that loses nothing; see `edgesmith_builder.score.agreement`."""

_ERRORS = 1.96
"""Standard errors in half a 95 % interval."""

Loss = tuple[float, float]
"""Sorts candidates: what is lost of the score, then what is missing from agreement."""


def loses(candidate: Candidate) -> bool:
    """Whether a candidate loses what its samples can tell, against the source."""
    drop, error = candidate.accuracy_drop, candidate.accuracy_drop_error or 0.0
    if drop is not None and drop > error / _ERRORS:
        return True
    return candidate.agreement is not None and candidate.agreement < AGREEMENT


def loss_of(candidate: Candidate) -> Loss:
    """How much a candidate loses, to compare it with others over the same samples."""
    return candidate.accuracy_drop or 0.0, 1.0 - (1.0 if candidate.agreement is None else candidate.agreement)


def why_not_refined(precision: Form, tried: Mapping[Form, Candidate]) -> str | None:
    """Why a form that loses less than another is not made, in one sentence; None where it is, or is no such form.

    Args:
        precision: The form.
        tried: What came of the rungs before.
    """
    other = tried.get(REFINES[precision]) if precision in REFINES else None
    if other is None:
        return None
    if other.agreement is None:
        return f"there is no {other.precision} of it to leave nodes of in float"
    if loses(other):
        return None
    drop, error = other.accuracy_drop, other.accuracy_drop_error or 0.0
    scored = f"a drop of {drop:.4f} ± {error:.4f} and " if drop is not None else ""
    return (
        f"{other.precision} loses nothing that its samples can tell ({scored}an agreement of {other.agreement:.4f} "
        "with the source), so no node has to stay in float"
    )
