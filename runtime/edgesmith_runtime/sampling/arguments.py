"""What the command line says of samples."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.arguments import number, positive
from edgesmith_runtime.sampling.redaction import Redaction, rules_of

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from edgesmith_runtime.sampling.choosing import Reason

__all__ = ["NODE", "SPOOL", "Sampling", "add_sampling", "node_name", "sampling_of"]

SPOOL: Final = Path("/spool")
"""Where the operator mounts it."""
NODE: Final = "EDGESMITH_NODE"
"""The variable that has the node's name."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How samples are taken.

    Attributes:
        spool: The folder that they are kept in until they are sent.
        day_bytes: Bytes of samples in any 24 hours.
        disk_bytes: Bytes of the disk that those may take that wait.
        random_share: The share of the day's bytes that goes to random samples.
        redaction: What is taken out of them.
    """

    spool: Path = SPOOL
    day_bytes: int = 20_000_000
    disk_bytes: int = 200_000_000
    random_share: float = 0.5
    redaction: Redaction = field(default_factory=Redaction)

    def rates(self, *, unsure: bool, novel: bool) -> dict[Reason, float]:
        """Bytes a second for each reason.

        Args:
            unsure: Whether the model's answers say how sure it is.
            novel: Whether anything says how novel an input is.
        """
        second = self.day_bytes / 86_400
        chosen: list[Reason] = [*(["Uncertain"] if unsure else []), *(["Novel"] if novel else [])]  # type: ignore[list-item]
        rates: dict[Reason, float] = {"Random": second * (self.random_share if chosen else 1.0)}
        return rates | {reason: second * (1 - self.random_share) / len(chosen) for reason in chosen}


def add_sampling(parser: ArgumentParser) -> None:
    """The arguments."""
    usual = Sampling()
    parser.add_argument(
        "--spool", type=Path, default=usual.spool, help="where samples wait to be sent (default: %(default)s)"
    )
    parser.add_argument(
        "--sample-bytes-per-day",
        type=positive,
        default=usual.day_bytes,
        help="bytes of samples in any 24 hours (default: %(default)s)",
    )
    parser.add_argument(
        "--spool-bytes",
        type=positive,
        default=usual.disk_bytes,
        help="bytes of the disk that samples may take while they wait (default: %(default)s)",
    )
    parser.add_argument(
        "--random-share",
        type=number(0, 1),
        default=usual.random_share,
        help="the share of the day's bytes that goes to random samples (default: %(default)g)",
    )
    parser.add_argument(
        "--redact", type=_rules, default=(), help="what is taken out of samples, as JSON (default: nothing)"
    )
    parser.add_argument(
        "--redact-command",
        type=_words,
        default=(),
        help="a program of the image and its arguments, as a JSON list, that each sample goes through before it "
        "is kept (default: none)",
    )


def sampling_of(options: Namespace) -> Sampling:
    """What they say."""
    return Sampling(
        spool=options.spool,
        day_bytes=options.sample_bytes_per_day,
        disk_bytes=options.spool_bytes,
        random_share=options.random_share,
        redaction=Redaction(options.redact, options.redact_command),
    )


def node_name() -> str:
    """The node that this runs on; empty where nobody says it."""
    return os.environ.get(NODE, "")


def _rules(text: str) -> tuple[object, ...]:
    try:
        return rules_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _words(text: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not found or not all(isinstance(word, str) for word in found):
        raise argparse.ArgumentTypeError(f"{text[:200]!r} is no command; a JSON list of words was expected")
    return tuple(found)
