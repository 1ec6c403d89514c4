"""How int8 is made for a processor; which number types are fast differs between processors by a factor of two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

NumberType = Literal["uint16", "uint8", "int8"]


@dataclass(frozen=True, slots=True)
class Quantization:
    """The options of the toolchain ONNXRuntime, typed; `edgesmith_builder.contract.TOOLCHAINS` says what each means."""

    activations: NumberType = "uint8"
    weights: NumberType = "int8"
    per_channel: bool = True
    reduce_range: bool = True
    hexagon: bool = False
    """For a processor without floating point: everything in whole numbers, as QNN takes it (`hexagon.py`)."""
    around_zero: bool = False
    """What layers with weights take is in whole numbers around zero, and nothing else, as TensorRT takes it
    (`around_zero.py`)."""

    @staticmethod
    def of(settings: Mapping[str, str]) -> Quantization:
        """The same of `Toolchain.settings`, which hold every option."""
        return Quantization(
            activations=cast("NumberType", settings["activations"]),
            weights=cast("NumberType", settings["weights"]),
            per_channel=settings["perChannel"] == "true",
            reduce_range=settings["reduceRange"] == "true",
        )
