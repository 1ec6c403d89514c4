"""`edgesmith history`: the last revisions of an EdgeModel, why they came, who changed what, and how they ended."""

from __future__ import annotations

from edgesmith.cli.arguments.shared import Parsers, common


def add_to(commands: Parsers) -> None:
    """Declare the command."""
    parser = commands.add_parser("history", parents=[common()], help="show the last revisions", description=__doc__)
    parser.set_defaults(module="history")
    parser.add_argument("name", help="an EdgeModel")
