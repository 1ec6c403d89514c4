"""Data sets: read without trusting them, and held against the model."""

from edgesmith_builder.dataset.npz import read_npz
from edgesmith_builder.dataset.samples import LABELS, Samples, samples_for

__all__ = ["LABELS", "Samples", "read_npz", "samples_for"]
