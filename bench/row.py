"""One measurement."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """One measurement and what it is held against.

    Attributes:
        name: What was measured.
        value: The figure, in `unit`.
        unit: s, ms, 1/s, MB, bytes.
        against: What `ratio` is relative to, measured in the same run.
        ratio: `value` divided by the figure it is held against.
    """

    name: str
    value: float
    unit: str
    against: str | None = None
    ratio: float | None = None

    def as_json(self) -> dict[str, str | float | None]:
        """The row as results.json holds it."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}
