"""From fp32 to int8."""

from edgesmith_builder.quantize.dynamic import Dynamic, quantize_at_run_time
from edgesmith_builder.quantize.failures import QuantizationFailed
from edgesmith_builder.quantize.mixed import Mixture, mixtures
from edgesmith_builder.quantize.settings import Quantization
from edgesmith_builder.quantize.static import quantize

__all__ = [
    "Dynamic",
    "Mixture",
    "Quantization",
    "QuantizationFailed",
    "mixtures",
    "quantize",
    "quantize_at_run_time",
]
