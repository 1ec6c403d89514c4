"""What a TFLite file that is compiled for the Edge TPU says of itself: what it needs, how its weights reach the chip.

The compiler puts all that it compiled into one custom operator, whose options are a FlexBuffer
(`tflite/custom_op_data.cc` of github.com/google-coral/libedgetpu); its string `4` is a FlatBuffer, a `Package` of
`executable/executable.fbs` there. A package holds executables: one that only caches weights in the chip's memory, and
one that runs and streams the others with each answer; or one alone that does all. The numbers of fields below are that
schema's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgesmith_builder.format.tflite.flatbuffer import Malformed, Table
from edgesmith_builder.format.tflite.flexbuffer import strings_of
from edgesmith_builder.format.tflite.read import EDGE_TPU, GRAPHS, with_bytes
from edgesmith_builder.format.tflite.tensors import CODE_CUSTOM, GRAPH_OPERATORS, MODEL_CODES, MODEL_GRAPHS, MOST

_PARTS, _EXECUTABLES = 256, 64
_OPERATOR_CODE, _OPERATOR_OPTIONS = 0, 5
_PACKAGE = "4"
_IDENTIFIER = b"DWN1"
_PACKAGE_RUNTIME, _PACKAGE_EXECUTABLES = 0, 1
_MULTI_EXECUTABLES = 0
_EXECUTABLE_PARAMETERS, _EXECUTABLE_CHIP, _EXECUTABLE_KIND = 6, 10, 13
_CACHES = 1
"""The kind of executable that only loads weights into the chip's memory."""


@dataclass(frozen=True, slots=True)
class Package:
    """What is compiled for the chip, over all custom operators of a file."""

    runtime: int
    """The oldest version of the Edge TPU runtime that runs it."""
    cached: int
    """Bytes of weights that stay on the chip."""
    streamed: int
    """Bytes of weights that are sent again for each answer."""
    chips: tuple[str, ...]
    """What it was compiled for, by the compiler's names; the Edge TPU's is `beagle`."""


def read_package(path: Path, what: str) -> Package:
    """Read what is inside the custom operators of a compiled file.

    Args:
        path: The file.
        what: What messages call it.

    Raises:
        ModelInvalid: where there is no such operator, or it is not of that layout.
    """
    return with_bytes(path, what, _read)


def _read(data: memoryview) -> Package:
    model = Table.root(data)
    codes = [code.text(CODE_CUSTOM) for code in model.tables(MODEL_CODES, MOST)]
    graphs = model.tables(MODEL_GRAPHS, GRAPHS)
    count = sum(graph.count(GRAPH_OPERATORS, 4) for graph in graphs)
    if count > MOST:
        raise Malformed(f"it has {count} operators where at most {MOST} have a use")
    operators = [one for graph in graphs for one in graph.tables(GRAPH_OPERATORS, MOST) if _is_ours(one, codes)]
    if not 0 < len(operators) <= _PARTS:
        raise Malformed(f"{len(operators)} operators of it are {EDGE_TPU}, where 1 to {_PARTS} have a use")
    parts = [_part(operator.bytes(_OPERATOR_OPTIONS)) for operator in operators]
    return Package(
        runtime=max(part.runtime for part in parts),
        cached=sum(part.cached for part in parts),
        streamed=sum(part.streamed for part in parts),
        chips=tuple(sorted({chip for part in parts for chip in part.chips})),
    )


def _is_ours(operator: Table, codes: list[str]) -> bool:
    code = operator.number(_OPERATOR_CODE, "I")
    return code < len(codes) and codes[code] == EDGE_TPU


def _part(options: memoryview) -> Package:
    package = strings_of(options).get(_PACKAGE)
    if package is None or package[4:8] != _IDENTIFIER:
        raise Malformed(f"its {EDGE_TPU} holds no package for the chip")
    table = Table.root(package)
    cached, streamed, chips = 0, 0, set()
    for data in Table.root(table.bytes(_PACKAGE_EXECUTABLES)).strings(_MULTI_EXECUTABLES, _EXECUTABLES):
        executable = Table.root(data)
        size = executable.count(_EXECUTABLE_PARAMETERS, 1)
        chips.add(executable.text(_EXECUTABLE_CHIP))
        if executable.number(_EXECUTABLE_KIND, "h") == _CACHES:
            cached += size
        else:
            streamed += size
    return Package(table.number(_PACKAGE_RUNTIME, "i"), cached, streamed, tuple(chips))
