"""Makes what judges a server out of what was loaded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgesmith_runtime.engine import engine_version
from edgesmith_runtime.judging.confidence import probabilities, with_numbers
from edgesmith_runtime.judging.judge import Judge
from edgesmith_runtime.judging.notes import Notes
from edgesmith_runtime.judging.replaying import Replay
from edgesmith_runtime.judging.traffic import Traffic
from edgesmith_runtime.services import service_of
from edgesmith_runtime.version import VERSION

if TYPE_CHECKING:
    from edgesmith_runtime.dispatcher import Dispatcher
    from edgesmith_runtime.judging.arguments import Judging
    from edgesmith_runtime.loading import Loaded
    from edgesmith_runtime.metrics import Metrics

__all__ = ["judge_of"]


def judge_of(loaded: Loaded, asked: Judging, *, name: str, dispatcher: Dispatcher, metrics: Metrics) -> Judge:
    """Make what judges a server, before its model is served; runs some golden samples.

    Args:
        loaded: The model, its bundle and its golden samples.
        asked: How it is judged.
        name: What clients call it: the EdgeModel's name, and so that of its Service.
        dispatcher: The queue in front of the engine.
        metrics: Where golden samples are counted.
    """
    engine, golden = loaded.model.engine, loaded.golden
    traffic = None
    if asked.gates.period > 0:
        bundle = loaded.bundle
        traffic = Traffic(
            f"{bundle.model_digest} {engine_version(bundle.engine)} edgesmith {VERSION}",
            numbers=with_numbers(engine, golden),
            classes=probabilities(engine, golden),
        )
    replay = Replay(dispatcher, engine, golden, metrics=metrics, interval=asked.replay_seconds, now=time.monotonic())
    kept = Notes.read(asked.notes)
    if traffic is not None:
        traffic.before = kept.before
    return Judge(asked.gates, traffic, replay, service_of(name), kept)
