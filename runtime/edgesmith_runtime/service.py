"""The model being served and the server's state: what both front doors talk to."""

from __future__ import annotations

import asyncio
import enum
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from edgesmith_runtime.batches import joined, parted, rows_of
from edgesmith_runtime.engine import EngineError, EngineInputError
from edgesmith_runtime.errors import AnswerFailed, BadRequest, NotFound, Unavailable
from edgesmith_runtime.signature import VERSION, InferRequest, ModelSignature
from edgesmith_runtime.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from edgesmith_runtime.dispatcher import Dispatcher
    from edgesmith_runtime.drift.observer import Drift
    from edgesmith_runtime.engine import Engine
    from edgesmith_runtime.health import Health
    from edgesmith_runtime.judging.judge import Judge
    from edgesmith_runtime.metrics import Metrics
    from edgesmith_runtime.observing import Observers
    from edgesmith_runtime.picture import Pipeline

__all__ = ["EXTENSIONS", "SERVER_NAME", "LoadedModel", "Service", "State"]

T = TypeVar("T")

SERVER_NAME: Final = "edgesmith"
EXTENSIONS: Final = ("binary_tensor_data", "classification", "model_configuration", "parameters", "statistics")
"""The extensions of the protocol that the server knows."""


class State(enum.Enum):
    """Where the server is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that has answered its golden samples.

    Attributes:
        signature: What it accepts and answers.
        engine: The engine that holds it.
        pipeline: What its bundle does with pictures; None where it declares nothing.
    """

    signature: ModelSignature
    engine: Engine
    pipeline: Pipeline | None = None


class Service:
    """One model, its queue and its state.

    Args:
        dispatcher: The queue in front of the engine.
        health: Whether runs end and the gRPC port answers.
        metrics: Where requests are counted.
    """

    def __init__(self, *, dispatcher: Dispatcher, health: Health, metrics: Metrics) -> None:
        self.metrics = metrics
        self.statistics = Statistics()
        self.judge: Judge | None = None
        """Who watches how requests go; None before the model is loaded."""
        self.observers: Observers | None = None
        """Who else sees runs that were answered; None where nobody does."""
        self.drift: Drift | None = None
        """Who watches for drift, among them; None where nobody does."""
        self._health = health
        self._dispatcher = dispatcher
        self._state = State.STARTING
        self._loaded: LoadedModel | None = None
        self.asked = 0.0
        """When a client last asked the model, by the monotonic clock."""

    @property
    def ready(self) -> bool:
        """Whether the model is loaded, checked and to be sent requests."""
        return self._state is State.READY and self._health.unready is None

    @property
    def draining(self) -> bool:
        """Whether the server is stopping."""
        return self._state is State.DRAINING

    @property
    def live(self) -> bool:
        """Whether the process does its work, or can come to it by itself."""
        return self._health.dead is None

    @property
    def name(self) -> str:
        """What clients call the model; empty before it is loaded."""
        return self._loaded.signature.name if self._loaded else ""

    def metrics_text(self) -> str:
        """Write the metrics as they are now."""
        self.metrics.put("edgesmith_ready", value=self.ready)
        if self.judge is not None:
            self.judge.tell(self.metrics)
        if self.observers is not None:
            self.observers.tell()
        return self.metrics.text()

    def start(self, model: LoadedModel) -> None:
        """Become ready, unless the server is already stopping."""
        self._loaded = model
        if self._state is State.STARTING:
            self._state = State.READY

    def drain(self) -> None:
        """Stop being ready; requests that still arrive are answered."""
        self._state = State.DRAINING

    def model(self, name: str | None = None, version: str = "") -> LoadedModel:
        """Find a model.

        Args:
            name: Its name; None for whichever there is.
            version: Its version; empty for any.

        Raises:
            Unavailable: The server has not loaded its model yet.
            NotFound: It serves another model or version.
        """
        if self._loaded is None:
            raise Unavailable("the model is being loaded; retry in a moment")
        signature = self._loaded.signature
        if name not in {None, signature.name}:
            raise NotFound(f"model {str(name)[:100]!r} is not served here; expected {signature.name!r}")
        if version not in {"", VERSION}:
            raise NotFound(f"model {signature.name!r} has no version {version[:100]!r}; expected {VERSION!r}")
        return self._loaded

    def model_ready(self, name: str, version: str = "") -> bool:
        """Say whether a model is ready.

        Raises:
            NotFound: The server serves another model or version.
        """
        if self._loaded is None:
            return False
        self.model(name, version)
        return self.ready

    def submit(self, job: Callable[[bool], T], size: int | None = None) -> asyncio.Future[T]:
        """Queue a job for the engine's threads and wait on the event loop; see `Dispatcher.ask`."""
        self.asked = time.monotonic()
        return self._dispatcher.ask(job, size)

    def queue(self, job: Callable[[bool], T]) -> Future[T]:
        """Queue a job for the engine's threads and wait on a thread; see `Dispatcher.submit`."""
        self.asked = time.monotonic()
        return self._dispatcher.submit(job)

    def run(self, model: LoadedModel, request: InferRequest, *, busy: bool) -> dict[str, NDArray[Any]]:
        """Run the model once and time it.

        Raises:
            BadRequest: The engine refused the inputs.
            AnswerFailed: The run failed.
        """
        traffic = self.judge.traffic if self.judge else None
        start = time.perf_counter()
        try:
            answers = model.engine.infer(request.inputs, [output.name for output in request.outputs], busy=busy)
        except EngineInputError as error:
            if traffic is not None:
                traffic.refused()
            raise BadRequest(str(error)) from error
        except Exception as error:
            if traffic is not None:
                traffic.failed()
            if isinstance(error, EngineError):
                raise AnswerFailed(error.message) from error
            raise
        self._noted(time.perf_counter() - start, request, answers)
        return answers

    def run_together(
        self, model: LoadedModel, requests: Sequence[InferRequest], *, busy: bool
    ) -> list[dict[str, NDArray[Any]]]:
        """Run the model once for several requests, which have all in common but their batches.

        Returns:
            The answers to each.

        Raises:
            EngineError: The run failed; nothing is counted.
            ValueError: An output has not as many rows as the requests.
        """
        asked = [[output.name for output in request.outputs] for request in requests]
        wanted = [name for name in model.signature.outputs if any(name in names for names in asked)]
        start = time.perf_counter()
        answers = model.engine.infer(joined([request.inputs for request in requests]), wanted, busy=busy)
        seconds = time.perf_counter() - start
        parts = parted(answers, [rows_of(request.inputs) for request in requests])
        own = [{name: part[name] for name in names} for part, names in zip(parts, asked, strict=True)]
        for request, answer in zip(requests, own, strict=True):
            self._noted(seconds, request, answer)
        return own

    def _noted(self, seconds: float, request: InferRequest, answers: dict[str, NDArray[Any]]) -> None:
        """Count a run, and show it to those who watch."""
        self.metrics.observe("edgesmith_inference_duration_seconds", value=seconds)
        if self.judge is not None and self.judge.traffic is not None:
            self.judge.traffic.answered(seconds, request.inputs, answers)
        if self.observers is not None:
            self.observers.offer(request.inputs, answers)
