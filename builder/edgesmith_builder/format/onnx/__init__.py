"""ONNX: one protocol buffer, which ONNX Runtime runs as it came."""

from edgesmith_builder.format.onnx.naming import named
from edgesmith_builder.format.onnx.read import SUFFIX, read_model, recognises
from edgesmith_builder.format.onnx.renaming import renamed
from edgesmith_builder.format.onnx.shapes import shaped
from edgesmith_builder.format.onnx.weights import check_weights

__all__ = ["SUFFIX", "check_weights", "named", "read_model", "recognises", "renamed", "shaped"]
