"""From fp32 to int8."""

from edgesmith_builder.quantize.failures import QuantizationFailed, machine_failed
from edgesmith_builder.quantize.settings import Quantization
from edgesmith_builder.quantize.static import quantize

__all__ = ["Quantization", "QuantizationFailed", "machine_failed", "quantize"]
