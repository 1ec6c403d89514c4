"""How many bytes a revision moves to its nodes: the compressed layers of its image that a node's image does not have.

Layers are known by their digests, so where the base image is the same only the model's layers count, and where it
differs it counts as well. A node can have layers of other images, so it is what a node pulls at the most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgesmith.decide.rollout import Course

Layers = Mapping[str, int]
"""Digest of a layer to its compressed bytes."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """What is still to be moved."""

    each: int
    """Bytes for a node that goes from the revision before; of the first one, those of the whole image."""
    nodes: int
    """Nodes that have not been given the revision."""
    total: int | None
    """Bytes for all of them; None where the layers of an image that one of them runs are not known."""


def transfer_of(course: Course, images: Mapping[str, str], layers: Mapping[str, Layers]) -> Transfer | None:
    """What a variant's target moves; None where that is not known, or there is none.

    Args:
        course: The variant.
        images: The image of each revision that has one, by reference.
        layers: The layers of each image that the registry showed.
    """
    target = course.target
    if target is None or target.rolled_back:
        return None
    new = layers.get(images.get(target.revision, ""))
    before = course.stable.revision if course.stable else None
    each = _missing(new, before, images, layers)
    if new is None or each is None:
        return None
    counted: dict[str | None, int] = {}
    for node in course.variant.nodes:
        if node.label != target.revision:
            label = node.label if node.label in images else None
            counted[label] = counted.get(label, 0) + 1
    parts = [(_missing(new, label, images, layers), count) for label, count in counted.items()]
    known = [bytes_ * count for bytes_, count in parts if bytes_ is not None]
    return Transfer(each, sum(counted.values()), sum(known) if len(known) == len(parts) else None)


def _missing(
    new: Layers | None, revision: str | None, images: Mapping[str, str], layers: Mapping[str, Layers]
) -> int | None:
    """Bytes of an image that a node with a revision does not have; of no revision, all of them."""
    there: Layers | None = {} if revision is None else layers.get(images.get(revision, ""))
    if new is None or there is None:
        return None
    return sum(size for digest, size in new.items() if digest not in there)
