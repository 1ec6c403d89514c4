"""From fp32 to int8."""

from edgesmith_builder.quantize.static import QuantizationFailed, quantize

__all__ = ["QuantizationFailed", "quantize"]
