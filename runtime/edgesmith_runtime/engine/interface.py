"""What every engine can do, and how it fails.

::

    EngineError            the model cannot be loaded, or a run failed
    └── EngineInputError   the run failed because of what it was given
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgesmith_runtime.tensors import TensorSpec

__all__ = ["Engine", "EngineError", "EngineInputError"]


class EngineError(Exception):
    """An engine failed.

    Args:
        message: What failed, in one sentence that repeats nothing of a request.
        detail: What the engine says of it, which may.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(f"{message}: {detail}" if detail else message)
        self.message = message


class EngineInputError(EngineError):
    """A run failed because of the tensors it was given."""


class Engine(Protocol):
    """A loaded model that answers.

    Implementations are safe to call from several threads at once.
    """

    @property
    def warning(self) -> str | None:
        """What is not as it should be though the model answers, as the end of a sentence about it; None: nothing."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs, in its own order."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs, in its own order."""

    def infer(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None, *, busy: bool = False
    ) -> dict[str, NDArray[Any]]:
        """Run the model once.

        Args:
            inputs: One array for every input. ``BYTES`` inputs are object arrays of ``str``.
            outputs: The outputs wanted; all of them when ``None``.
            busy: Whether other requests wait. An engine may then prefer throughput to this run's latency.

        Returns:
            The outputs asked for, by name, in the order asked for.

        Raises:
            EngineInputError: The inputs do not fit the model.
            EngineError: The run failed for another reason.
        """

    def settle(self) -> None:
        """Give back what large runs left behind; call it when nothing is asked.

        Raises:
            EngineError: The run that this may take failed.
        """

    def close(self) -> None:
        """Let go of the model's memory; `infer` must not be called afterwards."""
