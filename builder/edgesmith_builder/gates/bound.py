"""One bound on a value that was measured over samples, and what so few of them leave open of it."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith_builder.contract import number_text

EPSILON = 1e-9
"""Values are rounded to six decimals; one of exactly what is allowed must pass whatever its last bit says."""


def value_text(value: float, *, share: bool) -> str:
    """A value for a sentence: a share from 0 to 1, or an error in the labels' own unit."""
    return f"{value:.4f}" if share else number_text(value)


@dataclass(frozen=True, slots=True)
class Measured:
    """A value, and how well it is known."""

    value: float
    error: float | None
    """How far it may be off; None where nobody measured that."""
    samples: int | None

    @property
    def counted(self) -> str:
        """Over how many samples, for a sentence."""
        return "1 sample" if self.samples == 1 else f"{self.samples or 0} samples"


@dataclass(frozen=True, slots=True)
class Bound:
    """A gate on a value. The value itself is held to it; that its samples do not tell more is said, not gated."""

    gate: float
    least: bool
    """Whether the value must be so much at least, a share, or at most, an error in the labels' own unit."""
    field: str

    @property
    def words(self) -> str:
        """`at least 0.9600`."""
        return f"at {'least' if self.least else 'most'} {self._text(self.gate)}"

    @property
    def asked(self) -> str:
        """`is asked by spec.gates.minAccuracy`."""
        return f"is {'asked' if self.least else 'allowed'} by {self.field}"

    def broken(self, found: Measured) -> str | None:
        """What is asked, as the end of a sentence about a value that does not keep it; None where it does."""
        if self._room(found) >= -self._bit:
            return None
        error = self._open(found)
        luck = f", and over {found.counted} it is known to {self._text(error)} either way only" if error else ""
        return f"{self.words} {self.asked}{luck}"

    def doubt(self, what: str, found: Measured) -> str | None:
        """In one sentence, that samples cannot tell whether the bound is kept that is kept over them; None: they can.

        Args:
            what: What the value is called.
            found: The value.
        """
        error = self._open(found)
        if not error:
            return None
        return (
            f"{what} is {self._text(found.value)} ± {self._text(error)} over {found.counted}, which cannot tell "
            f"whether it is {self.words}, as {self.asked}"
        )

    def _text(self, value: float) -> str:
        return value_text(value, share=self.least)

    @property
    def _bit(self) -> float:
        """What is no difference from the gate: an error's unit may be small or large."""
        return EPSILON if self.least else EPSILON * self.gate

    def _room(self, found: Measured) -> float:
        return found.value - self.gate if self.least else self.gate - found.value

    def _open(self, found: Measured) -> float | None:
        """How far the value may be off, where it may be on the other side of the bound."""
        return found.error if found.error and abs(self._room(found)) < found.error - self._bit else None
