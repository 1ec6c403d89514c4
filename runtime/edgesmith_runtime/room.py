"""``room``: whether a node's disk has room for images that its kubelet is to pull next.

It runs from the base image alone, so it is there before they are. What a container sees of its root is an overlay,
whose free bytes are those of the file system that containerd keeps images on.

Only the standard library is imported: it runs on small devices, before anything else does.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from edgesmith_runtime.parsing import Parser

__all__ = ["DISK_FULL", "HELP", "add_room", "main", "room"]

HELP = "end with 0 where the disk has room for images, else say what is free as termination message and end with 1"
DISK_FULL = "DiskFull"
"""The reason."""

_KEPT = 0.05
"""The share of the disk that stays free: below that the kubelet of K3s deletes images and evicts pods."""
_MIB = 1 << 20


def main(arguments: list[str]) -> int:
    """Run the command without the others, which take more memory; see `room`."""
    parser = Parser(prog="edgesmith_runtime room", description=HELP)
    add_room(parser)
    return room(parser.parse_args(arguments))


def add_room(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.set_defaults(run=room)
    parser.add_argument("--bytes", type=int, required=True, help="what they add on the disk")
    parser.add_argument("--path", type=Path, default=Path("/"), help="a folder on the disk (default: %(default)s)")
    parser.add_argument("--found", type=Path, default=None, help="a file that says that there was room, for later runs")
    parser.add_argument("--termination-log", type=Path, default=Path("/dev/termination-log"), help="for the kubelet")


def room(options: argparse.Namespace) -> int:
    """Look once.

    Args:
        options: As `add_room` has them.

    Returns:
        0: there is room, or there was in an earlier run, after which the image may be there. 1: there is none.
    """
    if options.found is not None and options.found.exists():
        return 0
    disk = os.statvfs(options.path)
    free, kept = disk.f_bavail * disk.f_frsize, int(disk.f_blocks * disk.f_frsize * _KEPT)
    if free >= options.bytes + kept:
        if options.found is not None:
            options.found.touch()
        return 0
    sentence = (
        f"its disk has {free // _MIB} MiB free, and {-(-(options.bytes + kept) // _MIB)} MiB are needed: "
        f"{-(-options.bytes // _MIB)} for what is pulled, and {kept // _MIB} that stay free"
    )
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()
    text = json.dumps({"message": sentence, "reason": DISK_FULL, "verdict": "Failed"}, sort_keys=True)
    options.termination_log.write_bytes(text.encode() + b"\n")
    return 1
