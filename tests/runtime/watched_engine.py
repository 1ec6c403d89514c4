"""An engine that knows on which thread it ran, and a server's state around it."""

from __future__ import annotations

import threading
from typing import Any

from numpy.typing import NDArray

from edgesmith_runtime.dispatcher import Dispatcher
from edgesmith_runtime.health import Health, Patience
from edgesmith_runtime.metrics import Metrics
from edgesmith_runtime.service import LoadedModel, Service
from edgesmith_runtime.signature import ModelSignature
from edgesmith_runtime.tensors import TensorSpec


class WatchedEngine:
    """Answers with its input."""

    inputs = outputs = (TensorSpec("x", "FP32", (4,)),)
    warning = None
    ran = 0

    def infer(self, inputs: Any, outputs: Any = None, *, busy: bool = False) -> dict[str, NDArray[Any]]:
        """Remember the thread."""
        del outputs, busy
        self.ran = threading.get_ident()
        return dict(inputs)

    def settle(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Nothing is held."""


def watched_service(queue: Dispatcher) -> tuple[Service, WatchedEngine]:
    """A service that is ready, with a model `m` of one such engine."""
    engine, metrics = WatchedEngine(), Metrics()
    service = Service(dispatcher=queue, health=Health(queue, Patience()), metrics=metrics)
    specs = {"x": engine.inputs[0]}
    service.start(LoadedModel(ModelSignature("m", "test", specs, specs, ()), engine))
    return service, engine
