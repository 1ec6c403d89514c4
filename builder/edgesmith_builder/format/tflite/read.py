"""Reads a TFLite file that anybody may have written: in one file, with tensors that can be served.

Schema: `tensorflow/compiler/mlir/lite/schema/schema.fbs` of TensorFlow, version 3. Whether the graph is valid is for
the engine to say, which loads it next.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from edgesmith_builder.contract import EngineName, Precision
from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.format.facts import ModelFacts
from edgesmith_builder.format.tflite.flatbuffer import Malformed, Table
from edgesmith_builder.format.tflite.tensors import (
    CODE_CUSTOM,
    FLOAT16,
    FLOAT32,
    GRAPH_INPUTS,
    GRAPH_OUTPUTS,
    GRAPH_TENSORS,
    INT8,
    MODEL_BUFFERS,
    MODEL_CODES,
    MODEL_GRAPHS,
    MOST,
    UINT8,
    Ends,
    Tensor,
    ends_of,
    tensor_of,
)
from edgesmith_builder.limits import MODEL
from edgesmith_builder.progress import size_text

SUFFIX = ".tflite"
IDENTIFIER = b"TFL3"
"""At byte 4, as `flatbuffers` puts a schema's `file_identifier`."""

EDGE_TPU = "edgetpu-custom-op"
"""The operator that `edgetpu_compiler` puts in place of all that it compiled."""

GRAPHS = 1 << 10
"""Graphs at most."""

Found = TypeVar("Found")

_BUFFER_DATA, _BUFFER_OFFSET = 0, 1


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
    return with_bytes(path, what, lambda data: _facts(path, data, what))


def read_ends(path: Path, what: str) -> Ends:
    """The tensors that a model takes and gives, in its own order.

    Raises:
        ModelInvalid: as `read_model` does.
    """
    return with_bytes(path, what, lambda data: _read(data, what).ends)


def with_bytes(path: Path, what: str, read: Callable[[memoryview], Found]) -> Found:
    """What is read of a file's bytes.

    Raises:
        ModelInvalid: where they turn out to be `Malformed`.
    """
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as data,
    ):
        try:
            return read(data)
        except Malformed as error:
            broken = f"{what} is a malformed TFLite file: {error}; tables that lie inside it were expected"
    raise ModelInvalid(broken)  # out here, where no frame of an error holds on to the file


class _Read(NamedTuple):
    ends: Ends
    weights: list[Tensor]
    customs: list[str]
    """Names of its custom operators."""


def _read(data: memoryview, what: str) -> _Read:
    model = Table.root(data)
    graphs = model.tables(MODEL_GRAPHS, GRAPHS)
    if not graphs:
        raise ModelInvalid(f"{what} has no graph; one at least was expected")
    count = sum(graph.count(GRAPH_TENSORS, 4) for graph in graphs)
    if count > MOST:
        raise ModelInvalid(f"{what} has {count} tensors; at most {MOST} were expected")
    buffers = model.tables(MODEL_BUFFERS, MOST)
    if any(buffer.number(_BUFFER_OFFSET, "Q") > 1 for buffer in buffers):
        raise ModelInvalid(
            f"{what} keeps weights behind its tables; a file of up to 2 GB, which does not, was expected"
        )
    sizes = [buffer.count(_BUFFER_DATA, 1) for buffer in buffers]
    tensors = [[tensor_of(tensor, sizes, what) for tensor in graph.tables(GRAPH_TENSORS, MOST)] for graph in graphs]
    main = tensors[0]
    ends = Ends(
        tuple(ends_of(graphs[0], GRAPH_INPUTS, main, "input", what)),
        tuple(ends_of(graphs[0], GRAPH_OUTPUTS, main, "output", what)),
    )
    weights = [tensor for one in tensors for tensor in one if tensor.constant]
    return _Read(ends, weights, [code.text(CODE_CUSTOM) for code in model.tables(MODEL_CODES, MOST)])


def _facts(path: Path, data: memoryview, what: str) -> ModelFacts:
    found = _read(data, what)
    engine: EngineName = "edgetpu" if EDGE_TPU in found.customs else "litert"
    return ModelFacts(
        path=path,
        size=len(data),
        format="TFLite",
        engine=engine,
        precision=_precision(found.weights, found.ends.inputs),
        parameters=sum(max(0, math.prod(tensor.shape)) for tensor in found.weights),
        compiled_for="the Edge TPU" if engine == "edgetpu" else None,
    )


def _precision(weights: Sequence[Tensor], inputs: Sequence[Tensor]) -> Precision:
    """`int8` where at least half of the weights are of 8 bits with a scale, `fp16` where half are halves.

    Weights are constants with two axes and more. A file of the Edge TPU has none, they are inside its one operator;
    then the inputs tell.
    """
    counted = dict.fromkeys((FLOAT32, FLOAT16, INT8), 0)
    for tensor in weights if any(len(tensor.shape) > 1 for tensor in weights) else inputs:
        if len(tensor.shape) > 1:
            kind = INT8 if tensor.kind in (INT8, UINT8) and tensor.scale is not None else tensor.kind
            counted[kind] = counted.get(kind, 0) + max(1, math.prod(tensor.shape))
    if counted[INT8] and counted[INT8] >= counted[FLOAT32] + counted[FLOAT16]:
        return "int8"
    return "fp16" if counted[FLOAT16] > counted[FLOAT32] else "fp32"
