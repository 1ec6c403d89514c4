"""Models: read without trusting them."""

from edgesmith_builder.model.onnx_file import ModelFacts, read_model
from edgesmith_builder.model.shapes import shaped
from edgesmith_builder.model.weights import check_weights

__all__ = ["ModelFacts", "check_weights", "read_model", "shaped"]
