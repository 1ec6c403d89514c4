"""Which tensors lose most in 8 bits, measured: what each is in fp32, and what rounding leaves of that.

ONNX Runtime's `qdq_loss_debug` takes the values out of a model. Its own measure, one number over a whole tensor of the
model in int8, hides two things. Beside one channel of large values all others round to nothing, and the tensor as a
whole keeps 40 decibels: so signal and noise are added up by channel, and each channel counts by what the layers behind
make of it, see `channels`. And behind such a tensor nothing is left to lose: so values are those of the model in fp32,
rounded one tensor at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader
from onnxruntime.quantization.qdq_loss_debug import collect_activations, modify_model_output_intermediate_tensors

from edgesmith_builder.dataset import Samples
from edgesmith_builder.quantize.channels import Channels, as_rows, channels_of
from edgesmith_builder.quantize.emit import quiet
from edgesmith_builder.quantize.failures import failing_as
from edgesmith_builder.quantize.graph import QUANTISED, attribute_of, initializers
from edgesmith_builder.quantize.static import Plain
from edgesmith_builder.score.spread import spread

SAMPLES = 16
"""How many are looked at, at most."""

MEMORY = 128 * 1000**2
"""Bytes of values that are held at once, at most; one sample's in any case."""

_WHOLE, _INPUT = "_quantized", "_QuantizeLinear_Input"
"""What ONNX Runtime's quantiser puts behind the names of weights, and of values before they are rounded."""


@dataclass(frozen=True, slots=True)
class Losses:
    """What was measured."""

    decibels: Mapping[str, float]
    """What is left of each tensor in 8 bits, weights and activations, by its name in fp32. Rounded to a tenth: sums end
    in other bits on other processors, and the order must not."""
    sizes: Mapping[str, int]
    """Values of each activation for one sample."""


def losses(plain: Plain, samples: Samples, folder: Path) -> Losses:
    """Measure what is left of each tensor.

    Args:
        plain: The model in int8.
        samples: The calibration set; some spread over it are looked at.
        folder: Where to put what is in between.

    Raises:
        QuantizationFailed: where the values cannot be taken out.
    """
    single, quantised = (onnx.load_model(file).graph for file in (plain.recipe.model, plain.file))
    channels, steps = channels_of(single), _steps(quantised)
    sizes: dict[str, int] = {}
    energies: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
    with failing_as("what it loses cannot be measured"), quiet():
        for values in _values(plain.recipe.model, samples, folder):
            sizes = {name: arrays[0].size for name, arrays in values.items()} | sizes
            for name, (scale, zero) in steps.items():
                for array in values.get(name, ()):
                    noise = _rounded(array, scale, zero) - array
                    signal, before = energies.get(name, (np.zeros(1), np.zeros(1)))
                    energies[name] = signal + channels.energy(name, array), before + channels.energy(name, noise)
    found = {
        name: _decibels(*(float(channels.counted(name, energy.size) @ energy) for energy in pair))
        for name, pair in energies.items()
    }
    constants, restored = initializers(single), _restored(quantised)
    for node in single.node:
        for name in node.input[1:]:
            if name in restored and node.op_type in QUANTISED:
                brought = energies.get(node.input[0], (None, None))[0]
                loss = _of_weight(node, numpy_helper.to_array(constants[name]), restored[name], channels, brought)
                found[name] = min(found.get(name, math.inf), loss)
    return Losses(found, sizes)


class _Reader(CalibrationDataReader):  # type: ignore[misc, unused-ignore]  # onnxruntime carries no types
    def __init__(self, samples: Samples, chosen: Sequence[int]) -> None:
        self._feeds: Iterator[Any] = (samples.feed(index) for index in chosen)

    def get_next(self) -> Any:
        return next(self._feeds, None)


def _values(model: Path, samples: Samples, folder: Path) -> Iterator[dict[str, list[NDArray[Any]]]]:
    """The values of every tensor, flat: for one sample, then for as many more as there is memory for."""
    saving = folder / "saving.onnx"
    modify_model_output_intermediate_tensors(model, saving)
    first, *rest = spread(min(SAMPLES, len(samples)), len(samples), None)
    found = collect_activations(str(saving), _Reader(samples, [first]))
    room = MEMORY // max(1, sum(array.nbytes for arrays in found.values() for array in arrays))
    yield found
    if rest[:room]:
        yield collect_activations(str(saving), _Reader(samples, rest[:room]))
    saving.unlink()


def _steps(quantised: onnx.GraphProto) -> dict[str, tuple[float, NDArray[Any]]]:
    """Scale and zero point of each activation that is rounded, by its name in fp32."""
    constants = initializers(quantised)
    return {
        node.input[0].removesuffix(_INPUT): (
            float(numpy_helper.to_array(constants[node.input[1]])),
            numpy_helper.to_array(constants[node.input[2]]),
        )
        for node in quantised.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants
    }


def _rounded(array: NDArray[Any], scale: float, zero: NDArray[Any]) -> NDArray[np.float64]:
    """What QuantizeLinear and DequantizeLinear make of values (onnx, `Operators.md`)."""
    bounds = np.iinfo(zero.dtype)
    whole = np.rint(array.astype(np.float64) / scale) + int(zero)
    return np.asarray((whole.clip(bounds.min, bounds.max) - int(zero)) * scale)


def _restored(quantised: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """The weights of a model in int8 as it computes with them, by their names in fp32.

    `qdq_loss_debug` does so too, but subtracts zero points within the weights' own type, which uint8 does not stand,
    and puts channels together one by one, which takes seconds.
    """
    constants, found = initializers(quantised), {}
    for node in quantised.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants and node.input[0].endswith(_WHOLE):
            whole, scale, zero = (numpy_helper.to_array(constants[name]) for name in node.input[:3])
            shape = [1] * whole.ndim
            if scale.size > 1:
                shape[attribute_of(node, "axis", 1)] = scale.size
            values = whole.astype(np.float64) - zero.astype(np.float64).reshape(shape)
            found[node.input[0].removesuffix(_WHOLE)] = values * scale.reshape(shape)
    return found


def _of_weight(
    node: onnx.NodeProto, before: NDArray[Any], after: NDArray[Any], channels: Channels, inputs: NDArray[Any] | None
) -> float:
    """Decibels of a weight: each value counts by what its input brings, and by what its output counts for."""
    rows = [as_rows(node, array) for array in (before, after - before)]
    if rows[0] is None or rows[1] is None:
        return _decibels(float(np.square(before).sum()), float(np.square(after - before).sum()))
    groups, outs, ins, _ = rows[0].shape
    brought = np.ones(groups * ins) if inputs is None or inputs.size != groups * ins else inputs
    counted = channels.counted(node.output[0], groups * outs)
    signal, noise = (
        float(np.einsum("goir,gi,go->", np.square(row), brought.reshape(groups, ins), counted.reshape(groups, outs)))
        for row in rows
        if row is not None
    )
    return _decibels(signal, noise)


def _decibels(signal: float, noise: float) -> float:
    """Infinite where nothing was there to lose, or nothing is lost."""
    if signal <= 0 or noise <= 0:
        return math.inf
    return round(10 * math.log10(signal / noise), 1)
