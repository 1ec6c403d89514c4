"""Formats that models come in: recognised by their bytes, and read without trusting them."""

from edgesmith_builder.format.facts import ModelFacts, Original
from edgesmith_builder.format.registry import read_source, shaped_source

__all__ = ["ModelFacts", "Original", "read_source", "shaped_source"]
