"""Small ONNX graphs for tests, what int8 makes of them, and how far that is from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgesmith_builder.dataset import Samples
from edgesmith_builder.quantize import Quantization, quantize
from edgesmith_runtime.engine import load_engine

FLOAT = TensorProto.FLOAT
Value = tuple[str, int, Any]
"""Name, type and shape; None for a shape that is not known."""
Feeds = Mapping[str, Any]

node: Any = helper.make_node
rng = np.random.default_rng(20)


def begin_anew() -> None:
    """From here on the numbers are those of every beginning."""
    rng.bit_generator.state = np.random.default_rng(20).bit_generator.state


def numbers(*shape: int) -> NDArray[np.float32]:
    """Normal numbers, others each time within a test of the builder and the same in each run of it."""
    return rng.normal(size=shape).astype(np.float32)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    weights: Mapping[str, Any],
    *,
    opset: int = 17,
    domains: Sequence[tuple[str, int]] = (),
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model of these nodes; weights are arrays by name."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in (("", opset), *domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=list(functions))


def samples_of(feeds: Feeds) -> Samples:
    """The arrays as samples of a model whose inputs have a first axis for them."""
    return Samples(dict(feeds), {name: array.ndim for name, array in feeds.items()}, batches=True)


def quantised(
    folder: Path,
    model: onnx.ModelProto,
    feeds: Feeds | Samples,
    settings: Quantization | None = None,
    threads: int = 1,
) -> Path:
    """The int8 form of a model; its source lies beside it as `source.onnx`."""
    (folder / "source.onnx").write_bytes(model.SerializeToString())
    work = folder / "work"
    work.mkdir()
    samples = feeds if isinstance(feeds, Samples) else samples_of(feeds)
    return quantize(folder / "source.onnx", samples, settings or Quantization(), work, threads)


def answers(file: Path, feeds: Feeds) -> dict[str, NDArray[Any]]:
    """What the engine that serves answers."""
    engine = load_engine("onnxruntime", file, threads=1)
    try:
        return engine.infer(feeds)
    finally:
        engine.close()


def decibels(source: Path, made: Path, feeds: Feeds) -> float:
    """Signal to noise of the worst output: 10 log10 of the mean square of its values over that of the difference."""
    before, after = answers(source, feeds), answers(made, feeds)
    worst = math.inf
    for name, array in before.items():
        signal, noise = array.astype(np.float64), array.astype(np.float64) - after[name]
        worst = min(worst, 10 * math.log10(float((signal**2).mean()) / max(float((noise**2).mean()), 1e-30)))
    return worst


def weights_of(file: Path) -> dict[str, NDArray[Any]]:
    """Arrays of 8 bits with more than one axis that a DequantizeLinear reads, by name."""
    graph = onnx.load_model(file).graph
    read = {one.input[0] for one in graph.node if one.op_type == "DequantizeLinear"}
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name in read}
    return {name: array for name, array in arrays.items() if array.ndim > 1 and array.dtype.itemsize == 1}
