"""What is known of a model whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgesmith_builder.contract import EngineName, Precision


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
