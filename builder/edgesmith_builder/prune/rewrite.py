"""Writes the graph without the channels that were chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgesmith_builder.prune.choose import Choice
from edgesmith_builder.prune.layout import Layout
from edgesmith_builder.prune.moments import Moments
from edgesmith_builder.prune.reading import BIAS, WEIGHT, Mixer, Slice
from edgesmith_builder.quantize.graph import set_attribute, uses

Array = NDArray[np.float64]


def matrix_of(weight: NDArray[np.float32], mixer: Mixer, channels: int) -> Array:
    """A mixer's weights as `[outputs * positions, channels]`, in double precision."""
    turned = np.moveaxis(weight.astype(np.float64), (mixer.out_axis, mixer.in_axis), (0, -1))
    repeat = mixer.into.repeat if mixer.into else 1
    apart = turned.reshape(turned.shape[0], -1, channels, repeat)
    return np.ascontiguousarray(apart.transpose(0, 1, 3, 2)).reshape(-1, channels)


def weight_of(matrix: Array, like: NDArray[np.float32], mixer: Mixer, kept: tuple[list[int], list[int]]) -> Array:
    """The reverse of `matrix_of`, with some outputs and some channels only."""
    outputs, channels = kept
    repeat = mixer.into.repeat if mixer.into else 1
    turned = np.moveaxis(like, (mixer.out_axis, mixer.in_axis), (0, -1))
    apart = matrix.reshape(turned.shape[0], -1, repeat, matrix.shape[1]).transpose(0, 1, 3, 2)
    left = apart[outputs][:, :, channels]
    return np.moveaxis(left.reshape(len(outputs), *turned.shape[1:-1], -1), (0, -1), (mixer.out_axis, mixer.in_axis))


class Rewriter:
    """Changes a graph in place."""

    def __init__(self, graph: onnx.GraphProto, choice: Choice, moments: dict[str, Moments]) -> None:
        """Make it.

        Args:
            graph: The graph that was read.
            choice: What was chosen.
            moments: By the tensor that a mixer reads.
        """
        self._graph = graph
        self._choice = choice
        self._reading = choice.reading
        self._moments = moments

    def run(self) -> None:
        """Take the channels out."""
        added = {id(mixer.node): self._mixer(number, mixer) for number, mixer in enumerate(self._reading.mixers)}
        for one in self._reading.slices:
            self._slice(one)
        for passing in self._reading.depthwise:
            set_attribute(passing.node, "group", len(self._kept(passing.layout)))
        for node, layout in self._reading.reshaped:
            self._reshape(node, layout)
        behind = {node.output[0]: new for node in self._graph.node if (new := added.get(id(node))) is not None}
        self._insert(behind)
        used = uses(self._graph)
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        del self._graph.value_info[:]

    def _kept(self, layout: Layout) -> list[int]:
        """Values along a tensor's axis that stay."""
        found: list[int] = []
        at = 0
        for group in layout.groups:
            gone = set(self._choice.removed.get(self._reading.groups.find(group), ()))
            for channel in range(self._reading.groups.sizes[group]):
                if channel not in gone:
                    first = (at + channel) * layout.repeat
                    found.extend(range(first, first + layout.repeat))
            at += self._reading.groups.sizes[group]
        return found

    def _mixer(self, number: int, mixer: Mixer) -> onnx.NodeProto | None:
        """A mixer's weights and bias; the node that adds the bias, where it cannot take one itself."""
        node = mixer.node
        whole = numpy_helper.to_array(self._reading.constants[node.input[WEIGHT]])
        outputs = self._kept(Layout(0, (mixer.out,)))
        width = self._reading.groups.width(mixer.into) if mixer.into else whole.shape[mixer.in_axis]
        channels = self._kept(mixer.into.flat()) if mixer.into else list(range(width))
        if len(outputs) == whole.shape[mixer.out_axis] and len(channels) == width:
            return None
        before = matrix_of(whole, mixer, width)
        surgeon = self._choice.surgeons.get(number)
        after = surgeon.weights if surgeon else before
        node.input[WEIGHT] = self._constant(node.input[WEIGHT], weight_of(after, whole, mixer, (outputs, channels)))
        offset = np.zeros(len(outputs))
        if surgeon is not None:
            lost = (before - after).reshape(whole.shape[mixer.out_axis], -1, width)[outputs].sum(axis=1)
            offset = (lost * self._moments[node.input[0]].means).sum(axis=1)
        return self._biased(node, outputs, offset)

    def _biased(self, node: onnx.NodeProto, outputs: list[int], offset: Array) -> onnx.NodeProto | None:
        own = node.op_type != "MatMul" and len(node.input) > BIAS and bool(node.input[BIAS])
        if not own and not offset.any():
            return None
        bias = offset
        if own:
            before = numpy_helper.to_array(self._reading.constants[node.input[BIAS]])
            bias = offset + np.broadcast_to(before.reshape(-1), (max(before.size, max(outputs) + 1),))[outputs]
        name = self._constant(node.input[BIAS] if own else f"{node.output[0]}/bias", bias)
        if node.op_type == "MatMul":
            product = f"{node.output[0]}/product"
            made = helper.make_node("Add", [product, name], [node.output[0]], name=f"{node.name}/bias")
            node.output[0] = product
            return made
        del node.input[BIAS:]
        node.input.append(name)
        return None

    def _slice(self, one: Slice) -> None:
        """A constant of a node that passes channels on."""
        name = one.node.input[one.input]
        whole = numpy_helper.to_array(self._reading.constants[name])
        kept = self._kept(one.layout)
        if len(kept) < whole.shape[one.axis]:
            one.node.input[one.input] = self._constant(name, np.take(whole, kept, axis=one.axis))

    def _reshape(self, node: onnx.NodeProto, layout: Layout | None) -> None:
        """The size that is asked for: samples as they are and whatever is left of each, or what is left of the last."""
        shape = [0, -1]
        if layout is not None:
            shape = numpy_helper.to_array(self._reading.constants[node.input[1]]).tolist()
            shape[-1] = len(self._kept(layout)) if shape[-1] != -1 else -1
        node.input[1] = self._constant(node.input[1], np.array(shape, np.int64))

    def _constant(self, name: str, values: Sequence[int] | NDArray[np.generic]) -> str:
        """Add a constant under a name of its own; numbers in double precision become single."""
        array = np.asarray(values)
        array = np.ascontiguousarray(array.astype(np.float32) if array.dtype == np.float64 else array)
        own = f"{name}/pruned{len(self._graph.initializer)}"
        self._graph.initializer.append(numpy_helper.from_array(array, own))
        return own

    def _insert(self, behind: dict[str, onnx.NodeProto]) -> None:
        """Put nodes behind those whose output they take."""
        nodes: list[onnx.NodeProto] = []
        for node in self._graph.node:
            nodes.append(node)
            if node.output[0] in behind:
                nodes.append(behind[node.output[0]])
        del self._graph.node[:]
        self._graph.node.extend(nodes)
