"""One model that stands ready twice: *wide* and *narrow*.

The wide runner spreads a run over all threads, for the lowest latency of a lone request. The narrow one takes one
thread a run, for the highest throughput of many callers. Each engine's module says what that gives.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from edgesmith_runtime.engine.feeds import LargeRuns, check_feeds, check_wanted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgesmith_runtime.tensors import TensorSpec

__all__ = ["MOST_COPIED", "PairedEngine", "Runner"]

MOST_COPIED: Final = 256 * 2**20
"""Above so many bytes of weights there is the wide runner only: another copy of them costs more than it gives."""


class Runner(Protocol):
    """What runs a model; safe to call from several threads at once."""

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], *, large: bool) -> Sequence[NDArray[Any]]:
        """Run the model once.

        Args:
            inputs: One array for every input; they fit it.
            outputs: The outputs wanted, all of them the model's.
            large: Whether the memory that the run needs is to be given back.

        Returns:
            The outputs wanted, in their order.

        Raises:
            EngineInputError: The inputs do not fit the model.
            EngineError: The run failed for another reason.
        """

    def settle(self) -> None:
        """Give back what large runs left behind; see `Engine.settle`."""


_Runner = TypeVar("_Runner", bound=Runner)


class PairedEngine(Generic[_Runner]):
    """An `Engine` of two runners. A run that finds others waiting or running takes the narrow one.

    Args:
        wide: Runs on all threads.
        narrow: Runs on one thread, several runs at once; None: the wide one does all.
        inputs: The model's inputs, in its own order.
        outputs: The model's outputs, in its own order.
        warning: What is not as it should be, see `Engine.warning`.
    """

    def __init__(
        self,
        wide: _Runner,
        narrow: _Runner | None,
        *,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        warning: str | None = None,
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.warning = warning
        self._wide = wide
        self._narrow = wide if narrow is None else narrow
        self._large_runs = LargeRuns()
        self._lock = threading.Lock()
        self._running = 0

    def infer(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None, *, busy: bool = False
    ) -> dict[str, NDArray[Any]]:
        """Run the model once; see `Engine.infer`."""
        names = check_wanted(self.outputs, outputs)
        check_feeds(self.inputs, inputs)
        large = self._large_runs.is_large(inputs)
        with self._lock:
            busy = busy or self._running > 0
            self._running += 1
        try:
            answers = (self._narrow if busy else self._wide).run(inputs, names, large=large)
        finally:
            with self._lock:
                self._running -= 1
        return dict(zip(names, answers, strict=True))

    def settle(self) -> None:
        """Give back what large runs left behind; see `Engine.settle`."""
        for runner in {self._wide, self._narrow}:
            runner.settle()

    def close(self) -> None:
        """Let go of both runners."""
        del self._wide, self._narrow
