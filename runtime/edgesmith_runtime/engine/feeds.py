"""What a run is given, held against the model, for engines that would convert it, or read beyond its end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from edgesmith_runtime.engine.interface import EngineInputError
from edgesmith_runtime.tensors import datatype_of, fits_datatype, shape_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgesmith_runtime.tensors import TensorSpec

__all__ = ["REFUSED", "LargeRuns", "check_feeds", "check_wanted"]

REFUSED: Final = "the model refused its inputs"

_USUAL: Final = 2


class LargeRuns:
    """Tells runs that are larger than usual: more than twice as many bytes as the first, which a golden sample is.

    Engines keep the memory that a run needed for the next one. That of a run of the usual size is to be kept, that of
    a larger one given back (docs/decisions/0009-calls-on-threads.md).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._usual: int | None = None

    def is_large(self, inputs: Mapping[str, NDArray[Any]]) -> bool:
        """Whether a run is large; the first never is."""
        size = sum(array.nbytes for array in inputs.values())
        with self._lock:
            if self._usual is None:
                self._usual = size
            return size > _USUAL * self._usual


def check_feeds(specs: Sequence[TensorSpec], inputs: Mapping[str, NDArray[Any]]) -> None:
    """Check that every input is there, and that its datatype and shape are the model's.

    Raises:
        EngineInputError: One is not.
    """
    for name in inputs:
        if all(spec.name != name for spec in specs):
            raise EngineInputError(REFUSED, f"{name!r} is not one of them; expected {_names(specs)}")
    for spec in specs:
        array = inputs.get(spec.name)
        if array is None:
            raise EngineInputError(REFUSED, f"{spec.name!r} is missing; expected {_names(specs)}")
        shape = tuple(array.shape)
        if not fits_datatype(array, spec.datatype) or not spec.accepts(shape):
            found, expected = (
                f"{name} {shape_text(size)}"
                for name, size in ((datatype_of(array), shape), (spec.datatype, spec.shape))
            )
            raise EngineInputError(REFUSED, f"{spec.name!r} is {found}; expected {expected}")


def check_wanted(specs: Sequence[TensorSpec], outputs: Sequence[str] | None) -> list[str]:
    """Name the outputs wanted, all of them where none is named.

    Raises:
        EngineInputError: The model has no such output.
    """
    known = [spec.name for spec in specs]
    if outputs is None:
        return known
    for name in outputs:
        if name not in known:
            raise EngineInputError(f"output {name!r} is not one of the model's; expected {_names(specs)}")
    return list(outputs)


def _names(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(repr(spec.name) for spec in specs)
