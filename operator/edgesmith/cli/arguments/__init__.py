"""What can be typed: one module a command. Nothing that takes time is imported here, so that help comes at once."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgesmith.cli.arguments import archive, history, plan, profile, report, status, steer
from edgesmith.cli.arguments.shared import Parsers
from edgesmith.cli.arguments.version import Version


def parser() -> argparse.ArgumentParser:
    """The command line; `module` of what it finds is the command's, for `edgesmith.cli.command`."""
    called = Path(sys.argv[0]).name
    made = argparse.ArgumentParser(
        prog="kubectl edgesmith" if called.startswith("kubectl-") else "edgesmith",
        description="The right build of your model on every edge node, and proof of it.",
    )
    made.add_argument("--version", action=Version)
    commands: Parsers = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for one in (plan, status, report, history, steer, profile, archive):
        one.add_to(commands)
    return made
