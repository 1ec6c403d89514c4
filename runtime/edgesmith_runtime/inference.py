"""One inference, whichever way it came: its tensors are read, the model is run, its answer is written."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from edgesmith_runtime.batches import kind_of, rows_of, size_of
from edgesmith_runtime.errors import Unavailable
from edgesmith_runtime.statistics import Parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from edgesmith_runtime.service import LoadedModel, Service
    from edgesmith_runtime.signature import InferRequest

__all__ = ["Inference", "inference", "run_together"]

_log: Final = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_READ: Final = 64 * 2**20
"""Bytes of tensors from which on what was read is run before more is: what was inflated is in no budget."""


def inference(
    service: Service,
    model: LoadedModel,
    *,
    since: float,
    decode: Callable[[], InferRequest],
    encode: Callable[[InferRequest, Mapping[str, NDArray[Any]]], T],
) -> Inference[T]:
    """Make a job for the queue; see `Dispatcher.submit`.

    Args:
        service: The server's state.
        model: The model.
        since: When the request was there, on `time.perf_counter`'s clock.
        decode: Reads and checks the request.
        encode: Writes the answer.
    """
    return Inference(service, model, since, decode, encode)


class Inference(Generic[T]):
    """A request in the queue. Called, it is run alone; `run_together` runs several."""

    joins: Final = True

    def __init__(
        self,
        service: Service,
        model: LoadedModel,
        since: float,
        decode: Callable[[], InferRequest],
        encode: Callable[[InferRequest, Mapping[str, NDArray[Any]]], T],
    ) -> None:
        self.service = service
        self.model = model
        self._since = since
        self._decode = decode
        self._encode = encode
        self._began = self._taken = 0.0

    def __call__(self, busy: bool) -> T:  # noqa: FBT001 - the queue calls it
        """Read the request, run the model, and write the answer."""
        return self.alone(self.read(), busy=busy)

    def read(self) -> InferRequest:
        """Read and check the request.

        Raises:
            RequestError: It does not fit the model, or has waited for too long.
        """
        self._began = time.perf_counter()
        request = self._decode()
        self._taken = time.perf_counter()
        with self._counted():
            _check_time(request, self._taken - self._since)
        return request

    def alone(self, request: InferRequest, *, busy: bool) -> T:
        """Run the model for what was read, and write the answer."""
        with self._counted():
            answers = self.service.run(self.model, request, busy=busy)
        return self.written(request, answers)

    def written(self, request: InferRequest, answers: Mapping[str, NDArray[Any]], run: int | None = None) -> T:
        """Write the answer.

        Args:
            request: The request.
            answers: What the model answered.
            run: See `Statistics.answered`.
        """
        with self._counted():
            ran = time.perf_counter()
            answer = self._encode(request, answers)
        parts = Parts(
            self._began - self._since, self._taken - self._began, ran - self._taken, time.perf_counter() - ran
        )
        self.service.statistics.answered(self.model.signature.batch_of(request), parts, run=run)
        return answer

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count a request that fails though it fits the model."""
        try:
            yield
        except Exception:
            self.service.statistics.failed(time.perf_counter() - self._since)
            raise


def run_together(jobs: Sequence[Inference[Any]], most: int, *, busy: bool) -> list[Any]:
    """Run requests in as few batches as they fit into.

    Args:
        jobs: The requests.
        most: The largest batch of several of them.
        busy: Whether other requests wait.

    Returns:
        The answer to each, or the exception that it ended with.
    """
    outcomes: list[Any] = [None] * len(jobs)
    begun = 0
    while begun < len(jobs):
        begun = _run_some(jobs, begun, most, outcomes, busy=busy)
    return outcomes


def _run_some(jobs: Sequence[Inference[Any]], begun: int, most: int, outcomes: list[Any], *, busy: bool) -> int:
    """Read and run requests from one on; give the first that was not read yet."""
    groups: dict[tuple[Any, ...], list[_Read]] = {}
    size = 0
    while begun < len(jobs) and size < _MOST_READ:
        try:
            request = jobs[begun].read()
        except Exception as error:  # noqa: BLE001 - it is raised where it was asked for
            outcomes[begun] = error
        else:
            groups.setdefault(kind_of(request.inputs), []).append(_Read(begun, jobs[begun], request))
            size += size_of(request.inputs)
        begun += 1
    for group in groups.values():
        for batch in _batches(group, most):
            for one, outcome in zip(batch, _run(batch, busy=busy), strict=True):
                outcomes[one.index] = outcome
    return begun


@dataclass(frozen=True, slots=True)
class _Read:
    """A request that was read, and its place among all."""

    index: int
    job: Inference[Any]
    request: InferRequest


def _batches(group: Sequence[_Read], most: int) -> Iterator[list[_Read]]:
    batch: list[_Read] = []
    rows = 0
    for one in group:
        count = rows_of(one.request.inputs) or most
        if batch and rows + count > most:
            yield batch
            batch, rows = [], 0
        batch.append(one)
        rows += count
    yield batch


def _run(batch: Sequence[_Read], *, busy: bool) -> list[Any]:
    first = batch[0].job
    if len(batch) > 1:
        try:
            answers = first.service.run_together(first.model, [one.request for one in batch], busy=busy)
        except Exception:  # noqa: BLE001 - whose request it is about shows when each is run alone
            _log.debug("a batch failed; its requests are run one by one")
        else:
            return _written(batch, answers)
    return [_outcome(partial(one.job.alone, busy=busy), one.request) for one in batch]


def _written(batch: Sequence[_Read], answers: Sequence[Mapping[str, NDArray[Any]]]) -> list[Any]:
    """Write the answers of one run, which is counted with the first that can be written."""
    run = sum(rows_of(one.request.inputs) for one in batch)
    outcomes = []
    for one, answer in zip(batch, answers, strict=True):
        outcomes.append(_outcome(one.job.written, one.request, answer, run))
        if not isinstance(outcomes[-1], Exception):
            run = 0
    return outcomes


def _outcome(answer: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return answer(*arguments)
    except Exception as error:  # noqa: BLE001 - it is raised where it was asked for
        return error


def _check_time(request: InferRequest, seconds: float) -> None:
    waited = round(seconds * 1e6)
    if request.timeout and waited > request.timeout:
        raise Unavailable(
            f"the request waited {waited} µs for its turn; expected at most its timeout of {request.timeout} µs"
        )
