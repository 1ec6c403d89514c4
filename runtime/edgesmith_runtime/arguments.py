"""What the command lines of both servers share: the arguments that say what is served, and kinds of numbers."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.bundle import DEFAULT_NAME, is_name
from edgesmith_runtime.device import memory_limit
from edgesmith_runtime.http.limits import MEBIBYTE, Limits
from edgesmith_runtime.parsing import Parser

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesmith_runtime.termination import Finding

__all__ = ["add_gates", "limits_of", "number", "port", "positive", "report", "seconds", "shared_arguments"]

_TERMINATION_LOG: Final = Path("/dev/termination-log")
_LARGEST_PORT: Final = 65535


def shared_arguments() -> Parser:
    """The arguments of every command."""
    shared, limits = Parser(add_help=False), Limits()
    shared.add_argument(
        "--bundle", type=Path, default=Path("/model"), help="the bundle's folder (default: %(default)s)"
    )
    shared.add_argument(
        "--name", type=name, default=DEFAULT_NAME, help="what clients call the model (default: %(default)s)"
    )
    shared.add_argument(
        "--threads", type=positive, default=None, help="cores to compute with (default: the container's CPU limit)"
    )
    shared.add_argument(
        "--max-batch",
        type=positive,
        default=limits.batch,
        help="the largest batch of a request; 400 above (default: %(default)s)",
    )
    shared.add_argument(
        "--termination-log",
        type=Path,
        default=_TERMINATION_LOG,
        help="where findings are left for the kubelet (default: %(default)s)",
    )
    return shared


def add_gates(parser: argparse.ArgumentParser) -> None:
    """The gates of a self-test."""
    parser.add_argument("--max-latency-ms", type=seconds, help="fail when the p95 of one run is above (milliseconds)")
    parser.add_argument("--max-memory-bytes", type=positive, help="fail when the peak resident memory is above")
    parser.add_argument(
        "--report", action="store_true", help="end with 0 whatever was found: what is left for the kubelet says it"
    )


def limits_of(batch: int, body_mib: int | None = None, pending_mib: int | None = None) -> Limits:
    """Bounds on clients, within the container's memory.

    Args:
        batch: The largest batch of a request.
        body_mib: The longest request in MiB; None for the usual.
        pending_mib: Requests in memory at once in MiB; None for what fits.
    """
    usual = Limits()
    bodies = _pending(memory_limit()) if pending_mib is None else pending_mib * MEBIBYTE
    body = usual.body if body_mib is None else body_mib * MEBIBYTE
    return Limits(body=min(body, bodies), bodies=bodies, batch=batch)


def _pending(memory: int | None) -> int:
    """How many bytes of requests may be in memory, where the container may have so many in all."""
    bodies = Limits().bodies
    return bodies if memory is None else max(MEBIBYTE, min(bodies, memory // 4))


def report(finding: Finding, termination_log: Path, *, always: bool) -> int:
    """Tell a self-test's finding, on standard output and to the kubelet, and return the exit status.

    Args:
        finding: What was found.
        termination_log: The file for the kubelet.
        always: Whether the status is 0 whatever was found.
    """
    from edgesmith_runtime.termination import write_termination  # noqa: PLC0415 - it knows engines; `--help` does not

    sys.stdout.write(json.dumps(finding.document(), sort_keys=True) + "\n")
    try:
        write_termination(termination_log, finding, create=True)
    except OSError as error:
        logging.getLogger(__name__).error("%s cannot be written: %s", termination_log, error.strerror)  # noqa: TRY400 - the sentence says all
        return 1
    return 0 if finding.passed or always else 1


def name(text: str) -> str:
    """Read the name of a model."""
    if not is_name(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name; expected letters, digits, '.', '_' and '-'")
    return text


def positive(text: str) -> int:
    """Read a whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is below 1; expected a whole number from 1")
    return value


def port(text: str) -> int:
    """Read a port."""
    value = int(text)
    if not 0 <= value <= _LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected 0 to {_LARGEST_PORT}")
    return value


def number(least: float, most: float = sys.float_info.max) -> Callable[[str], float]:
    """How to read a number from one to another, both among them."""
    upper = f" to {most:g}" if most < sys.float_info.max else ""

    def read(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is out of range; expected a number from {least:g}{upper}")
        return value

    read.__name__ = "number"  # argparse names it where the text is none
    return read


seconds: Final = number(0)
