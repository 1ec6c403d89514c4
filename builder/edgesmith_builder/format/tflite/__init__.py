"""TFLite: one FlatBuffer, which LiteRT runs as it came."""

from edgesmith_builder.format.tflite.read import SUFFIX, read_model, recognises, shaped

__all__ = ["SUFFIX", "read_model", "recognises", "shaped"]
