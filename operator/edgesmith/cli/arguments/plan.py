"""`edgesmith plan`: what applying a file would do, and why. Nothing is written."""

from __future__ import annotations

from edgesmith.cli.arguments.shared import Parsers, common, login, operator


def add_to(commands: Parsers) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "plan",
        parents=[common(), operator(), login()],
        help="say what applying a file would do, and why",
        description=__doc__,
    )
    parser.set_defaults(module="plan")
    parser.add_argument(
        "-f", "--file", required=True, help="EdgeModels and DeviceProfiles as YAML; - for standard input"
    )
