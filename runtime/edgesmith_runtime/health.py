"""Whether the server does its work, beyond having started: runs of the model end.

An accelerator that hangs keeps its thread for ever, while the process lives on. Readiness ends first, so that clients
are sent elsewhere; where the fault stays, liveness ends, and the kubelet starts the server anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgesmith_runtime.dispatcher import Dispatcher

__all__ = ["Health", "Patience"]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long something may take, in seconds, before the server is not ready, and before it is not live.

    Attributes:
        run_unready: One run of the model, until the server is not ready.
        run_dead: The same, until it is not live.
    """

    run_unready: float = 60.0
    run_dead: float = 180.0


class Health:
    """What is known of the engine's threads.

    Args:
        dispatcher: The queue in front of the engine.
        patience: How long things may take.
    """

    def __init__(self, dispatcher: Dispatcher, patience: Patience) -> None:
        self._dispatcher = dispatcher
        self._patience = patience

    @property
    def unready(self) -> str | None:
        """Why the server should be sent no requests, in one sentence; None where nothing is wrong."""
        return self._fault(self._patience.run_unready)

    @property
    def dead(self) -> str | None:
        """Why the server should be started anew, in one sentence; None where nothing is wrong."""
        return self._fault(self._patience.run_dead)

    def _fault(self, most: float) -> str | None:
        longest = self._dispatcher.longest
        if longest < most:
            return None
        return f"a run of the model has taken {longest:.1f} s; expected less than {most:g} s"
