"""A measured number as text."""

from __future__ import annotations

_LEAST = 0.01
"""Below this, four decimals leave two digits or none."""


def number_text(value: float) -> str:
    """An error in the labels' own unit, which may be large or small: `7.1000`, `0.0123`, `3.1e-07`."""
    return f"{value:.4f}" if value == 0 or abs(value) >= _LEAST else f"{value:.4g}"
