"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Columns as wide as they need to be, three spaces apart, as kubectl prints them; `-` where a cell is empty.

    A cell may have been said by a pod: a line break in it would be another row, and other signs steer the terminal.
    """
    cells = [list(header), *[[_in_one_line(cell) or "-" for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(indent + line.rstrip() for line in lines)


def _in_one_line(cell: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in cell).strip()


def size(value: int | None) -> str:
    """Bytes for people."""
    if value is None:
        return ""
    amount, unit = float(value), "B"
    for larger in ("kB", "MB", "GB"):
        if amount < 1000:  # noqa: PLR2004 - SI
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
