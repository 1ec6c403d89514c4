"""`edgesmith --version`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


class Version(argparse.Action):
    """Prints the version and ends; argparse's own wants to know it before it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print it."""
        print(f"edgesmith {_version()}")
        parser.exit()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - no other command needs it

    try:
        return version("edgesmith")
    except PackageNotFoundError:  # an image holds the sources and no package
        return "in an image, which its tag names"
