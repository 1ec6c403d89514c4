"""What is known of a model whatever its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from edgesmith_builder.contract import EngineName, Precision


class Original(Protocol):
    """What a model was before it was converted into one that an engine runs."""

    @property
    def library(self) -> str:
        """What computes it: `scikit-learn 1.9.1`."""

    def answers(self, rows: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """What it answers to rows of its one input, by the outputs of the converted model.

        Raises:
            Exception: whatever the library raises for rows that it does not take.
        """


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model without running it."""

    path: Path
    size: int
    """Bytes."""
    format: str
    """Its format's name."""
    engine: EngineName
    """What runs it as it came."""
    precision: Precision
    """`int8` where it came quantised."""
    parameters: int
    """Values in its constants."""
    labels: tuple[str, ...] | None = None
    """Names of its classes, where it says them."""
    shapeless: tuple[str, ...] = ()
    """Inputs that have no shape, not even a number of axes."""
    operators: int = 0
    """The newest set of operators that it uses, as its format counts them; 0 where it does not."""
    compiled_for: str | None = None
    """The device that it was compiled for already, as the end of a sentence: nothing else runs it."""
    original: Original | None = None
    """What it was before it was converted; None where it runs as it came."""
    converted: bool = False
    """Whether its operators were rewritten for what serves it, so that it need not answer as it came."""
    warnings: tuple[str, ...] = ()
    """What of it is not as good as it looks, each in one sentence."""

    @property
    def unnamed(self) -> bool:
        """Whether its one input has no name of its own, and takes that of the sets' array."""
        return self.original is not None
