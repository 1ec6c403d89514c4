"""What Triton's statistics extension tells of a model: how many inferences, and what their parts took.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md describes it. Requests
that do not fit the model are counted by `edgesmith_runtime.metrics` only, as in Triton: they were no inferences.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final, NamedTuple

__all__ = ["Parts", "Statistics"]

_NANOSECONDS: Final = 1e9
_PARTS: Final = ("queue", "compute_input", "compute_infer", "compute_output")
"""What Triton calls the fields of `Parts`."""


class Parts(NamedTuple):
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


class Statistics:
    """The counters of one model, from the server's start on. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0.0
        self._failed = 0
        self._failing = 0.0
        self._batches: dict[int, list[float]] = {}
        """For each size of batch how many requests had it, and the sums of their parts."""

    def answered(self, batch: int, parts: Parts) -> None:
        """Count a request that was answered by a run of its own.

        Args:
            batch: How many samples it held; 1 where the model has no batch.
            parts: What it took.
        """
        queue, taking, running, writing = parts
        with self._lock:
            self._last = time.time()
            sums = self._batches.get(batch)
            if sums is None:
                sums = self._batches[batch] = [0, 0.0, 0.0, 0.0, 0.0]
            sums[0] += 1
            sums[1] += queue
            sums[2] += taking
            sums[3] += running
            sums[4] += writing

    def failed(self, seconds: float) -> None:
        """Count a request that fits the model and got no answer.

        Args:
            seconds: From the whole request received to its failure.
        """
        with self._lock:
            self._failed += 1
            self._failing += seconds

    def document(self) -> dict[str, Any]:
        """Write the fields of Triton's ``ModelStatistics`` by name, the model's own name and version left out."""
        with self._lock:
            batches = {batch: tuple(sums) for batch, sums in sorted(self._batches.items())}
            last, failed = self._last, _duration(self._failed, self._failing)
        count, *sums = map(sum, zip(*batches.values(), strict=True)) if batches else [0] * 5
        return {
            "last_inference": int(last * 1000),
            "inference_count": int(sum(batch * one[0] for batch, one in batches.items())),
            "execution_count": int(count),
            "inference_stats": {
                "success": _duration(count, sum(sums)),
                "fail": failed,
                **{name: _duration(count, one) for name, one in zip(_PARTS, sums, strict=True)},
                # There is no cache of answers; Triton's tools read the fields all the same.
                "cache_hit": _duration(0, 0.0),
                "cache_miss": _duration(0, 0.0),
            },
            "response_stats": {},
            "batch_stats": [
                {"batch_size": batch}
                | {name: _duration(one[0], seconds) for name, seconds in zip(_PARTS[1:], one[2:], strict=True)}
                for batch, one in batches.items()
            ],
            "memory_usage": [],
        }


def _duration(count: float, seconds: float) -> dict[str, int]:
    return {"count": int(count), "ns": int(seconds * _NANOSECONDS)}
