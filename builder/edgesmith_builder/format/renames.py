"""Other names for what a model takes and answers: those of the model that it stands in for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from edgesmith_builder.format.facts import Original


@dataclass(frozen=True, slots=True)
class Renames:
    """The new names of a model's tensors, by those that it has; what keeps its name is not among them.

    Inputs and outputs apart: a model may call one of each alike.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything gets another name."""
        return bool(self.inputs or self.outputs)

    def __str__(self) -> str:
        """As lines of a log have it: `input.1 -> data, 473 -> scores`."""
        pairs = (*self.inputs.items(), *self.outputs.items())
        return ", ".join(f"{was} -> {now}" for was, now in pairs)


@dataclass(frozen=True, slots=True)
class RenamedOriginal:
    """What a model was before it was converted, with its outputs called as the converted model's are now."""

    of: Original
    names: Mapping[str, str]

    @property
    def library(self) -> str:
        """See `Original.library`."""
        return self.of.library

    def answers(self, rows: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """See `Original.answers`."""
        return {self.names.get(name, name): array for name, array in self.of.answers(rows).items()}
