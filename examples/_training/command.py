"""The command line that remakes an example."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def remake(name: str, folder: Path, *, write_sets: Callable[[Path], None], train: Callable[[Path], None]) -> None:
    """Write an example as the command line says.

    Args:
        name: What it is called.
        folder: Where it is written unless another place is asked for.
        write_sets: Writes the data sets into a folder.
        train: Teaches the models and writes them into a folder.
    """
    parser = argparse.ArgumentParser(description=f"Remakes the {name} example.")
    parser.add_argument("--out", type=Path, default=folder, help="the folder to write (default: the example's own)")
    parser.add_argument("--data-only", action="store_true", help="write the sets, leave the models alone")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_sets(arguments.out)
    if not arguments.data_only:
        train(arguments.out)
