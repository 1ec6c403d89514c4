"""What Triton's statistics extension tells of a model: how many inferences, and what their parts took.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md describes it. Requests
that do not fit the model are counted by `edgesmith_runtime.metrics` only, as in Triton: they were no inferences.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Parts", "Statistics"]

_NANOSECONDS: Final = 1e9


@dataclass(frozen=True, slots=True)
class Parts:
    """What an inference took, in seconds.

    Attributes:
        queue: From the whole request received to its turn.
        taking: To read its tensors.
        running: To run the model.
        writing: To write its answer.
    """

    queue: float
    taking: float
    running: float
    writing: float

    @property
    def whole(self) -> float:
        """All of it."""
        return self.queue + self.taking + self.running + self.writing


class Statistics:
    """The counters of one model, from the server's start on. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0.0
        self._inferences = 0
        self._success, self._fail = _Sum(), _Sum()
        self._parts = {name: _Sum() for name in ("queue", *_COMPUTED)}
        self._batches: dict[int, dict[str, _Sum]] = {}

    def answered(self, batch: int, parts: Parts) -> None:
        """Count a request that was answered by a run of its own.

        Args:
            batch: How many samples it held; 1 where the model has no batch.
            parts: What it took.
        """
        computed = (parts.taking, parts.running, parts.writing)
        with self._lock:
            self._last = time.time()
            self._inferences += batch
            self._success.add(parts.whole)
            self._parts["queue"].add(parts.queue)
            sums = self._batches.setdefault(batch, {name: _Sum() for name in _COMPUTED})
            for name, seconds in zip(_COMPUTED, computed, strict=True):
                self._parts[name].add(seconds)
                sums[name].add(seconds)

    def failed(self, seconds: float) -> None:
        """Count a request that fits the model and got no answer.

        Args:
            seconds: From the whole request received to its failure.
        """
        with self._lock:
            self._fail.add(seconds)

    def document(self) -> dict[str, Any]:
        """Write the fields of Triton's ``ModelStatistics`` by name, the model's own name and version left out."""
        with self._lock:
            stats = {"success": self._success.document(), "fail": self._fail.document()}
            stats |= _documents(self._parts.items())
            return {
                "last_inference": int(self._last * 1000),
                "inference_count": self._inferences,
                "execution_count": self._success.count,
                # There is no cache of answers; Triton's tools read the fields all the same.
                "inference_stats": stats | dict.fromkeys(("cache_hit", "cache_miss"), _Sum().document()),
                "response_stats": {},
                "batch_stats": [
                    {"batch_size": batch} | _documents(sums.items()) for batch, sums in sorted(self._batches.items())
                ],
                "memory_usage": [],
            }


_COMPUTED: Final = ("compute_input", "compute_infer", "compute_output")
"""The parts that are told for each size of batch, too; in the order of `Parts`."""


class _Sum:
    __slots__ = ("count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds

    def document(self) -> dict[str, int]:
        return {"count": self.count, "ns": int(self.seconds * _NANOSECONDS)}


def _documents(sums: Iterable[tuple[str, _Sum]]) -> dict[str, Any]:
    return {name: one.document() for name, one in sums}
