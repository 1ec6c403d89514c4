"""Data sets: read without trusting them, and held against the model."""

from edgesmith_builder.dataset.labels import BOXES, CLASSES, LABELS, NUMBERS, Labels
from edgesmith_builder.dataset.npz import NAME, read_npz
from edgesmith_builder.dataset.samples import Samples, samples_for

__all__ = ["BOXES", "CLASSES", "LABELS", "NAME", "NUMBERS", "Labels", "Samples", "read_npz", "samples_for"]
