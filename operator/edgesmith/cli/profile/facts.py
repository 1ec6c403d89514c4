"""What can be read of the device that this runs on, as any user: /proc and /sys, or where they are mounted."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, field
from pathlib import Path

from edgesmith.decide.detect import Facts, PCIFound, USBFound

_DEVICE_TREES = ("sys/firmware/devicetree/base", "proc/device-tree")


@dataclass(frozen=True, slots=True)
class Device:
    """A device as it was read."""

    facts: Facts
    unread: tuple[str, ...] = ()
    """What could not be read: `PATH: REASON`."""


def read_facts(root: Path) -> Device:
    """Read a device. What cannot be read is named, and nothing else stops.

    Args:
        root: The folder with the device's `proc` and `sys`.

    Raises:
        ValueError: The root is no folder.
    """
    if not root.is_dir():
        raise ValueError(f"--root is {str(root)!r}; a folder with the device's proc and sys was expected")
    reader = _Reader(root)
    compatible, model = reader.device_tree()
    facts = Facts(
        # The kernel is the same in a container; before Linux 6.1 it has no such file.
        machine=reader.text("proc/sys/kernel/arch", optional=True) or platform.machine(),
        model=model,
        compatible=compatible,
        pci=reader.pci(),
        usb=reader.usb(),
        cpu_features=reader.cpu_features(),
        memory=reader.memory(),
    )
    return Device(facts, tuple(reader.unread))


@dataclass(slots=True)
class _Reader:
    root: Path
    unread: list[str] = field(default_factory=list)

    def text(self, name: str, *, optional: bool = False) -> str:
        """A file's text without white space around it; empty where it cannot be read."""
        path = self.root / name
        try:
            return path.read_bytes().decode(errors="replace").strip()
        except OSError as error:
            if not (optional and isinstance(error, FileNotFoundError | NotADirectoryError)):
                self.unread.append(f"{path}: {error.strerror}")
            return ""

    def members(self, name: str) -> list[str]:
        """The names below a folder, relative to the root; none where it is not there."""
        path = self.root / name
        try:
            return [f"{name}/{entry.name}" for entry in sorted(path.iterdir())]
        except FileNotFoundError:
            return []
        except OSError as error:
            self.unread.append(f"{path}: {error.strerror}")
            return []

    def device_tree(self) -> tuple[tuple[str, ...], str]:
        """The device tree's `compatible` and `model`; empty on machines without one."""
        for folder in _DEVICE_TREES:
            found = self.text(f"{folder}/compatible", optional=True)
            if found:
                model = self.text(f"{folder}/model", optional=True)
                return tuple(filter(None, found.split("\0"))), model.rstrip("\0")
        return (), ""

    def pci(self) -> tuple[PCIFound, ...]:
        found = []
        for entry in self.members("sys/bus/pci/devices"):
            said = [self.text(f"{entry}/{name}").removeprefix("0x") for name in ("vendor", "device", "class")]
            if all(said):
                found.append(PCIFound(*said))
        return tuple(found)

    def usb(self) -> tuple[USBFound, ...]:
        """Devices; entries without IDs are their interfaces."""
        found = []
        for entry in self.members("sys/bus/usb/devices"):
            said = [self.text(f"{entry}/{name}", optional=True) for name in ("idVendor", "idProduct")]
            if all(said):
                found.append(USBFound(*said))
        return tuple(found)

    def cpu_features(self) -> frozenset[str]:
        """Of the first processor: Linux names there what all of them have."""
        for line in self.text("proc/cpuinfo").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in {"flags", "Features"}:
                return frozenset(value.split())
        return frozenset()

    def memory(self) -> int | None:
        found = re.search(r"^MemTotal:\s+([0-9]+) kB$", self.text("proc/meminfo"), re.MULTILINE)
        return int(found[1]) * 1024 if found else None
