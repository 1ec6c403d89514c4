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
        self._samples = 0
        self._requests: list[float] = [0, 0.0, 0.0, 0.0, 0.0]
        """How many were answered, and the sums of their parts."""
        self._runs: dict[int, list[float]] = {}
        """For each size of batch how many runs had it, and the sums of what they computed."""

    def answered(self, samples: int, parts: Parts, *, run: int | None = None) -> None:
        """Count a request that was answered.

        Args:
            samples: How many it held; 1 where the model has no batch.
            parts: What it took.
            run: How many samples the run held that answered it, where that was for others, too; 0 where the run is
                counted with another of its requests. None: the request had a run of its own.
        """
        queue, taking, running, writing = parts
        with self._lock:
            self._last = time.time()
            self._samples += samples
            sums = self._requests
            sums[0] += 1
            sums[1] += queue
            sums[2] += taking
            sums[3] += running
            sums[4] += writing
            if run == 0:
                return
            computed = self._runs.setdefault(samples if run is None else run, [0, 0.0, 0.0, 0.0])
            computed[0] += 1
            computed[1] += taking
            computed[2] += running
            computed[3] += writing

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
            runs = {size: tuple(sums) for size, sums in sorted(self._runs.items())}
            last, failed = self._last, _duration(self._failed, self._failing)
            samples, (count, *sums) = self._samples, self._requests
        return {
            "last_inference": int(last * 1000),
            "inference_count": samples,
            "execution_count": int(sum(one[0] for one in runs.values())),
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
                {"batch_size": size}
                | {name: _duration(one[0], seconds) for name, seconds in zip(_PARTS[1:], one[1:], strict=True)}
                for size, one in runs.items()
            ],
            "memory_usage": [],
        }


def _duration(count: float, seconds: float) -> dict[str, int]:
    return {"count": int(count), "ns": int(seconds * _NANOSECONDS)}
