"""`edgesmith archive`: models for a site that no line leads to, in one file, and out of it into the site's registry."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from edgesmith.cli.answer import Answer
from edgesmith.cli.archive import exporting, importing
from edgesmith.cli.archive.progress import Progress
from edgesmith.cluster.configuration import DEFAULT_NAMESPACE

_Parsers = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def add_to(commands: _Parsers[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    """Add `archive` and what stands after it.

    Args:
        commands: Of the program.
        common: The options of every command that asks a cluster for something in a namespace.
    """
    parser = commands.add_parser(
        "archive", help="models and all they need as one file, for sites without a link", description=__doc__
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    login = argparse.ArgumentParser(add_help=False)
    login.add_argument(
        "--registry-credentials",
        default=os.environ.get("EDGESMITH_REGISTRY_CREDENTIALS"),
        metavar="FILE",
        help="a .dockerconfigjson, where the registry asks for a login",
    )

    made = actions.add_parser("export", parents=[common, login], help="write an archive", description=exporting.__doc__)
    made.add_argument("name", nargs="*", help="EdgeModels; all of the namespace where absent")
    made.add_argument("-f", "--file", type=Path, required=True, metavar="ARCHIVE", help="the file to write")
    made.add_argument("-A", "--all-namespaces", action="store_true", help="EdgeModels of every namespace")
    made.add_argument(
        "--chart", type=Path, metavar="FOLDER", help="the chart's folder, to be taken along with its CRDs"
    )
    made.add_argument("--image", action="append", default=[], metavar="IMAGE", help="another image; may be repeated")
    made.add_argument(
        "--operator-namespace",
        default=os.environ.get("EDGESMITH_NAMESPACE") or DEFAULT_NAMESPACE,
        help="where the operator is installed (default: %(default)s)",
    )

    taken = actions.add_parser(
        "import", parents=[login], help="bring an archive into a registry", description=importing.__doc__
    )
    taken.add_argument("file", type=Path, metavar="ARCHIVE", help="the file")
    taken.add_argument(
        "--registry", required=True, metavar="HOST[/PREFIX]", help="where to; the archive's repositories come below it"
    )
    taken.add_argument("--plain-http", action="store_true", help="speak HTTP to it")
    taken.add_argument("--registry-ca", type=Path, metavar="FILE", help="authorities to trust for it, in PEM")
    taken.add_argument(
        "--images-folder",
        type=Path,
        metavar="FOLDER",
        help="write the images that pods run into K3s' images folder, in place of pushing to the registry",
    )
    taken.add_argument("--manifests", type=Path, metavar="FILE", help="write the EdgeModels and DeviceProfiles as YAML")
    taken.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text for people, or JSON")


def run(found: argparse.Namespace, patience: float) -> Answer:
    """Run one of them.

    Args:
        found: The command line.
        patience: Seconds for one call of a cluster.

    Raises:
        ArchiveError: The archive cannot be made, or is not to be trusted.
        ClusterError: The cluster could not be asked.
        RegistryError: A registry could not be asked, or refused something.
        OSError: A file cannot be read or written.
    """
    if found.action == "export":
        return Answer(asyncio.run(exporting.run(found, patience, Progress())))
    return Answer(asyncio.run(importing.run(found, Progress())))
