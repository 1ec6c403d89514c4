"""TFLite: one FlatBuffer, which LiteRT runs as it came."""

from edgesmith_builder.format.tflite.read import SUFFIX, read_model, recognises, shaped
from edgesmith_builder.format.tflite.renaming import renamed

__all__ = ["SUFFIX", "read_model", "recognises", "renamed", "shaped"]
