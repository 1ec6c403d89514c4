"""Reads an ONNX file that anybody may have written: bounded, in one file, made of what can be served.

Whether the model is valid is for the engine to say, which loads it next: it is what has to run it, and it runs many a
model that `onnx.checker` does not pass (LayerNormalization in opset 13, operators of its own that are not imported).
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.format.facts import ModelFacts
from edgesmith_builder.format.onnx.domains import STANDARD
from edgesmith_builder.format.onnx.functions import check_functions
from edgesmith_builder.format.onnx.nesting import subgraphs
from edgesmith_builder.format.onnx.precision import precision_of
from edgesmith_builder.format.onnx.texts import check_texts, is_text
from edgesmith_builder.format.onnx.weights import check_embedded, check_sparse, check_weights
from edgesmith_builder.limits import MODEL
from edgesmith_builder.progress import size_text

log = logging.getLogger(__name__)

LABELS = "labels"
"""The key in the model's metadata that names its classes, as a JSON list of strings."""

_EXTENSIONS = frozenset({"ai.onnx.contrib", "com.microsoft.extensions"})
"""Where the operators of ONNX Runtime Extensions are (github.com/microsoft/onnxruntime-extensions,
`docs/custom_ops.md`), a library of its own."""


SUFFIX = ".onnx"


def recognises(head: bytes) -> bool:
    """Whether a file that begins so may be an ONNX file: a protocol buffer has no signature, any file may."""
    return bool(head)


def read_model(path: Path, what: str) -> ModelFacts:
    """Read and check a model.

    Args:
        path: The file.
        what: What messages call it: `spec.source.uri s3://…`.

    Raises:
        ModelInvalid: in one sentence, when it is not a model that can be served.
        ModelHasNaN: when a weight is not a number.
    """
    size = path.stat().st_size
    if not 0 < size <= MODEL:
        raise ModelInvalid(f"{what} has {size} bytes; an ONNX file of up to {size_text(MODEL)} was expected")
    model = _parse(path, what)
    check_texts(model, what)
    check_functions(model, what)
    _check_operators(model, what)
    check_embedded(model, what)
    check_sparse(model, what)
    _check_values(model, what)
    check_weights(model, what)
    return ModelFacts(
        path=path,
        size=size,
        format="ONNX",
        engine="onnxruntime",
        operators=opset_of(model),
        parameters=sum(_count(tensor) for tensor in model.graph.initializer),
        precision=precision_of(model),
        labels=_labels(model),
        shapeless=_shapeless(model),
    )


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the standard operators that a model uses; 0 where it uses none."""
    return max((entry.version for entry in model.opset_import if entry.domain in STANDARD), default=0)


def _parse(path: Path, what: str) -> onnx.ModelProto:
    try:
        model = onnx.load_model(path, format="protobuf", load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise ModelInvalid(
            f"{what} is not an ONNX model, its {path.stat().st_size} bytes do not parse; an .onnx file was expected"
        ) from error
    # A protocol buffer has no signature: many files parse as an empty one.
    if not model.ir_version or not model.opset_import or not model.graph.node:
        raise ModelInvalid(f"{what} is not an ONNX model, it has no graph; an .onnx file was expected")
    return model


def _check_operators(model: onnx.ModelProto, what: str) -> None:
    """Refuse what needs a library beside the engine: text made into tokens inside the model, for the most part."""
    for graph in subgraphs(model.graph):
        for node in graph.node:
            if node.domain in _EXTENSIONS:
                raise ModelInvalid(
                    f"{what} has the operator {node.op_type} of {node.domain}, which is in ONNX Runtime Extensions "
                    "and not in what serves models; a model that takes what it answers, tokens say, was expected"
                )


def _check_values(model: onnx.ModelProto, what: str) -> None:
    for kind, values in (("input", model.graph.input), ("output", model.graph.output)):
        for value in values:
            of = value.type.WhichOneof("value")
            if of != "tensor_type" and (of or kind == "input"):  # an output without a type has the one that comes out
                found = str(of or "unknown").removesuffix("_type")
                raise ModelInvalid(
                    f"{what} has the {kind} {value.name!r} of type {found}; a tensor was expected "
                    "(scikit-learn models: convert with options={'zipmap': False})"
                )
    if not model.graph.output:
        raise ModelInvalid(f"{what} has no output; at least one was expected")


def _shapeless(model: onnx.ModelProto) -> tuple[str, ...]:
    constants = {tensor.name for tensor in model.graph.initializer}
    values = (value for value in model.graph.input if value.name not in constants)
    return tuple(value.name for value in values if not value.type.tensor_type.HasField("shape"))


def _labels(model: onnx.ModelProto) -> tuple[str, ...] | None:
    for entry in model.metadata_props:
        if entry.key == LABELS:
            try:
                names = json.loads(entry.value)
            except (ValueError, RecursionError):
                names = None
            if isinstance(names, list) and names and all(isinstance(name, str) and is_text(name) for name in names):
                return tuple(names)
            log.warning("the model's metadata %r is not a JSON list of names; it goes without class names", LABELS)
    return None


def _count(tensor: onnx.TensorProto) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count
