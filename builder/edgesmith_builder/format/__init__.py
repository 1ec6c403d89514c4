"""Formats that models come in: recognised by their bytes, and read without trusting them."""

from edgesmith_builder.format.facts import ModelFacts, Original
from edgesmith_builder.format.onnx.older import TooNew
from edgesmith_builder.format.reader import Reader, read_there
from edgesmith_builder.format.registry import read_source, renamed_source, shaped_source
from edgesmith_builder.format.renames import Renames

__all__ = [
    "ModelFacts",
    "Original",
    "Reader",
    "Renames",
    "TooNew",
    "read_source",
    "read_there",
    "renamed_source",
    "shaped_source",
]
