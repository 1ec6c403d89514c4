"""Operators that pass channels on, and what of them changes with the channels (onnx, `Operators.md`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx

from edgesmith_builder.prune.layout import Layout
from edgesmith_builder.prune.reading import Reading, Slice
from edgesmith_builder.quantize.graph import attribute_of

Rule = Callable[[Reading, onnx.NodeProto], bool]
"""Says what a node does to channels; False where it is none that the rule is about."""


def _of_channels(rule: Callable[[Reading, onnx.NodeProto, Layout], Layout | None]) -> Rule:
    """A rule about a node whose first input has channels: it says how they lie in the output, or None."""

    def asked(found: Reading, node: onnx.NodeProto) -> bool:
        layout = found.layout(node.input[0])
        passed = layout and rule(found, node, layout)
        if passed is not None:
            found.layouts[node.output[0]] = passed
        return layout is None or passed is not None

    return asked


def _same(found: Reading, node: onnx.NodeProto) -> bool:
    """One value becomes one value; what is beside the first input is no larger than a single value."""
    layout = found.layout(node.input[0])
    if any(name and len(found.values(name) or ()) != 1 for name in node.input[1:]):
        return False
    if layout is not None:
        found.layouts[node.output[0]] = layout
    return True


@_of_channels
def _spatial(_: Reading, node: onnx.NodeProto, layout: Layout) -> Layout | None:
    """Pooling over axes behind the channels."""
    if layout.axis != 1 or layout.repeat != 1 or len(node.output) > 1:
        return None
    return layout


def _elementwise(found: Reading, node: onnx.NodeProto) -> bool:
    """Several tensors, value by value: their channels are the same, and constants have a value for each or one."""
    tensors = [name for name in node.input if name not in found.constants]
    layouts = [found.layout(name) for name in tensors]
    first = layouts[0] if layouts else None
    if first is None:
        return not any(layouts)
    rank = len(found.shapes.get(node.output[0], ()))
    if any(len(found.shapes.get(name, ())) != rank for name in tensors):
        return False
    along = {
        name: axis for name in node.input if name in found.constants and (axis := _along(found, name, rank, first))
    }
    if any(axis < 0 for axis in along.values()):
        return False
    if any(other is None or not found.groups.join(first, other) for other in layouts[1:]):
        return False
    for index, name in enumerate(node.input):
        if name in along:
            found.slices.append(Slice(node, index, along[name] - 1, first))
    found.layouts[node.output[0]] = first
    return True


def _along(found: Reading, name: str, rank: int, layout: Layout) -> int:
    """Which axis of a constant has the channels, counted from 1; 0: it has one value for all; -1: it does not fit."""
    dims = list(found.constants[name].dims)
    axis = layout.axis - (rank - len(dims))
    if axis < 0 or dims[axis] == 1:
        return 0 if len(dims) <= rank else -1
    return axis + 1 if dims[axis] == found.groups.width(layout) * layout.repeat else -1


@_of_channels
def _normalisation(found: Reading, node: onnx.NodeProto, layout: Layout) -> Layout | None:
    """A scale and a shift for each channel, all constant."""
    if layout.axis != 1 or layout.repeat != 1 or any(name not in found.constants for name in node.input[1:]):
        return None
    found.slices.extend(Slice(node, index, 0, layout) for index in range(1, len(node.input)))
    return layout


@_of_channels
def _flatten(found: Reading, node: onnx.NodeProto, layout: Layout) -> Layout | None:
    """Everything behind the first axis becomes one: each channel has as many values as it had pixels."""
    before, after = found.shapes.get(node.input[0], ()), found.shapes.get(node.output[0], ())
    if node.op_type == "Reshape":
        if node.input[1] not in found.constants or attribute_of(node, "allowzero", 0):
            return None
        if layout.axis == len(before) - 1 and after[-1:] == before[-1:]:
            found.reshaped.append((node, layout))
            return layout.moved(len(after) - 1)
    if layout.axis != 1 or len(after) != 2 or after[0] != before[0]:  # noqa: PLR2004 - samples and values
        return None
    if node.op_type == "Reshape":
        found.reshaped.append((node, None))
    elif attribute_of(node, "axis", 1) != 1:
        return None
    inner = 1
    for size in before[2:]:
        inner *= size
    return Layout(1, layout.groups, layout.repeat * inner)


@_of_channels
def _reduced(found: Reading, node: onnx.NodeProto, layout: Layout) -> Layout | None:
    """A mean or a sum over axes behind the channels."""
    axes = _axes(found, node)
    rank = len(found.shapes.get(node.input[0], ()))
    if not axes or any(axis % rank <= layout.axis for axis in axes):
        return None
    return layout


def _axes(found: Reading, node: onnx.NodeProto) -> list[int]:
    told: list[int] = list(attribute_of(node, "axes", ()))
    if not told and len(node.input) > 1 and node.input[1]:
        told = [int(value) for value in found.values(node.input[1]) or ()]
    return told


@_of_channels
def _padded(found: Reading, node: onnx.NodeProto, layout: Layout) -> Layout | None:
    """Borders around other axes than that of the channels."""
    pads, rank = found.values(node.input[1]) if len(node.input) > 1 else None, len(found.shapes.get(node.input[0], ()))
    chosen = len(node.input) > 3 and bool(node.input[3])  # noqa: PLR2004 - the axes, since opset 18
    if pads is None or chosen or len(pads) != 2 * rank or pads[layout.axis] or pads[layout.axis + rank]:
        return None
    return layout


@_of_channels
def _resized(found: Reading, node: onnx.NodeProto, layout: Layout) -> Layout | None:
    """Another height and width, told as factors."""
    scales = found.values(node.input[2]) if len(node.input) == 3 else None  # noqa: PLR2004 - without sizes
    if attribute_of(node, "axes", ()) or not scales or scales[layout.axis] != 1.0:
        return None
    return layout


def _concatenated(found: Reading, node: onnx.NodeProto) -> bool:
    """Channels behind those of another tensor, or pixels beside its pixels."""
    layouts = [found.layout(name) for name in node.input]
    first = layouts[0]
    if first is None or any(one is None or (one.axis, one.repeat) != (first.axis, 1) for one in layouts):
        return not any(layouts)
    if first.repeat != 1:
        return False
    known = [one for one in layouts if one is not None]
    axis = attribute_of(node, "axis", 0) % max(1, len(found.shapes.get(node.output[0], ())))
    if axis == first.axis:
        found.layouts[node.output[0]] = Layout(axis, tuple(group for one in known for group in one.groups))
        return True
    if not all(found.groups.join(first, other) for other in known[1:]):
        return False
    found.layouts[node.output[0]] = first
    return True


@_of_channels
def _transposed(found: Reading, node: onnx.NodeProto, layout: Layout) -> Layout | None:
    rank = len(found.shapes.get(node.input[0], ()))
    order = list(attribute_of(node, "perm", range(rank - 1, -1, -1)))
    return layout.moved(order.index(layout.axis))


_SAME = (
    "Abs Cast Ceil Celu Clip Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu Log Mish Neg Reciprocal "
    "Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Tanh ThresholdedRelu"
)
_ELEMENTWISE = "Add Sub Mul Div Pow Max Min Sum PRelu"
_POOLING = "MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool GlobalLpPool"
_REDUCTION = "ReduceMean ReduceSum ReduceMax ReduceMin ReduceL2"

PASSING: Mapping[str, Rule] = {
    **dict.fromkeys(_SAME.split(), _same),
    **dict.fromkeys(_ELEMENTWISE.split(), _elementwise),
    **dict.fromkeys(_POOLING.split(), _spatial),
    **dict.fromkeys(_REDUCTION.split(), _reduced),
    "BatchNormalization": _normalisation,
    "InstanceNormalization": _normalisation,
    "Flatten": _flatten,
    "Reshape": _flatten,
    "Pad": _padded,
    "Resize": _resized,
    "Concat": _concatenated,
    "Transpose": _transposed,
}
"""Rules by operator."""
