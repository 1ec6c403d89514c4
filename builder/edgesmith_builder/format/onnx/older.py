"""An ONNX model as an older ONNX Runtime reads it: in its set of operators and its IR version, or why it cannot be.

Where a model has only operators that are alike in both sets, another number is all that is written. Where some differ,
ONNX's own converter rewrites them, which is no proof: whatever comes out is scored like everything else that is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import inliner, version_converter

from edgesmith_builder.contract import MICROSOFT_SINCE, Reads, Release
from edgesmith_builder.format.onnx.domains import STANDARD
from edgesmith_builder.format.onnx.nesting import inner_graphs, subgraphs

_ML = "ai.onnx.ml"
_MICROSOFT = "com.microsoft"

_PLACE = re.compile(r"^.*Assertion `.*` failed: ")
"""What stands before the words in an error of ONNX's converter: a place in its source."""

_OVERLOADS = 10
"""The IR version that brought several functions of one name (onnx, `onnx.proto`), and so did the types below."""

_TYPES_SINCE = {
    10: ("UINT4", "INT4"),
    11: ("FLOAT4E2M1",),
    12: ("FLOAT8E8M0",),
    13: ("UINT2", "INT2"),
    14: ("FLOAT6E2M3", "FLOAT6E3M2"),
}
"""Number types by the IR version that brought them."""


class TooNew(Exception):  # noqa: N818 - an outcome, turned into a sentence by who knows what the model is called
    """A model cannot be had as an older ONNX Runtime reads it."""

    def __init__(self, has: str, why: str, most: str) -> None:
        super().__init__(f"{has}, and {why}; {most} was expected")
        self.has = has
        """`opset 26`."""
        self.why = why
        """Why it is not written in an older one, as a clause."""
        self.most = most
        """`opset 21 or less`."""


@dataclass(frozen=True, slots=True)
class Older:
    """A model for an older ONNX Runtime."""

    file: Path
    converted: tuple[int, int] | None = None
    """From which opset to which operators were rewritten; None: none was."""


def for_release(source: Path, release: Release, most: Reads, folder: Path) -> Older:
    """A model as a release of ONNX Runtime reads it: the file itself where that one does.

    Args:
        source: The file; it stays as it is.
        release: The release.
        most: The newest that it reads.
        folder: Where to write another file, which is made for it.

    Raises:
        TooNew: There is no such form of it.
    """
    model = onnx.load_model(source)
    _check_microsoft(model, release)
    standard, ml_opset = _newest(model, STANDARD), _newest(model, (_ML,))
    fits = standard <= most.opset and ml_opset <= most.ml_opset
    if fits and model.ir_version <= most.ir_version:
        return Older(source)
    converted = None
    if not fits:
        if model.functions and standard > most.opset:
            model = _without_functions(model, standard, most.opset)
        _lower_ml(model, most.ml_opset)
        model, rewritten = _lowered(model, standard, most.opset)
        converted = (standard, most.opset) if rewritten else None
    _lower_ir(model, most.ir_version)
    folder.mkdir()
    target = folder / source.name
    onnx.save_model(model, target)
    return Older(target, converted)


def _newest(model: onnx.ModelProto, domains: Sequence[str]) -> int:
    """The newest set of operators of some domains that a model imports, or one of its functions; 0 where none does."""
    imports = [*model.opset_import, *(one for function in model.functions for one in function.opset_import)]
    return max((one.version for one in imports if one.domain in domains), default=0)


def _without_functions(model: onnx.ModelProto, opset: int, most: int) -> onnx.ModelProto:
    """A model with its functions written out, since ONNX's converter leaves them as they are."""
    made = inliner.inline_local_functions(model)
    if made.functions:
        why = f"its function {made.functions[0].name} is in another opset than the model and cannot be written out"
        raise TooNew(f"opset {opset}", why, f"opset {most} or less")
    return made


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for graph in subgraphs(model.graph):
        yield from graph.node
    for function in model.functions:
        yield from _nodes_of(function)


