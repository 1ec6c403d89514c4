"""A server's state around an engine, without ports; and an engine that knows on which thread it ran."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from edgesmith_runtime.dispatcher import Dispatcher
from edgesmith_runtime.health import Health, Patience
from edgesmith_runtime.metrics import Metrics
from edgesmith_runtime.service import LoadedModel, Service
from edgesmith_runtime.signature import ModelSignature
from edgesmith_runtime.tensors import TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgesmith_runtime.engine import Engine

_PATIENT = Patience()


class WatchedEngine:
    """Answers with its input."""

    inputs = outputs = (TensorSpec("x", "FP32", (4,)),)
    warning = None
    ran = 0
    """The thread that it ran on last."""

    def infer(self, inputs: Any, outputs: Any = None, *, busy: bool = False) -> dict[str, NDArray[Any]]:
        """Remember the thread."""
        del outputs, busy
        self.ran = threading.get_ident()
        return dict(inputs)

    def settle(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Nothing is held."""


def serving(
    engine: Engine, patience: Patience = _PATIENT, *, limit: int = 8
) -> tuple[Service, Dispatcher, LoadedModel]:
    """A service that is ready with a model `m` of the engine, whose inputs are its outputs."""
    metrics = Metrics()
    dispatcher = Dispatcher(workers=1, limit=limit, metrics=metrics)
    service = Service(dispatcher=dispatcher, health=Health(dispatcher, patience), metrics=metrics)
    specs = {spec.name: spec for spec in engine.inputs}
    model = LoadedModel(ModelSignature("m", "test", specs, specs, ()), engine)
    service.start(model)
    return service, dispatcher, model
