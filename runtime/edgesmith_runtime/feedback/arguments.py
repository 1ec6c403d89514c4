"""What the command line says of what may be seen of requests."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgesmith_runtime.arguments import seconds
from edgesmith_runtime.sampling.arguments import Sampling, sampling_of

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from pathlib import Path

__all__ = ["Feedback", "Privacy", "add_feedback", "feedback_of"]


class Privacy(enum.StrEnum):
    """What of requests may leave the process that answers them."""

    NONE = "None"
    """Nothing: requests are not observed at all."""
    STATISTICS = "Statistics"
    """Statistics of many requests, from which none can be told."""
    SAMPLES = "Samples"
    """Requests themselves."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What may be seen of requests.

    Attributes:
        privacy: Bounds all of it.
        sampling: How samples are taken where it is `Samples`.
        drift_cycle: Seconds in which what is asked may change and come back without being drift; 0: it does not depend
            on the time.
        notes: A folder that outlives the server, for its next start; None: nothing is kept.
    """

    privacy: Privacy = Privacy.NONE
    sampling: Sampling = field(default_factory=Sampling)
    drift_cycle: float = 86400.0
    notes: Path | None = None


def add_feedback(parser: ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        "--privacy",
        choices=[one.value for one in Privacy],
        default=Privacy.NONE.value,
        help="what of requests may leave the server: nothing, statistics, or samples (default: %(default)s)",
    )
    parser.add_argument(
        "--drift-cycle-seconds",
        type=seconds,
        default=Feedback().drift_cycle,
        help="in which what is asked may change and come back, as it does in the model's baseline; 0: it does not "
        "depend on the time (default: %(default)g)",
    )


def feedback_of(options: Namespace) -> Feedback:
    """What they say."""
    return Feedback(Privacy(options.privacy), sampling_of(options), options.drift_cycle_seconds, options.notes)
