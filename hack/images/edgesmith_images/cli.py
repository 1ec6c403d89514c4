"""The command line: ``python3 hack/images build|push|size|extract|emulate``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from . import build, debian, emulate, size
from .console import ImageError
from .extract import extract
from .layout import Layout
from .lock import locked
from .paths import Cache, project_version
from .push import push_all
from .recipes import ARCHITECTURES, own_platform, recipes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 hack/images", description="The project's container images.")
    common = argparse.ArgumentParser(add_help=False)
    names = tuple(recipes())
    common.add_argument(
        "--only",
        action="append",
        choices=names,
        metavar="NAME",
        help=f"one of {', '.join(names)}; may be repeated; without it, all but triton and qnn's",
    )
    common.add_argument(
        "--platform",
        action="append",
        choices=tuple(ARCHITECTURES),
        metavar="OS/ARCH",
        help="instead of each image's own platforms; may be repeated",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    one = verbs.add_parser(
        "build", parents=[common], help="build what is not in the cache; prints the layouts' folders as JSON"
    )
    one.add_argument("--refresh", action="store_true", help="ask Debian again for the bases and their security updates")
    two = verbs.add_parser(
        "push",
        parents=[common],
        help="build, then push; prints the references by digest as JSON",
        epilog="Where the registry asks for a login, EDGESMITH_REGISTRY_CREDENTIALS names a file as Docker writes it, "
        "~/.docker/config.json say.",
    )
    two.add_argument(
        "registry",
        metavar="REGISTRY",
        help="HOST:PORT, with http:// or https:// before it; without, plain HTTP for a private address, else TLS",
    )
    weigh = verbs.add_parser("size", parents=[common], help="build, then print each layer's compressed size")
    weigh.add_argument("--json", action="store_true", help="print each image's bytes by platform instead")
    three = verbs.add_parser("extract", help="build, then unpack an image's root file system")
    three.add_argument("name", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    three.add_argument("--platform", choices=tuple(ARCHITECTURES), metavar="OS/ARCH", default=own_platform())
    three.add_argument("folder", type=Path, metavar="DIR", help="an empty or absent folder")
    four = verbs.add_parser(
        "emulate", help="run an arm64 image's program on another machine, unpacking it first where DIR is empty"
    )
    four.add_argument("name", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    four.add_argument("folder", type=Path, metavar="DIR", help="the unpacked image, or an empty or absent folder")
    four.add_argument("arguments", nargs="*", metavar="ARG", help="after --: instead of the image's own arguments")
    return parser


def _layouts(names: list[str] | None, platforms: list[str] | None, cache: Cache, *, refresh: bool) -> dict[str, Layout]:
    chosen = [recipe for recipe in recipes().values() if (recipe.name in names if names else not recipe.asked)]
    wanted = tuple(one for one in ARCHITECTURES if one in platforms) if platforms else None
    return build.ensure_all(chosen, wanted, cache, refresh=refresh)


def _extract(name: str, platform: str, folder: Path, cache: Cache) -> Layout:
    """Unpacks out of the image's usual layout where that holds the platform, so that nothing is built twice."""
    usual = recipes()[name].platforms
    layout = _layouts([name], None if platform in usual else [platform], cache, refresh=False)[name]
    if not folder.exists() or not any(folder.iterdir()):
        extract(layout, platform, folder)
        if platform == emulate.PLATFORM != own_platform():
            emulate.describe_processor(folder)
    return layout


def _emulate(name: str, folder: Path, arguments: list[str], cache: Cache) -> None:
    debian.ensure(emulate.PACKAGES)
    layout = _extract(name, emulate.PLATFORM, folder, cache)
    emulate.become(emulate.image_command(layout, folder.resolve(), arguments))


def _run(options: argparse.Namespace) -> None:
    cache = Cache.of_environment()
    # The lock is held to the end: another run's clean-up must not take a layout that is being read.
    with locked(cache.lock):
        if options.verb == "extract":
            if options.folder.exists() and any(options.folder.iterdir()):
                raise ImageError(f"{options.folder} is not empty; name a folder that does not exist yet.")
            _extract(options.name, options.platform, options.folder, cache)
            return
        if options.verb == "emulate":
            _emulate(options.name, options.folder, options.arguments, cache)
        refresh = options.verb == "build" and options.refresh
        layouts = _layouts(options.only, options.platform, cache, refresh=refresh)
        if options.verb == "push":
            print(json.dumps(push_all(options.registry, layouts, project_version()), indent=2))
        elif options.verb == "size":
            print(json.dumps(size.totals(layouts), indent=2) if options.json else size.table(layouts))
        else:
            print(json.dumps({name: str(layout.folder) for name, layout in layouts.items()}, indent=2))


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb.

    Args:
        arguments: The command line without the program's name; the process's own when absent.

    Returns:
        The exit status: 0, 1 for what a person can fix, 130 when interrupted.
    """
    try:
        _run(_parser().parse_args(arguments))
    except ImageError as error:
        print(f"hack/images: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
