"""What a server tells the one that takes its place: how its requests went. Read without trusting it.

It is the page ``/traffic`` of every server. The next revision on the same node asks for it while the old server still
answers, and is held against it. Old requests fade: the figures are halved each time that there are `MANY` of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from edgesmith_runtime.judging.sketch import BUCKETS

__all__ = ["LONGEST", "MANY", "Figures", "read"]

MANY: Final = 8192
"""Requests after which the figures are halved."""
LONGEST: Final = 8 * 1024
"""The most bytes of a page that is read; `BUCKETS` numbers and some words are less than 3 KiB."""
_FORMAT: Final = 1
_LONGEST_NAME: Final = 300


@dataclass(frozen=True, slots=True)
class Figures:
    """How a server's newest requests went.

    Attributes:
        model: What is served: the model's digest with the versions of what runs it.
        instance: Which start of a server it is; another one after each.
        before: The `model` of the server that was here before it; empty where none was seen.
        failed: Runs of the model for requests that failed, or were answered with what is no number.
        refused: Runs whose inputs fit the model's signature and were refused by the model itself.
        taken: How long the others took: the counts of the buckets of `edgesmith_runtime.judging.sketch`.
        sure: How many of the others had a confidence.
        confidence: Its mean, from 0 to 1.
        variance: Its variance.
    """

    model: str
    instance: str
    before: str
    failed: int
    refused: int
    taken: tuple[int, ...]
    sure: int = 0
    confidence: float = 0.0
    variance: float = 0.0

    @property
    def requests(self) -> int:
        """How many runs these are about."""
        return self.failed + self.refused + sum(self.taken)

    def text(self) -> bytes:
        """The page: one JSON object."""
        taken = list(self.taken)
        while taken and not taken[-1]:
            taken.pop()
        document = {
            "format": _FORMAT,
            "model": self.model,
            "instance": self.instance,
            "before": self.before,
            "failed": self.failed,
            "refused": self.refused,
            "taken": taken,
            "sure": self.sure,
            "confidence": round(self.confidence, 6),
            "variance": round(self.variance, 8),
        }
        return json.dumps(document, separators=(",", ":")).encode()


def read(page: bytes) -> Figures | None:
    """Read a page; None where it is none of this form, or its numbers do not go together."""
    if len(page) > LONGEST:
        return None
    try:
        found = json.loads(page)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        return None
    words = [found.get(name) for name in ("model", "instance", "before")]
    counts = [found.get(name) for name in ("failed", "refused", "sure")]
    shares = [found.get(name) for name in ("confidence", "variance")]
    taken = found.get("taken")
    right = (
        all(isinstance(one, str) and len(one) <= _LONGEST_NAME for one in words)
        and all(map(_is_count, counts))
        and all(isinstance(one, int | float) and 0 <= one <= 1 for one in shares)
        and isinstance(taken, list)
        and len(taken) <= BUCKETS
        and all(map(_is_count, taken))
    )
    if not right or not (words[0] and words[1]):
        return None
    return _checked(words, counts, list(taken or ()), [float(one) for one in shares if one is not None])


def _checked(words: list[Any], counts: list[Any], taken: list[int], shares: list[float]) -> Figures | None:
    """The figures, where no part is more than its whole."""
    model, instance, before = words
    failed, refused, sure = counts
    if sure > sum(taken):
        return None
    filled = (*taken, *([0] * (BUCKETS - len(taken))))
    return Figures(model, instance, before, failed, refused, filled, sure, *shares)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 2 * MANY
