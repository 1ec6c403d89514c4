"""What a spec says of pictures, as a build is told it."""

from __future__ import annotations

from edgesmith.api import picture as api
from edgesmith.api.fraction import parse_fraction
from edgesmith_builder import contract


def declared(spec: api.Picture) -> contract.Picture:
    """The declaration of a build.

    Raises:
        ValueError: A number is none, which the API server lets through with another schema only.
    """
    own = spec.model_dump(exclude={"scale", "mean", "deviation", "classification", "detection"})
    return contract.Picture(
        **own,
        scale=api.number_of(spec.scale),
        mean=tuple(map(float, spec.mean)),
        deviation=tuple(map(float, spec.deviation)),
        classification=_classification(spec.classification) if spec.classification else None,
        detection=_detection(spec.detection) if spec.detection else None,
    )


def _classification(spec: api.Classification) -> contract.Classification:
    return contract.Classification(**spec.model_dump(exclude={"scale"}), scale=api.number_of(spec.scale))


def _detection(spec: api.Detection) -> contract.Detection:
    return contract.Detection(
        **spec.model_dump(exclude={"score_threshold", "iou_threshold"}),
        score_threshold=parse_fraction(spec.score_threshold),
        iou_threshold=parse_fraction(spec.iou_threshold),
    )
