"""The gates that are judged by what a build measured: those of an EdgeModel, as the builder's package judges them."""

from __future__ import annotations

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.fraction import parse_fraction
from edgesmith.api.units import parse_bytes
from edgesmith_builder.contract import Gates


def gates_of(model: EdgeModel) -> Gates:
    """An EdgeModel's; those on latency and memory are judged on devices, see `edgesmith.decide.verdicts`."""
    gates = model.spec.gates
    return Gates(
        max_accuracy_drop=parse_fraction(gates.max_accuracy_drop) if gates.max_accuracy_drop else None,
        min_accuracy=parse_fraction(gates.min_accuracy) if gates.min_accuracy else None,
        max_error=float(gates.max_error) if gates.max_error else None,
        max_image_size=parse_bytes(gates.max_image_size) if gates.max_image_size else None,
        **({"min_agreement": parse_fraction(gates.min_agreement)} if gates.min_agreement else {}),
    )
