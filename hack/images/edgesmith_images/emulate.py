"""Runs an unpacked arm64 image on another machine with QEMU's user-mode emulation, without root and without binfmt."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from .console import ImageError
from .layout import Layout

PLATFORM = "linux/arm64"
PROGRAM = "qemu-aarch64-static"
PACKAGES = ("qemu-user-static",)

PROCESSOR = "cortex-a72"
"""The cores of a Raspberry Pi 4, by QEMU's name."""

# QEMU 7.2 shows a program the host's /proc/cpuinfo, which is of another architecture, and ONNX Runtime's processor
# detection ends in a segmentation fault. QEMU looks a path up below the -L folder first: what lies there is seen.
# Part 0xd08 of implementer 0x41 is Arm's Cortex-A72 (its MIDR_EL1).
_CORE = (
    "processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n"
    "CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
)
CORES = 2

# OpenVINO's code generator reads the register itself from there, and ends in a segmentation fault where it is not.
_MIDR = "0x00000000410fd083\n"


def describe_processor(root: Path) -> None:
    """Writes what the kernel of such a machine would show of its processor.

    Args:
        root: The image's unpacked root.
    """
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/cpuinfo").write_text("".join(_CORE.format(number=number) for number in range(CORES)))
    folder = root / "sys/devices/system/cpu"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("online", "possible", "present"):
        (folder / name).write_text(f"0-{CORES - 1}\n")
    for number in range(CORES):
        register = folder / f"cpu{number}/regs/identification/midr_el1"
        register.parent.mkdir(parents=True, exist_ok=True)
        register.write_text(_MIDR)


def command(root: Path, config: dict[str, Any], arguments: list[str]) -> list[str]:
    """Writes the command line that runs an image's program.

    Args:
        root: The image's unpacked root.
        config: The image's ``config`` (entry point, environment, default arguments).
        arguments: Instead of the default ones, when there are any.

    Returns:
        A command for this machine. Absolute paths in it mean the image's files where it has them, else the host's.

    Raises:
        ImageError: The image has no entry point.
    """
    entry = config.get("Entrypoint")
    if not entry:
        raise ImageError("The image has no entry point to emulate.")
    environment = [part for value in config.get("Env", []) for part in ("-E", value)]
    program = str(root / entry[0].lstrip("/"))
    rest = arguments or config.get("Cmd", [])
    return [PROGRAM, "-cpu", PROCESSOR, "-L", str(root), *environment, program, *entry[1:], *rest]


def image_command(layout: Layout, root: Path, arguments: list[str]) -> list[str]:
    """Writes the command line for an image in a layout.

    Args:
        layout: Where the image is.
        root: Its unpacked arm64 root.
        arguments: Instead of its default ones, when there are any.

    Returns:
        A command for this machine.
    """
    manifest = layout.manifests()[PLATFORM]
    return command(root, layout.read(manifest["config"]["digest"])["config"], arguments)


def become(words: list[str]) -> None:
    """Replaces this process by the emulated program.

    Args:
        words: The command.

    Raises:
        ImageError: QEMU is not there.
    """
    program = shutil.which(words[0])
    if program is None:
        raise ImageError(f"{words[0]} was not found: install the Debian package {PACKAGES[0]}.")
    os.execv(program, words)  # noqa: S606 - the command is an image of ours, and no shell is wanted
