"""`edgesmith status`: EdgeModels, and of one its builds, revisions and nodes, each with its reason."""

from __future__ import annotations

from edgesmith.cli.arguments.shared import Parsers, common, operator


def add_to(commands: Parsers) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "status",
        parents=[common(), operator()],
        help="show EdgeModels, or one with all about it",
        description=__doc__,
    )
    parser.set_defaults(module="status")
    parser.add_argument("name", nargs="?", help="an EdgeModel; all of the namespace where absent")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="in every namespace")
    parser.add_argument("-w", "--watch", action="store_true", help="show it again whenever it changes")
