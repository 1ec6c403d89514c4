"""What the command line says of how a server is judged while it serves."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgesmith_runtime.arguments import positive, seconds
from edgesmith_runtime.judging.bounds import Gates

if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["REPLAY_SECONDS", "add_judging", "gates_of"]

REPLAY_SECONDS = 600.0
"""Seconds between two rounds of golden samples."""


def add_judging(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    usual = Gates()
    parser.add_argument(
        "--max-error-rate",
        type=_share,
        default=usual.max_error_rate,
        help="end when more of the requests fail, above what failed on the previous server here (default: %(default)g)",
    )
    parser.add_argument(
        "--max-latency-ratio",
        type=_ratio,
        help="end when runs take so many times as long as on the previous server here (default: not judged)",
    )
    parser.add_argument(
        "--max-confidence-drop",
        type=_share,
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
        default=REPLAY_SECONDS,
        help="how often golden samples are asked for again while it serves; 0: never (default: %(default)g)",
    )


def gates_of(options: Namespace) -> Gates:
    """What they say."""
    return Gates(
        max_error_rate=options.max_error_rate,
        max_latency_ratio=options.max_latency_ratio,
        max_confidence_drop=options.max_confidence_drop,
        min_requests=options.min_requests,
        period=options.judge_seconds,
    )


def _share(text: str) -> float:
    """Read a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is out of range; expected a number from 0 to 1")
    return value


def _ratio(text: str) -> float:
    """Read a number from 1."""
    value = float(text)
    if not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is out of range; expected a number from 1")
    return value
