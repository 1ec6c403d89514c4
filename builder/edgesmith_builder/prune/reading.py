"""What is found in a graph when it is read for channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx

from edgesmith_builder.prune.layout import Groups, Layout
from edgesmith_builder.quantize.graph import uses

Shapes = Mapping[str, tuple[int, ...]]
"""By tensor, as one sample had them."""

WEIGHT, BIAS = 1, 2
"""Where Conv, ConvTranspose and Gemm take them; MatMul takes its weight there as well."""


@dataclass(frozen=True, slots=True)
class Mixer:
    """A node whose every output channel is a sum over all input channels, with constant weights."""

    node: onnx.NodeProto
    into: Layout | None
    """Channels that it reads; None where nothing is known of them."""
    out: int
    """The group that it makes."""
    in_axis: int
    out_axis: int
    """Of its weight."""
    multiplications: int
    """For one sample."""


@dataclass(frozen=True, slots=True)
class Passing:
    """A node that multiplies, and passes each channel on: a depthwise convolution."""

    node: onnx.NodeProto
    layout: Layout
    multiplications: int


@dataclass(frozen=True, slots=True)
class Slice:
    """A constant that has a value for each channel along one axis."""

    node: onnx.NodeProto
    input: int
    axis: int
    layout: Layout


@dataclass(slots=True)
class Reading:
    """What was found in a graph."""

    constants: dict[str, onnx.TensorProto]
    shapes: Shapes
    groups: Groups = field(default_factory=Groups)
    layouts: dict[str, Layout] = field(default_factory=dict)
    """Tensors whose channels are known."""
    mixers: list[Mixer] = field(default_factory=list)
    depthwise: list[Passing] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    reshaped: list[tuple[onnx.NodeProto, Layout | None]] = field(default_factory=list)
    """Reshape nodes: the size that they name is another one afterwards. With the channels that lie along the last axis
    before and after; None: they flatten."""
    other: int = 0
    """Multiplications of layers whose channels are kept."""

    def layout(self, name: str) -> Layout | None:
        """A tensor's channels, where they are known."""
        return self.layouts.get(name)

    def pin(self, node: onnx.NodeProto) -> None:
        """Keep every channel that a node reads."""
        self.groups.pin(self.layout(name) for name in (*node.input, *_within(node)))

    def values(self, name: str) -> list[float] | None:
        """A small constant's values; None where it is none."""
        if name not in self.constants:
            return None
        found: list[float] = onnx.numpy_helper.to_array(self.constants[name]).reshape(-1).tolist()
        return found


def _within(node: onnx.NodeProto) -> list[str]:
    """Tensors that graphs inside a node name."""
    inside = [graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs)]
    return [name for graph in inside for name in uses(graph)]
