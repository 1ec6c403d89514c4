"""What the command line says of how a server is judged while it serves."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.arguments import number, positive, seconds
from edgesmith_runtime.judging.bounds import Gates

if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["Judging", "add_judging", "judging_of"]

_NOTES: Final = "EDGESMITH_NOTES"
"""The variable that names the folder for notes: older servers, which know no such option, do without."""


@dataclass(frozen=True, slots=True)
class Judging:
    """How a server is judged while it serves.

    Attributes:
        gates: What its requests are held to.
        replay_seconds: Seconds between two rounds of golden samples; 0: there are none.
        notes: A folder that outlives the server, for its next start; None: nothing is kept.
    """

    gates: Gates = field(default_factory=Gates)
    replay_seconds: float = 600.0
    notes: Path | None = None


def add_judging(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    judging = Judging()
    usual = judging.gates
    parser.add_argument(
        "--max-error-rate",
        type=number(0, 1),
        default=usual.max_error_rate,
        help="end when more of the requests fail, above what failed on the previous server here (default: %(default)g)",
    )
    parser.add_argument(
        "--max-latency-ratio",
        type=number(1),
        help="end when runs take so many times as long as on the previous server here (default: not judged)",
    )
    parser.add_argument(
        "--max-confidence-drop",
        type=number(0, 1),
        help="end when the mean confidence is lower than the previous server's by more (default: not judged)",
    )
    parser.add_argument(
        "--min-requests",
        type=positive,
        default=usual.min_requests,
        help="requests before anything is found against the server (default: %(default)s)",
    )
    parser.add_argument(
        "--judge-seconds",
        type=seconds,
        default=usual.period,
        help="how long requests are judged once the server is ready; 0: not at all (default: %(default)g)",
    )
    parser.add_argument(
        "--replay-seconds",
        type=seconds,
        default=judging.replay_seconds,
        help="how often golden samples are asked for again while it serves; 0: never (default: %(default)g)",
    )
    kept = os.environ.get(_NOTES)
    parser.add_argument(
        "--notes",
        type=Path,
        default=Path(kept) if kept else None,
        help=f"a folder that outlives the server: what was judged is not judged again (default: ${_NOTES}, or none)",
    )


def judging_of(options: Namespace) -> Judging:
    """What they say."""
    gates = Gates(
        max_error_rate=options.max_error_rate,
        max_latency_ratio=options.max_latency_ratio,
        max_confidence_drop=options.max_confidence_drop,
        min_requests=options.min_requests,
        period=options.judge_seconds,
    )
    return Judging(gates, options.replay_seconds, options.notes)
