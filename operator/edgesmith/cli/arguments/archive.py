"""`edgesmith archive`: models for a site without a connection, as one file, and from it into the site's registry."""

from __future__ import annotations

from pathlib import Path

from edgesmith.cli.arguments.shared import Parsers, common, login, operator, output

_EXPORT = """\
Write what a site without a connection needs: models' images with signatures, bills and provenance, runtimes, and the
operator."""
_IMPORT = """\
Bring an archive into a site's registry, or its images into K3s' images folder; every digest is checked first."""


def add_to(commands: Parsers) -> None:
    """Declare the command, and what stands after it."""
    parser = commands.add_parser(
        "archive", help="models and all they need as one file, for sites without a connection", description=__doc__
    )
    actions: Parsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_export(actions)
    _add_import(actions)


def _add_export(actions: Parsers) -> None:
    parser = actions.add_parser(
        "export", parents=[common(), operator(), login()], help="write an archive", description=_EXPORT
    )
    parser.set_defaults(module="archive.exporting")
    parser.add_argument("name", nargs="*", help="EdgeModels; all of the namespace where absent")
    parser.add_argument("-f", "--file", type=Path, required=True, metavar="ARCHIVE", help="the file to write")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="EdgeModels of every namespace")
    parser.add_argument(
        "--chart", type=Path, metavar="FOLDER", help="the chart's folder, to be taken along with its CRDs"
    )
    parser.add_argument("--image", action="append", default=[], metavar="IMAGE", help="another image; may be repeated")


def _add_import(actions: Parsers) -> None:
    parser = actions.add_parser(
        "import", parents=[login(), output()], help="bring an archive into a registry", description=_IMPORT
    )
    parser.set_defaults(module="archive.importing")
    parser.add_argument("file", type=Path, metavar="ARCHIVE", help="the file")
    parser.add_argument(
        "--registry", required=True, metavar="HOST[/PREFIX]", help="where to; the archive's repositories come below it"
    )
    parser.add_argument("--plain-http", action="store_true", help="speak HTTP to it")
    parser.add_argument("--registry-ca", type=Path, metavar="FILE", help="authorities to trust for it, in PEM")
    parser.add_argument(
        "--images-folder",
        type=Path,
        metavar="FOLDER",
        help="write the images that pods run into K3s' images folder, in place of pushing to the registry",
    )
    parser.add_argument(
        "--manifests", type=Path, metavar="FILE", help="write the EdgeModels and DeviceProfiles as YAML"
    )
