"""`edgesmith promote`: of an EdgeModel in a cluster or, with `--ring`, of a ring's files."""

from __future__ import annotations

import argparse

from edgesmith.cli.answer import Answer
from edgesmith.cli.command import command_of


def run(found: argparse.Namespace) -> Answer:
    """Carry out the command.

    Raises:
        ValueError: There is nothing to promote, or options of both are given.
        ClusterError: The cluster could not be asked.
    """
    if found.name and found.to and not found.ring:
        raise ValueError("--to names a ring; leave it out to promote an EdgeModel in a cluster")
    return command_of("rings" if found.ring or not found.name else "steer").run(found)
