"""One measurement."""

from __future__ import annotations

from dataclasses import asdict, dataclass

UPDATE_RATIO, UPDATE_BYTES = 1.05, 20_000
"""The aims of an update: the model's file so many times, and so many bytes beside it."""


@dataclass(frozen=True)
class Row:
    """One measurement and what it is held against.

    Attributes:
        name: What was measured.
        value: The figure, in `unit`.
        unit: s, ms, 1/s, MB, bytes.
        against: What `ratio` is relative to, measured in the same run.
        ratio: `value` divided by the figure it is held against.
        least: The aim, where it is that the ratio is as much at least.
        most: The aim, where it is that the ratio is as much at most.
    """

    name: str
    value: float
    unit: str
    against: str | None = None
    ratio: float | None = None
    least: float | None = None
    most: float | None = None

    @classmethod
    def of_update(cls, name: str, sent: float, file: float) -> tuple[Row, Row]:
        """What an update costs a node's link over the model's file, which has to travel: both of its aims.

        Args:
            name: What was updated.
            sent: Bytes that a node pulled.
            file: Bytes of the model's file.
        """
        over = sent - file
        return (
            cls(name, sent, "bytes", "the model's file", sent / file, most=UPDATE_RATIO),
            cls(f"{name}, over it", over, "bytes", f"{UPDATE_BYTES:g} bytes, the aim", over / UPDATE_BYTES, most=1.0),
        )

    def as_json(self) -> dict[str, str | float | None]:
        """The row as results.json holds it; an aim only where there is one."""
        said = {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}
        return {key: value for key, value in said.items() if value is not None or key not in ("least", "most")}

    @property
    def aim(self) -> str:
        """What the ratio is to be, in words; empty where there is no aim."""
        bounds = (("at least", self.least), ("at most", self.most))
        return " and ".join(f"{words} {bound:g}" for words, bound in bounds if bound is not None)

    @property
    def reached(self) -> bool | None:
        """Whether the aim is reached; None where there is none."""
        if self.ratio is None or not self.aim:
            return None
        return (self.least is None or self.ratio >= self.least) and (self.most is None or self.ratio <= self.most)
