"""Formats that models come in: recognised by their bytes, and read without trusting them."""

from edgesmith_builder.format.facts import ModelFacts, Original
from edgesmith_builder.format.onnx.older import TooNew
from edgesmith_builder.format.reader import Reader, read_there
from edgesmith_builder.format.registry import read_source, shaped_source

__all__ = ["ModelFacts", "Original", "Reader", "TooNew", "read_source", "read_there", "shaped_source"]
