"""One inference, whichever way it came: its tensors are read, the model is run, its answer is written."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from edgesmith_runtime.errors import Unavailable
from edgesmith_runtime.statistics import Parts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from edgesmith_runtime.service import LoadedModel, Service
    from edgesmith_runtime.signature import InferRequest

__all__ = ["inference"]

T = TypeVar("T")


def inference(
    service: Service,
    model: LoadedModel,
    *,
    since: float,
    decode: Callable[[], InferRequest],
    encode: Callable[[InferRequest, Mapping[str, NDArray[Any]]], T],
) -> Callable[[bool], T]:
    """Make a job for the queue; see `Dispatcher.submit`.

    Args:
        service: The server's state.
        model: The model.
        since: When the request was there, on `time.perf_counter`'s clock.
        decode: Reads and checks the request.
        encode: Writes the answer.
    """

    def job(busy: bool) -> T:  # noqa: FBT001 - the queue calls it
        began = time.perf_counter()
        request = decode()
        taken = time.perf_counter()
        try:
            _check_time(request, taken - since)
            answers = service.run(model, request, busy=busy)
            ran = time.perf_counter()
            answer = encode(request, answers)
        except Exception:
            service.statistics.failed(time.perf_counter() - since)
            raise
        parts = Parts(began - since, taken - began, ran - taken, time.perf_counter() - ran)
        service.statistics.answered(model.signature.batch_of(request), parts)
        return answer

    return job


def _check_time(request: InferRequest, seconds: float) -> None:
    waited = round(seconds * 1e6)
    if request.timeout and waited > request.timeout:
        raise Unavailable(
            f"the request waited {waited} µs for its turn; expected at most its timeout of {request.timeout} µs"
        )
