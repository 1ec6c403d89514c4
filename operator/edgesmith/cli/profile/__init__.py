"""`edgesmith profile`: the catalogue of this release, which profile fits a device, and whether a profile is right."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.cli.answer import Answer
from edgesmith.cli.profile import detect, listing, validate
from edgesmith.cli.profile.catalogue import catalogue, profiles_of
from edgesmith.cli.profile.facts import read_facts
from edgesmith.cluster.client import Client
from edgesmith.cluster.connection import connect
from edgesmith.cluster.kinds import DEVICE_PROFILE
from edgesmith.cluster.parse import device_profile

_Parsers = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def add_to(commands: _Parsers[argparse.ArgumentParser], cluster: argparse.ArgumentParser) -> None:
    """Add `profile` and what stands after it.

    Args:
        commands: Of the program.
        cluster: The options of every command that asks a cluster.
    """
    parser = commands.add_parser("profile", help="DeviceProfiles: list, detect, validate", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    shown = actions.add_parser("list", parents=[cluster], help="list DeviceProfiles", description=listing.__doc__)
    shown.add_argument(
        "--cluster", action="store_true", help="those in the cluster, in place of the catalogue of this release"
    )

    found = actions.add_parser(
        "detect", help="say which profile fits the device that this runs on", description=detect.__doc__
    )
    found.add_argument(
        "--root", type=Path, default=Path("/"), help="where the device's /proc and /sys are (default: %(default)s)"
    )
    found.add_argument(
        "-f", "--file", action="append", default=[], help="DeviceProfiles of your own as YAML, besides the catalogue"
    )
    found.add_argument(
        "-o",
        "--output",
        choices=("text", "name", "json"),
        default="text",
        help="text for people, the best profile's name alone, or JSON",
    )

    checked = actions.add_parser(
        "validate", help="check files of DeviceProfiles, without a cluster", description=validate.__doc__
    )
    checked.add_argument("file", nargs="+", help="DeviceProfiles as YAML; - for standard input")
    checked.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text for people, or JSON")


def run(found: argparse.Namespace, patience: float) -> Answer:
    """Run one of them.

    Args:
        found: The command line.
        patience: Seconds for one call of a cluster.

    Raises:
        ClusterError: The cluster could not be asked.
        DocumentError: A file cannot be read.
        ValueError: `--root` is no folder.
    """
    if found.action == "validate":
        return validate.validate(found.file, found.output)
    if found.action == "detect":
        profiles = [*catalogue(), *(profile for file in found.file for profile in profiles_of(file))]
        return detect.detect(read_facts(found.root), profiles, found.output)
    if found.cluster:
        return asyncio.run(_of_cluster(found, patience))
    return listing.listing(catalogue(), (), found.output)


async def _of_cluster(found: argparse.Namespace, patience: float) -> Answer:
    connection = await connect(found.kubeconfig, found.context, outside=True)
    async with Client(connection, timeout=patience) as client:
        read = [device_profile(raw) async for raw in client.list(DEVICE_PROFILE)]
    profiles = [one for one in read if isinstance(one, DeviceProfile)]
    unread = [one.message for one in read if not isinstance(one, DeviceProfile)]
    return listing.listing(profiles, unread, found.output)
