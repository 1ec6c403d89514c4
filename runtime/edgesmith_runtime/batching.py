"""Whether a loaded model's requests may be run together, and with which words not."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.batches import joined, parted
from edgesmith_runtime.engine import EngineError
from edgesmith_runtime.golden import compare
from edgesmith_runtime.inference import run_together
from edgesmith_runtime.mates import Together
from edgesmith_runtime.tensors import ANY_SIZE

if TYPE_CHECKING:
    from edgesmith_runtime.engine import Engine
    from edgesmith_runtime.golden import Golden
    from edgesmith_runtime.loading import Loaded
    from edgesmith_runtime.signature import ModelSignature

__all__ = ["Batching", "together", "unbatched"]

_log: Final = logging.getLogger(__name__)
_FEWEST: Final = 2


@dataclass(frozen=True, slots=True)
class Batching:
    """How requests are run together.

    Attributes:
        seconds: How long a batch waits for requests that are likely to come; 0: none are run together.
        size: The largest batch.
    """

    seconds: float = 0.0
    size: int = 8


def together(loaded: Loaded, batching: Batching) -> Together | None:
    """How a loaded model's requests are run together; None where they are not, and the log says why.

    Args:
        loaded: The model.
        batching: How it is asked for.
    """
    if not batching.seconds:
        return None
    reason = unbatched(loaded.model.signature, batching.size)
    reason = reason or _disagreement(loaded.model.engine, loaded.golden, batching.size)
    if reason is not None:
        _log.warning("requests are not run together: %s", reason)
        return None
    return Together(run_together, batching.size, batching.seconds)


def unbatched(signature: ModelSignature, size: int) -> str | None:
    """Why a model's requests cannot be run together, as far as its inputs and outputs tell; None where they can."""
    if size < _FEWEST:
        return f"a batch has {size} at most; expected at least {_FEWEST}"
    for name in signature.inputs:
        if name not in signature.batches:
            return f"input {name!r} has no batch; expected an open first size, and golden samples that are slices of it"
    for name, spec in signature.outputs.items():
        if spec.shape[:1] != (ANY_SIZE,):
            return f"output {name!r} has no batch; expected an open first size"
    return None


def _disagreement(engine: Engine, golden: Golden, size: int) -> str | None:
    """Why golden samples do not come out of batches as they should; None where they do."""
    samples = golden.samples(engine)
    for start in range(0, len(samples), size):
        feeds = samples[start : start + size]
        if len({tuple(array.shape for array in feed.values()) for feed in feeds}) > 1:
            return "golden samples differ in their sizes"
        filled = [feeds[index % len(feeds)] for index in range(size)]
        try:
            parts = parted(engine.infer(joined(filled), tuple(golden.outputs)), [1] * size)
        except (EngineError, ValueError) as error:
            return str(error)
        for index, part in enumerate(parts[: len(feeds)], start):
            share, words = compare(golden, index, part)
            if share > 1:
                return f"in a batch, {words}"
    return None
