"""What is taken out of a sample before it touches a disk: declared rules first, then a program of the owner's own.

Whatever fails takes the whole sample: nothing is kept then, let alone sent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.sampling.program import LARGEST, ProgramFailed, ask
from edgesmith_runtime.sampling.sample import INPUTS, OUTPUTS, SampleInvalid, pack_arrays, unpack_arrays

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Redaction", "RedactionFailed", "Rule", "rules_of"]

_AXES: Final = {"NCHW": (-2, -1), "NHWC": (-3, -2)}
_ACTIONS: Final = frozenset({"Drop", "Mask", "Coarsen"})

Arrays = dict[str, "NDArray[Any]"]


class RedactionFailed(Exception):  # noqa: N818 - reads as what happened
    """A sample could not be redacted; the message holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing to take out.

    Attributes:
        tensor: An input or output of the model, by its name.
        action: `Drop`: the tensor is left out. `Mask`: a rectangle of it is set to 0. `Coarsen`: each block is set to
            its mean.
        top, left, height, width: The rectangle, in pixels.
        block: The edge of a block in pixels.
        layout: Where rows and columns are: `NCHW`, the last two axes, or `NHWC`, the two before the last.
    """

    tensor: str
    action: str
    top: int = 0
    left: int = 0
    height: int = 0
    width: int = 0
    block: int = 1
    layout: str = "NCHW"

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """The tensor without it.

        Raises:
            RedactionFailed: The tensor has no such place.
        """
        rows, columns = _AXES[self.layout]
        if array.ndim < -min(rows, columns) or array.dtype.kind not in "biuf":
            raise RedactionFailed(f"the tensor {self.tensor!r} has no rows and columns as {self.layout} has them")
        moved = np.moveaxis(array.copy(), (rows, columns), (-2, -1))
        if self.action == "Mask":
            bottom, right = self.top + self.height, self.left + self.width
            if bottom > moved.shape[-2] or right > moved.shape[-1]:
                raise RedactionFailed(f"the tensor {self.tensor!r} ends within the rectangle to mask")
            moved[..., self.top : bottom, self.left : right] = 0
        else:
            moved = _coarse(moved, self.block)
        return np.moveaxis(moved, (-2, -1), (rows, columns))


def rules_of(text: str) -> tuple[Rule, ...]:
    """Read rules, a JSON list of objects with the fields of `Rule`.

    Raises:
        ValueError: It is none, in one sentence.
    """
    try:
        rules = tuple(Rule(**one) for one in json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{text[:200]!r} are no rules; a JSON list of objects was expected") from error
    for rule in rules:
        numbers = (rule.top, rule.left, rule.height, rule.width, rule.block)
        fine = all(isinstance(number, int) and number >= 0 for number in numbers) and rule.block >= 1
        if not fine or rule.action not in _ACTIONS or rule.layout not in _AXES or not isinstance(rule.tensor, str):
            raise ValueError(f"{json.dumps(str(rule))[:200]} is no rule")
    return rules


class Redaction:
    """Everything that is taken out.

    Args:
        rules: What is declared.
        command: A program and its arguments: it is given the sample's arrays as an `.npz` on standard input and answers
            them as one on standard output; empty: none.
    """

    def __init__(self, rules: Sequence[Rule] = (), command: Sequence[str] = ()) -> None:
        self._rules = tuple(rules)
        self._command = tuple(command)

    def __bool__(self) -> bool:
        return bool(self._rules or self._command)

    def unknown(self, tensors: Sequence[str]) -> str | None:
        """A tensor that a rule names and the model has not; None where there is none."""
        return next((rule.tensor for rule in self._rules if rule.tensor not in tensors), None)

    def apply(self, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> tuple[Arrays, Arrays]:
        """What is left of inputs and answers.

        Raises:
            RedactionFailed: Something could not be taken out.
        """
        left = ({**inputs}, {**outputs})
        for rule in self._rules:
            for arrays in left:
                if rule.tensor not in arrays:
                    continue
                if rule.action == "Drop":
                    del arrays[rule.tensor]
                else:
                    arrays[rule.tensor] = rule.apply(arrays[rule.tensor])
        return self._filtered(*left) if self._command else left

    def _filtered(self, inputs: Arrays, outputs: Arrays) -> tuple[Arrays, Arrays]:
        named = {f"{INPUTS}{name}": array for name, array in inputs.items()}
        named |= {f"{OUTPUTS}{name}": array for name, array in outputs.items()}
        try:
            found = unpack_arrays(ask(self._command, pack_arrays(named)), LARGEST)
        except ProgramFailed as error:
            raise RedactionFailed(str(error)) from None
        except SampleInvalid as error:
            raise RedactionFailed(f"{self._command[0]} answered what is no sample: {error}") from None
        if not set(found) <= set(named):
            raise RedactionFailed(f"{self._command[0]} answered a tensor that it was not given")
        return (
            {name.removeprefix(INPUTS): array for name, array in found.items() if name.startswith(INPUTS)},
            {name.removeprefix(OUTPUTS): array for name, array in found.items() if name.startswith(OUTPUTS)},
        )


def _coarse(array: NDArray[Any], block: int) -> NDArray[Any]:
    """Each block of the last two axes set to its mean; those at the ends may be smaller."""
    height, width = array.shape[-2:]
    down, across = np.arange(0, height, block), np.arange(0, width, block)
    sums = np.add.reduceat(np.add.reduceat(array.astype(np.float64), down, axis=-2), across, axis=-1)
    high, wide = np.diff([*down, height]), np.diff([*across, width])
    means = sums / (high[:, None] * wide)
    if array.dtype.kind != "f":
        means = np.rint(means)
    spread: NDArray[Any] = np.repeat(np.repeat(means, high, axis=-2), wide, axis=-1).astype(array.dtype)
    return spread
