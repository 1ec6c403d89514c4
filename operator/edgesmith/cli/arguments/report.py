"""`edgesmith report`: what was measured of an EdgeModel's candidates, as a table and as a picture."""

from __future__ import annotations

from edgesmith.cli.arguments.shared import Parsers, common


def add_to(commands: Parsers) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "report",
        parents=[common()],
        help="show what builds and devices measured of each candidate",
        description=__doc__,
    )
    parser.set_defaults(module="report")
    parser.add_argument("name", help="an EdgeModel")
    parser.add_argument("--png", metavar="FILE", help="write score against latency as PNG; needs Pillow")
    parser.add_argument("--html", metavar="FILE", help="write the picture and the table as one HTML file")
