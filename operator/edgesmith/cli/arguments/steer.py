"""`edgesmith pause`, `resume`, `promote` and `rollback`: edits of `spec.rollout`, and of a ring's files."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgesmith.cli.arguments.shared import Parsers, common

_RINGS = """\
What one ring of a git repository runs is given to the next one: files alone, without a cluster or a commit. A ring is
a directory of manifests. EdgeModels take everything from the ring before but spec.nodeSelector and spec.rollout, which
stay the ring's own; other manifests are taken as they are."""


def add_to(commands: Parsers) -> None:
    """Declare the commands."""
    _add(commands, "pause", "move no node forward until it is resumed")
    _add(commands, "resume", "go on with a rollout that was paused")
    promote = _add(commands, "promote", "end the bake of the present step, or give what a ring runs to the next one")
    promote.set_defaults(module="promote")
    promote.add_argument("--all-steps", action="store_true", help="end the bakes of all its steps")
    _add_rings(promote)
    rollback = _add(commands, "rollback", "go back to an earlier revision, at once")
    rollback.add_argument("--to", metavar="REVISION", help="the one that held its steps last before, where absent")
    for parser in (promote, rollback):
        parser.add_argument("--profile", help="one DeviceProfile; every one where absent")


def _add(commands: Parsers, word: str, said: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(word, parents=[common()], help=said, description=said)
    parser.set_defaults(module="steer")
    parser.add_argument("name", nargs="?" if word == "promote" else None, help="an EdgeModel")
    parser.add_argument("--dry-run", action="store_true", help="print the edit and write nothing")
    return parser


def _add_rings(promote: argparse.ArgumentParser) -> None:
    rings = promote.add_argument_group("a ring of a git repository", description=_RINGS)
    rings.add_argument("--ring", metavar="NAME", help="the ring that has proven it")
    rings.add_argument("--to", metavar="NAME", help="the ring that is to run it")
    rings.add_argument("--directory", type=Path, default=Path("rings"), help="of all rings (default: %(default)s)")
