"""Data sets: read without trusting them, and held against the model."""

from edgesmith_builder.dataset.labels import BOXES, CLASSES, LABELS, NUMBERS, Labels
from edgesmith_builder.dataset.npz import NAME, read_npz
from edgesmith_builder.dataset.pictures import PictureSet, holds_pictures, read_pictures
from edgesmith_builder.dataset.samples import Samples, samples_for

__all__ = [
    "BOXES",
    "CLASSES",
    "LABELS",
    "NAME",
    "NUMBERS",
    "Labels",
    "PictureSet",
    "Samples",
    "holds_pictures",
    "read_npz",
    "read_pictures",
    "samples_for",
]
