"""Reads a TFLite file that anybody may have written: in one file, with tensors that can be served.

Schema: `tensorflow/compiler/mlir/lite/schema/schema.fbs` of TensorFlow, version 3; the numbers of fields below are
theirs. Whether the graph is valid is for the engine to say, which loads it next.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgesmith_builder.contract import EngineName, Precision
from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.format.facts import ModelFacts
from edgesmith_builder.format.tflite.flatbuffer import Malformed, Table
from edgesmith_builder.limits import MODEL
from edgesmith_builder.progress import size_text

SUFFIX = ".tflite"
IDENTIFIER = b"TFL3"
"""At byte 4, as `flatbuffers` puts a schema's `file_identifier`."""

EDGE_TPU = "edgetpu-custom-op"
"""The operator that `edgetpu_compiler` puts in place of all that it compiled."""

GRAPHS, MOST, ENDS, AXES = 1 << 10, 1 << 18, 1 << 10, 16
"""Graphs, tensors of all graphs together, inputs or outputs, and axes, at most: tables may be named many times over, so
that a small file could take for ever to read."""

_MODEL_CODES, _MODEL_GRAPHS, _MODEL_BUFFERS = 1, 2, 4
_CODE_CUSTOM = 1
_GRAPH_TENSORS, _GRAPH_INPUTS, _GRAPH_OUTPUTS = 0, 1, 2
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_BUFFER, _TENSOR_NAME, _TENSOR_SCALES = 0, 1, 2, 3, 4
_BUFFER_DATA, _BUFFER_OFFSET = 0, 1
_SCALE = 2

_FLOAT32, _FLOAT16, _UINT8, _INT8 = 0, 1, 3, 9
_SERVED = frozenset({_FLOAT32, _FLOAT16, 2, _UINT8, 4, 5, 6, 7, _INT8, 10, 12, 15, 16})
"""Types of tensors that a request can carry: whole numbers, floats, truth values and text."""


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    kind: int
    shape: tuple[int, ...]
    scaled: bool
    constant: int
    """Bytes of its values in the file; 0 where they are computed."""


def recognises(head: bytes) -> bool:
    """Whether a file that begins so is a TFLite file."""
    return head[4:8] == IDENTIFIER


def shaped(facts: ModelFacts, ranks: Mapping[str, int], what: str) -> ModelFacts:  # noqa: ARG001 - as every format has it
    """The same: a tensor's number of axes is always there."""
    return facts


def read_model(path: Path, what: str) -> ModelFacts:
    """Read and check a model.

    Args:
        path: The file.
        what: What messages call it: `spec.source.uri s3://…`.

    Raises:
        ModelInvalid: in one sentence, when it is not a model that can be served.
    """
    size = path.stat().st_size
    if not len(IDENTIFIER) + 4 <= size <= MODEL:
        raise ModelInvalid(f"{what} has {size} bytes; a TFLite file of up to {size_text(MODEL)} was expected")
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as data,
    ):
        try:
            return _facts(path, data, what)
        except Malformed as error:
            broken = f"{what} is a malformed TFLite file: {error}; tables that lie inside it were expected"
    raise ModelInvalid(broken)  # out here, where no frame of an error holds on to the file


def _facts(path: Path, data: memoryview, what: str) -> ModelFacts:
    model = Table.root(data)
    graphs = model.tables(_MODEL_GRAPHS, GRAPHS)
    if not graphs:
        raise ModelInvalid(f"{what} has no graph; one at least was expected")
    count = sum(graph.count(_GRAPH_TENSORS, 4) for graph in graphs)
    if count > MOST:
        raise ModelInvalid(f"{what} has {count} tensors; at most {MOST} were expected")
    buffers = model.tables(_MODEL_BUFFERS, MOST)
    if any(buffer.number(_BUFFER_OFFSET, "Q") > 1 for buffer in buffers):
        raise ModelInvalid(
            f"{what} keeps weights behind its tables; a file of up to 2 GB, which does not, was expected"
        )
    sizes = [buffer.count(_BUFFER_DATA, 1) for buffer in buffers]
    tensors = [[_tensor(tensor, sizes, what) for tensor in graph.tables(_GRAPH_TENSORS, MOST)] for graph in graphs]
    main = tensors[0]
    ends = {
        "input": _ends(graphs[0], _GRAPH_INPUTS, main, "input", what),
        "output": _ends(graphs[0], _GRAPH_OUTPUTS, main, "output", what),
    }
    weights = [tensor for one in tensors for tensor in one if tensor.constant]
    customs = [code.text(_CODE_CUSTOM) for code in model.tables(_MODEL_CODES, MOST)]
    engine: EngineName = "edgetpu" if EDGE_TPU in customs else "litert"
    return ModelFacts(
        path=path,
        size=len(data),
        format="TFLite",
        engine=engine,
        precision=_precision(weights, ends["input"]),
        parameters=sum(max(0, math.prod(tensor.shape)) for tensor in weights),
    )


def _tensor(table: Table, sizes: list[int], what: str) -> _Tensor:
    buffer, name = table.number(_TENSOR_BUFFER, "I"), table.text(_TENSOR_NAME)
    if buffer >= max(1, len(sizes)):
        raise ModelInvalid(f"{what} has the tensor {name!r} in buffer {buffer}; one of its {len(sizes)} was expected")
    shape = table.numbers(_TENSOR_SHAPE, "i", AXES)
    scales = table.table(_TENSOR_SCALES)
    return _Tensor(
        name=name,
        kind=table.number(_TENSOR_TYPE, "b"),
        shape=shape,
        scaled=scales is not None and scales.count(_SCALE, 4) > 0,
        constant=sizes[buffer] if sizes else 0,
    )


def _ends(graph: Table, field: int, tensors: list[_Tensor], kind: str, what: str) -> list[_Tensor]:
    """The tensors that a graph takes or gives."""
    numbers = graph.numbers(field, "i", ENDS)
    if not numbers:
        raise ModelInvalid(f"{what} has no {kind}; at least one was expected")
    found = []
    for number in numbers:
        if not 0 <= number < len(tensors):
            raise ModelInvalid(f"{what} has the {kind} {number}; one of its {len(tensors)} tensors was expected")
        if tensors[number].kind not in _SERVED:
            raise ModelInvalid(
                f"{what} has the {kind} {tensors[number].name!r} of TFLite's type {tensors[number].kind}; "
                "a tensor of numbers, truth values or text was expected"
            )
        found.append(tensors[number])
    return found


def _precision(weights: list[_Tensor], inputs: list[_Tensor]) -> Precision:
    """`int8` where at least half of the weights are of 8 bits with a scale, `fp16` where half are halves.

    Weights are constants with two axes and more. A file of the Edge TPU has none, they are inside its one operator;
    then the inputs tell.
    """
    counted = dict.fromkeys((_FLOAT32, _FLOAT16, _INT8), 0)
    for tensor in weights if any(len(tensor.shape) > 1 for tensor in weights) else inputs:
        if len(tensor.shape) > 1:
            kind = _INT8 if tensor.kind in (_INT8, _UINT8) and tensor.scaled else tensor.kind
            counted[kind] = counted.get(kind, 0) + max(1, math.prod(tensor.shape))
    if counted[_INT8] and counted[_INT8] >= counted[_FLOAT32] + counted[_FLOAT16]:
        return "int8"
    return "fp16" if counted[_FLOAT16] > counted[_FLOAT32] else "fp32"
