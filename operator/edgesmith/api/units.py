"""Quantities, durations and int-or-percent, as Kubernetes writes them."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from decimal import Decimal

_SUFFIXES: dict[str, int | Decimal] = {
    "m": Decimal("0.001"), "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$"
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
PERCENT_PATTERN = r"^(100|[1-9][0-9]?)%$"


def parse_bytes(value: str | int) -> int:
    """Bytes of a Quantity such as `512Mi`, rounded up; a number is bytes.

    Raises:
        ValueError: It is not a quantity of bytes.
    """
    text = str(value)
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?", text)
    if not match:
        raise ValueError(f"{text!r} is not a quantity such as 512Mi")
    return math.ceil(Decimal(match[1]) * _SUFFIXES[match[2] or ""])


def parse_duration(text: str) -> timedelta:
    """The length of a duration such as `50ms`, `5m` or `1h30m`.

    Raises:
        ValueError: The text is not a duration.
    """
    if not re.fullmatch(DURATION_PATTERN.strip("^$"), text):
        raise ValueError(f"{text!r} is not a duration such as 50ms, 90s or 1h30m")
    return timedelta(seconds=sum(float(n) * _SECONDS[u] for n, u in re.findall(r"([0-9.]+)(ms|s|m|h)", text)))


def parse_share(value: int | str, total: int) -> int:
    """A count given as a number or a percentage of `total`, rounded down but never below one.

    Rounding a small fleet's 20 % down to nothing would be a rollout that never moves.
    """
    if isinstance(value, int):
        return max(value, 1)
    return max(math.floor(total * int(value.rstrip("%")) / 100), 1)
