"""What the command line says of what may be seen of requests."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgesmith_runtime.sampling.arguments import Sampling, sampling_of

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

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
    """

    privacy: Privacy = Privacy.NONE
    sampling: Sampling = field(default_factory=Sampling)


def add_feedback(parser: ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        "--privacy",
        choices=[one.value for one in Privacy],
        default=Privacy.NONE.value,
        help="what of requests may leave the server: nothing, statistics, or samples (default: %(default)s)",
    )


def feedback_of(options: Namespace) -> Feedback:
    """What they say."""
    return Feedback(Privacy(options.privacy), sampling_of(options))
