"""Fractions from 0 to 1, such as an accuracy: a percentage, or a decimal as a Quantity writes it; never a float.

A float is not stable between encoders, so the Kubernetes API conventions forbid it in specs.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field

from edgesmith.api.model import rules

FRACTION_PATTERN = "^((100([.]0+)?|[0-9]{1,2}([.][0-9]+)?)%|1([.]0+)?|0([.][0-9]+)?|(1000|[0-9]{1,3})m)$"
FRACTION_MESSAGE = "must be a fraction from 0 to 1 as a string: 1%, 0.01 or 10m"
MAX_LENGTH = 16
"""Characters of a fraction in a spec."""


def parse_fraction(text: str) -> float:
    """The value of a fraction such as `1%`, `0.01` or `10m`: the three are the same.

    Raises:
        ValueError: The text is not a fraction from 0 to 1.
    """
    if not re.fullmatch(FRACTION_PATTERN, text):
        raise ValueError(f"{text!r} {FRACTION_MESSAGE}")
    number = Decimal(text.rstrip("%m"))
    return float(number / {"%": 100, "m": 1000}.get(text[-1], 1))


def format_fraction(value: float) -> str:
    """A fraction as a percentage with two decimals: 0.97123 is `97.12%`."""
    return f"{value * 100:.2f}%"


def _is_fraction(text: str) -> str:
    parse_fraction(text)
    return text


Fraction = Annotated[
    str,
    Field(max_length=MAX_LENGTH, json_schema_extra=rules({f"self.matches('{FRACTION_PATTERN}')": FRACTION_MESSAGE})),
    AfterValidator(_is_fraction),
]
"""A fraction in a spec, from 0 to 1."""