def _nodes_of(function: onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    """A function's nodes, and those of the graphs inside of them."""
    yield from function.node
    for node in function.node:
        for inner in inner_graphs(node):
            for graph in subgraphs(inner):
                yield from graph.node


def _check_microsoft(model: onnx.ModelProto, release: Release) -> None:
    for node in _nodes(model):
        since = MICROSOFT_SINCE.get(node.op_type) if node.domain == _MICROSOFT else None
        if since is not None and release < since:
            came = ".".join(map(str, since))
            raise TooNew(
                f"the operator {_MICROSOFT}:{node.op_type}", f"it came with ONNX Runtime {came}", "a model without it"
            )


def _lower_ml(model: onnx.ModelProto, most: int) -> None:
    """Write a lower set of `ai.onnx.ml`, whose operators ONNX's converter does not rewrite; of functions, too."""
    own = [node for graph in subgraphs(model.graph) for node in graph.node]
    _lower_ml_import(model.opset_import, own, most)
    for function in model.functions:
        _lower_ml_import(function.opset_import, _nodes_of(function), most)


def _lower_ml_import(imports: Iterable[onnx.OperatorSetIdProto], nodes: Iterable[onnx.NodeProto], most: int) -> None:
    """Write a lower set of `ai.onnx.ml` for nodes that are read by the same imports."""
    imported = next((one for one in imports if one.domain == _ML), None)
    if imported is None or imported.version <= most:
        return
    for node in nodes:
        if node.domain == _ML and _since(node, imported.version) != _since(node, most):
            raise TooNew(
                f"{_ML} opset {imported.version}",
                f"its operator {node.op_type} is another in opset {most}, or not there",
                f"{_ML} opset {most} or less",
            )
    imported.version = most


def _lowered(model: onnx.ModelProto, opset: int, most: int) -> tuple[onnx.ModelProto, bool]:
    """A model in a lower set of ONNX's own operators, and whether one was rewritten."""
    if opset <= most:
        return model, False
    own = [node for node in _nodes(model) if node.domain in STANDARD]
    if all(_since(node, opset) == _since(node, most) for node in own):
        for one in model.opset_import:
            if one.domain in STANDARD:
                one.version = most
        return model, False
    has, expected = f"opset {opset}", f"opset {most} or less"
    missing = sorted({node.op_type for node in own if _since(node, most) is None})
    if missing:
        raise TooNew(has, f"its operator {missing[0]} is not in opset {most}", expected)
    try:
        made = version_converter.convert_version(model, most)
    # ONNX's own errors share no base class of their own.
    except Exception as error:
        said = _PLACE.sub("", str(error).strip().partition("\n")[0])[:200]
        raise TooNew(has, f"ONNX's converter does not write it in opset {most} ({said})", expected) from error
    for node in _nodes(made):
        if node.domain in STANDARD and (unknown := _unknown(node, most)):
            raise TooNew(has, f"its operator {node.op_type} has no {unknown} in opset {most}", expected)
    return made, True


def _since(node: onnx.NodeProto, opset: int) -> int | None:
    """The set of operators that an operator is as it was in; None: it is not there in this one."""
    try:
        found = onnx.defs.get_schema(node.op_type, opset, "" if node.domain in STANDARD else node.domain)
    except onnx.defs.SchemaError:
        return None
    return int(found.since_version)


def _unknown(node: onnx.NodeProto, opset: int) -> str | None:
    """An attribute of an operator that its form in a set of operators does not have."""
    known = onnx.defs.get_schema(node.op_type, opset, "").attributes
    return next((one.name for one in node.attribute if one.name not in known), None)


def _lower_ir(model: onnx.ModelProto, most: int) -> None:
    """Write a lower IR version, which is a number where a model has nothing of the newer one."""
    if model.ir_version <= most:
        return
    has, expected = f"IR version {model.ir_version}", f"IR version {most} or less"
    newer = {
        getattr(onnx.TensorProto, name): name
        for version, names in _TYPES_SINCE.items()
        if version > most
        for name in names
    }
    for found in _types(model):
        if found in newer:
            raise TooNew(has, f"it has values of type {newer[found]}, which IR version {most} does not have", expected)
    if most < _OVERLOADS and any(function.overload for function in model.functions):
        raise TooNew(has, f"it has several functions of one name, which IR version {most} does not have", expected)
    model.ir_version = most


def _types(model: onnx.ModelProto) -> Iterator[int]:
    """The number types of a model's constants and values, and those that its operators cast to."""
    for graph in subgraphs(model.graph):
        yield from (tensor.data_type for tensor in graph.initializer)
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield value.type.tensor_type.elem_type
    for node in _nodes(model):
        for attribute in node.attribute:
            yield attribute.t.data_type
            if attribute.name in ("to", "dtype", "output_dtype"):
                yield attribute.i
