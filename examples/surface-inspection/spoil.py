#!/usr/bin/env python3
"""Spoils a model on purpose, to see what a fleet is kept from.

``python3 examples/surface-inspection/spoil.py random bad.onnx`` writes one of:

* ``random``: its last layer is thrown away, so that it guesses. Only a floor on accuracy can refuse it.
* ``outlier``: one channel is made a thousand times too loud and the next layer turns it down again. In fp32 it answers
  bit for bit as before; in int8 the loud channel takes the whole range, so that no int8 build keeps its accuracy.
* ``nan``: one weight is not a number.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

HERE = Path(__file__).resolve().parent
LOUDER = np.float32(1024)
"""A power of two, which floats are multiplied with and divided by exactly."""

Weights = npt.NDArray[np.float32]


def _change(model: onnx.ModelProto, name: str, change: Callable[[Weights], Weights]) -> None:
    for stored in model.graph.initializer:
        if stored.name == name:
            stored.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(stored)), name))
            return
    raise ValueError(f"the model has no weights named {name!r}, expected one that the example's train.py wrote")


def _last(model: onnx.ModelProto) -> str:
    """Name of the dense layer's weights."""
    return next(str(node.input[1]) for node in model.graph.node if node.op_type == "Gemm")


def random(model: onnx.ModelProto) -> None:
    """Replaces the last layer's weights by noise of the same strength."""

    def noise(weight: Weights) -> Weights:
        drawn: Weights = np.random.default_rng(0).standard_normal(weight.shape, np.float32) * weight.std()
        return drawn

    _change(model, _last(model), noise)


def outlier(model: onnx.ModelProto) -> None:
    """Makes the strongest channel of the first filter a thousand times louder, and the second filter turn it down."""
    first, second = [node for node in model.graph.node if node.op_type == "Conv"][:2]
    by_name = {stored.name: numpy_helper.to_array(stored) for stored in model.graph.initializer}
    channel = int(abs(by_name[first.input[1]]).sum((1, 2, 3)).argmax())

    def scaled(values: Weights, factor: np.float32) -> Weights:
        out = values.copy()
        out[channel] *= factor
        return out

    _change(model, first.input[1], lambda weight: scaled(weight, LOUDER))
    _change(model, first.input[2], lambda bias: scaled(bias, LOUDER))
    # The second filter is depthwise: its own channel alone reads the loud one.
    _change(model, second.input[1], lambda weight: scaled(weight, 1 / LOUDER))


def nan(model: onnx.ModelProto) -> None:
    """Replaces one weight of the last layer by a NaN."""

    def holed(weight: Weights) -> Weights:
        out = weight.copy()
        out.flat[0] = np.nan
        return out

    _change(model, _last(model), holed)


WAYS: dict[str, Callable[[onnx.ModelProto], None]] = {"random": random, "outlier": outlier, "nan": nan}
"""What can be done to a model, by the name given on the command line."""


def spoil(way: str, source: Path, target: Path) -> None:
    """Writes a spoilt copy of a model.

    Args:
        way: One of `WAYS`.
        source: A model of this example.
        target: The file to write.

    Raises:
        ValueError: The model has not the layers that an example's has.
    """
    model = onnx.load(source)
    WAYS[way](model)
    target.write_bytes(model.SerializeToString(deterministic=True))


def main() -> None:
    """Writes the spoilt model that the command line asks for."""
    parser = argparse.ArgumentParser(description="Spoils a model on purpose.")
    parser.add_argument("way", choices=sorted(WAYS), help="what to do to it")
    parser.add_argument("target", type=Path, help="the file to write")
    parser.add_argument("--source", type=Path, default=HERE / "model.onnx", help="the model to spoil (default: v1)")
    arguments = parser.parse_args()
    spoil(arguments.way, arguments.source, arguments.target)
    print(f"{arguments.target}: {arguments.source.name} with {arguments.way} applied")


if __name__ == "__main__":
    main()
