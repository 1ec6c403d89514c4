"""The command line of ``uplink``. It knows nothing of models: what it imports is all the memory that it takes."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.logs import set_up_logging
from edgesmith_runtime.parsing import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesmith_runtime.uplink.command import UplinkSettings

__all__ = ["NODE", "add_uplink", "main", "settings_of"]

NODE: Final = "EDGESMITH_NODE"
"""The variable that has the node's name."""
_PLACE: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9._-]+)*)/?")
_OWNER: Final = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


def add_uplink(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.set_defaults(run=_run)
    parser.add_argument("--bucket", type=_place, required=True, help="where samples go: s3://BUCKET/PREFIX")
    parser.add_argument("--owner", type=_owner, required=True, help="whose they are: NAMESPACE/MODEL")
    parser.add_argument(
        "--node", default=os.environ.get(NODE, ""), help=f"the node, which keys begin with (default: ${NODE})"
    )
    parser.add_argument("--spool", type=Path, default=Path("/spool"), help="where they wait (default: %(default)s)")
    parser.add_argument(
        "--credentials",
        type=Path,
        default=Path("/credentials"),
        help="the folder with the keys (default: %(default)s)",
    )
    parser.add_argument(
        "--endpoint", default="", help="http(s)://HOST:PORT of the bucket unless the keys say it (default: Amazon's)"
    )
    parser.add_argument("--bucket-ca", type=Path, help="certificates in PEM to trust besides the public ones")
    parser.add_argument(
        "--bytes-per-second", type=_positive, default=262_144, help="bytes a second at most (default: %(default)s)"
    )
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=20.0,
        help="how long to go on sending after SIGTERM (default: %(default)g)",
    )
    parser.add_argument(
        "--termination-log",
        type=Path,
        default=Path("/dev/termination-log"),
        help="where what was last said is left for the kubelet (default: %(default)s)",
    )


def settings_of(options: argparse.Namespace) -> UplinkSettings:
    """What they say."""
    from edgesmith_runtime.uplink.command import UplinkSettings  # noqa: PLC0415 - a server reads the arguments too

    return UplinkSettings(
        spool=options.spool,
        place=options.bucket,
        owner=options.owner,
        node=options.node,
        credentials=options.credentials,
        endpoint=options.endpoint,
        rate=options.bytes_per_second,
        authority=options.bucket_ca,
        drain_seconds=options.drain_seconds,
        termination_log=options.termination_log,
    )


def main(arguments: Sequence[str]) -> int:
    """Run it without the other commands and what they import.

    Args:
        arguments: Those behind ``uplink``.
    """
    parser = Parser(prog="edgesmith_runtime uplink")
    add_uplink(parser)
    options = parser.parse_args(arguments)
    if not options.node:
        parser.error(f"--node is empty; the node's name was expected there or in ${NODE}")
    set_up_logging()
    status: int = options.run(options)
    logging.shutdown()
    sys.stdout.flush()
    return status


def _run(options: argparse.Namespace) -> int:
    from edgesmith_runtime.uplink.command import run_uplink  # noqa: PLC0415 - as above

    return run_uplink(settings_of(options))


def _place(text: str) -> tuple[str, str]:
    found = _PLACE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no place in a bucket; expected s3://BUCKET/PREFIX")
    return found[1], found[2].strip("/")


def _owner(text: str) -> str:
    if not _OWNER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no owner; expected NAMESPACE/MODEL")
    return text


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is below 1; expected a whole number from 1")
    return value
