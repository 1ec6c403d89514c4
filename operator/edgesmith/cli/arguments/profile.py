"""`edgesmith profile`: the catalogue of this release, which profile fits a device, and whether a profile is right."""

from __future__ import annotations

from pathlib import Path

from edgesmith.cli.arguments.shared import Parsers, asking, output

_LIST = "`edgesmith profile list`: the DeviceProfiles of this release, which need no cluster, or those in the cluster."
_DETECT = """\
`edgesmith profile detect`: which DeviceProfiles fit the device that this runs on, and why. It reads /proc and /sys,
needs neither root nor a cluster, and changes nothing. The exit status is 0 where a profile fits."""
_VALIDATE = """\
`edgesmith profile validate`: files of DeviceProfiles, held against all that can be known without a cluster. That is the
CRD's schema and its rules, the toolchain's own table of options and precisions, and the memory that the profile says.
One line a fault; the exit status is 1 where there is one."""


def add_to(commands: Parsers) -> None:
    """Declare the command, and what stands after it."""
    parser = commands.add_parser("profile", help="DeviceProfiles: list, detect, validate", description=__doc__)
    actions: Parsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_list(actions)
    _add_detect(actions)
    _add_validate(actions)


def _add_list(actions: Parsers) -> None:
    parser = actions.add_parser("list", parents=[asking()], help="list DeviceProfiles", description=_LIST)
    parser.set_defaults(module="profile.listing")
    parser.add_argument(
        "--cluster", action="store_true", help="those in the cluster, in place of the catalogue of this release"
    )


def _add_detect(actions: Parsers) -> None:
    parser = actions.add_parser(
        "detect", help="say which profile fits the device that this runs on", description=_DETECT
    )
    parser.set_defaults(module="profile.detect")
    parser.add_argument(
        "--root", type=Path, default=Path("/"), help="where the device's /proc and /sys are (default: %(default)s)"
    )
    parser.add_argument(
        "-f", "--file", action="append", default=[], help="DeviceProfiles of your own as YAML, besides the catalogue"
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "name", "json"),
        default="text",
        help="text for people, the best profile's name alone, or JSON",
    )


def _add_validate(actions: Parsers) -> None:
    parser = actions.add_parser(
        "validate", parents=[output()], help="check files of DeviceProfiles, without a cluster", description=_VALIDATE
    )
    parser.set_defaults(module="profile.validate")
    parser.add_argument("file", nargs="+", help="DeviceProfiles as YAML; - for standard input")
