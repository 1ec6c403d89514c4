"""What a model accepts and answers, and the checks that both front doors share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edgesmith_runtime.errors import BadRequest, shown
from edgesmith_runtime.tensors import ANY_SIZE, TensorSpec, shape_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgesmith_runtime.bundle import Bundle

__all__ = ["MOST_CLASSES", "VERSION", "InferRequest", "ModelSignature", "RequestedOutput"]

VERSION: Final = "1"
"""The one version a server holds: a new model is a new revision of the whole pod."""

MOST_CLASSES: Final = 1000
"""The most classes that a request may ask to be named of one sample."""

_MOST_SIZES: Final = 32
"""Sizes that are looked at where the model wants fewer: millions of them take minutes to multiply."""
_MOST_ELEMENTS: Final = 2**40
_PLATFORMS: Final = {"onnxruntime": "onnxruntime_onnx"}
_SHARED_MEMORY: Final = "shared_memory_region"


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """One output that a request asks for.

    Attributes:
        name: The output's name.
        binary: Whether it travels as raw bytes behind the JSON; over gRPC it always does.
        classes: Answer with this many best classes instead of the tensor; 0 for the tensor.
    """

    name: str
    binary: bool
    classes: int = 0


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A decoded and checked inference request.

    Attributes:
        id: The client's own name for the request, empty when it gave none.
        inputs: One array for every input of the model; ``BYTES`` as object arrays of ``str``.
        outputs: What to answer, in the order asked for.
        timeout: For how many microseconds it may wait for its turn; 0 for as long as it takes.
    """

    id: str
    inputs: Mapping[str, NDArray[Any]]
    outputs: tuple[RequestedOutput, ...]
    timeout: int = 0


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """A model's name, inputs, outputs and labels.

    Attributes:
        name: The model's name in addresses.
        platform: What metadata calls its format, ``onnxruntime_onnx`` for example.
        inputs: Its inputs by name, in its own order.
        outputs: Its outputs by name, in its own order.
        labels: The class names; may be empty.
        batches: The largest batch of each input whose first size is a batch that requests choose.
    """

    name: str
    platform: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    labels: tuple[str, ...]
    batches: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, bundle: Bundle, batches: Mapping[str, int] | None = None) -> ModelSignature:
        """Take the signature out of a bundle.

        Args:
            bundle: The bundle.
            batches: The largest batch of each input that has a batch.
        """
        return cls(
            name=bundle.model,
            platform=_PLATFORMS.get(bundle.engine, bundle.engine),
            inputs={spec.name: spec for spec in bundle.inputs},
            outputs={spec.name: spec for spec in bundle.outputs},
            labels=bundle.labels,
            batches=batches or {},
        )

    def check_input(
        self, name: Any, datatype: Any, shape: Sequence[Any], parameters: Any
    ) -> tuple[TensorSpec, tuple[int, ...]]:
        """Check what a request says of one input.

        Args:
            name: The input's name.
            datatype: Its datatype.
            shape: Its shape.
            parameters: A container of the names of its parameters.

        Returns:
            The model's own specification of the input, and the request's shape.

        Raises:
            BadRequest: The input is unknown, its datatype or shape is not the model's, or the batch is too large.
        """
        spec = self.inputs.get(name) if isinstance(name, str) else None
        if spec is None:
            raise BadRequest(f"input {shown(name)} is not one of the model's; expected {_names(self.inputs)}")
        if datatype != spec.datatype:
            raise BadRequest(f"input {name!r} has datatype {shown(datatype)}; expected {spec.datatype}")
        if len(shape) > max(len(spec.shape), _MOST_SIZES):  # before any of them is looked at
            raise BadRequest(f"input {name!r} has a shape of {len(shape)} sizes; expected {shape_text(spec.shape)}")
        sizes = tuple(shape)
        if not all(type(size) is int and size >= 0 for size in sizes):
            raise BadRequest(f"input {name!r} has shape {shown(list(sizes))}; expected whole numbers, none below 0")
        if math.prod(size for size in sizes if size) > _MOST_ELEMENTS:  # sizes of 0 beside it would hide it
            raise BadRequest(f"input {name!r} has shape {shown(list(sizes))}; expected at most 2^40 elements")
        if not spec.accepts(sizes):
            raise BadRequest(f"input {name!r} has shape {shape_text(sizes)}; expected {shape_text(spec.shape)}")
        self._check_batch(spec, sizes)
        if _SHARED_MEMORY in parameters:
            raise BadRequest(f"input {name!r} lies in shared memory, which is not supported; expected its data")
        return spec, sizes

    def check_complete(self, given: Sequence[str]) -> None:
        """Check that a request names every input once.

        Raises:
            BadRequest: An input is missing, or given twice.
        """
        if len(set(given)) != len(given):
            twice = next(name for name in given if given.count(name) > 1)
            raise BadRequest(f"input {twice!r} is given {given.count(twice)} times; expected once")
        if lacking := [name for name in self.inputs if name not in given]:
            raise BadRequest(f"input {lacking[0]!r} is missing; expected {_names(self.inputs)}")

    def check_output(self, name: Any, parameters: Mapping[str, Any], *, binary: bool) -> RequestedOutput:
        """Check one output that a request asks for.

        Args:
            name: The output's name.
            parameters: Its parameters, as plain values.
            binary: Whether outputs are binary where they do not say.

        Raises:
            BadRequest: The output is unknown, or a parameter is out of its bounds.
        """
        if not isinstance(name, str) or name not in self.outputs:
            raise BadRequest(f"output {shown(name)} is not one of the model's; expected {_names(self.outputs)}")
        if _SHARED_MEMORY in parameters:
            raise BadRequest(
                f"output {name!r} asks for shared memory, which is not supported; expected no such parameter"
            )
        chosen = parameters.get("binary_data", binary)
        if not isinstance(chosen, bool):
            raise BadRequest(f"output {name!r} has binary_data {shown(chosen)}; expected true or false")
        classes = parameters.get("classification", 0)
        if type(classes) is not int or not 0 <= classes <= MOST_CLASSES:
            raise BadRequest(
                f"output {name!r} has classification {shown(classes)}; expected a whole number from 0 to {MOST_CLASSES}"
            )
        if classes and self.outputs[name].datatype in {"BYTES", "BOOL"}:
            raise BadRequest(f"output {name!r} is {self.outputs[name].datatype}; expected numbers for classification")
        return RequestedOutput(name, chosen, classes)

    def check_outputs(self, outputs: Sequence[RequestedOutput], *, binary: bool) -> tuple[RequestedOutput, ...]:
        """Check that no output is asked for twice; all of them when none is.

        Raises:
            BadRequest: An output is asked for twice.
        """
        names = [output.name for output in outputs]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise BadRequest(f"output {twice!r} is asked for {names.count(twice)} times; expected once")
        return tuple(outputs) or tuple(RequestedOutput(name, binary) for name in self.outputs)

    def raw_shape(self, spec: TensorSpec, elements: int) -> tuple[int, ...]:
        """Work out the shape of an input whose request carries nothing but its data.

        Args:
            spec: The input.
            elements: How many elements came.

        Returns:
            The model's shape, with its one variable size found from the number of elements. Where the batch and one
            other size vary, the batch is 1.

        Raises:
            BadRequest: Two sizes other than the batch vary, the elements do not fill the shape, or the batch is too
                large.
        """
        shape = list(spec.shape)
        if shape.count(ANY_SIZE) > 1 and shape[0] == ANY_SIZE:
            shape[0] = 1
        if shape.count(ANY_SIZE) > 1:
            raise BadRequest(
                f"input {spec.name!r} has shape {shape_text(spec.shape)}; expected at most one variable size "
                "beside the batch when the request has no JSON header"
            )
        known = math.prod(size for size in shape if size != ANY_SIZE)
        if ANY_SIZE in shape and known and elements % known == 0:
            shape[shape.index(ANY_SIZE)] = elements // known
        elif elements != known:
            raise BadRequest(
                f"input {spec.name!r} has {elements} elements; expected a whole multiple of {known} for shape "
                f"{shape_text(spec.shape)}"
                if ANY_SIZE in shape
                else f"input {spec.name!r} has {elements} elements; expected {known} for shape {shape_text(spec.shape)}"
            )
        self._check_batch(spec, shape)
        return tuple(shape)

    def batch_of(self, request: InferRequest) -> int:
        """How many samples a request holds; 1 where the model has no batch."""
        return next((len(request.inputs[name]) for name in self.batches), 1)

    def _check_batch(self, spec: TensorSpec, shape: Sequence[int]) -> None:
        most = self.batches.get(spec.name)
        if most is not None and shape[0] > most:
            raise BadRequest(
                f"input {spec.name!r} has a batch of {shape[0]}; expected at most {most} (serving.maxBatch)"
            )


def _names(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(repr(name) for name in specs)
