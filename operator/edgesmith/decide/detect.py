"""Which DeviceProfiles fit a device, and why: what a profile's `spec.hardware.detect` asks, held against what was read.

Pure: a new device is a YAML file with its facts, and no code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgesmith.api.deviceprofile import DeviceProfile, PCIDevice, USBDevice

ARCHITECTURES: Mapping[str, str] = MappingProxyType({"x86_64": "amd64", "aarch64": "arm64"})
"""OCI's name of an architecture by the kernel's."""

ENOUGH_MEMORY = 0.75
"""Least share of a profile's memory that Linux must see: firmware and graphics take the rest."""

_OWN_ID, _BOARD, _CLASS, _FEATURES = 8, 4, 2, 1
"""What tells most about a device weighs more than all that tells less."""


@dataclass(frozen=True, slots=True)
class PCIFound:
    """A device at PCI; hex digits as sysfs has them, without 0x."""

    vendor: str
    device: str
    class_: str


@dataclass(frozen=True, slots=True)
class USBFound:
    """A device at USB; hex digits as sysfs has them."""

    vendor: str
    product: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read of a device; what could not be read is empty."""

    machine: str = ""
    """The kernel's name of the architecture: x86_64, say."""
    model: str = ""
    """What the device tree calls the board, for people."""
    compatible: tuple[str, ...] = ()
    pci: tuple[PCIFound, ...] = ()
    usb: tuple[USBFound, ...] = ()
    cpu_features: frozenset[str] = frozenset()
    memory: int | None = None
    """Bytes that Linux sees."""

    @property
    def architecture(self) -> str:
        """The architecture in OCI's words, or the kernel's where OCI's is not known."""
        return ARCHITECTURES.get(self.machine, self.machine)


@dataclass(frozen=True, slots=True)
class Fit:
    """A profile that fits a device."""

    profile: DeviceProfile
    reasons: tuple[str, ...]
    """What was found of what it asks for, a few words each."""
    weight: int
    """How much that tells: an accelerator by its own ID more than the board, the board more than a class of devices."""


def fitting(profiles: Iterable[DeviceProfile], facts: Facts) -> list[Fit]:
    """The profiles that fit, the one that tells most of the device first; of equals, the last in the alphabet."""
    fits = [found for profile in profiles if (found := fit(profile, facts)) is not None]
    return sorted(fits, key=lambda one: (one.weight, one.profile.metadata.name), reverse=True)


def fit(profile: DeviceProfile, facts: Facts) -> Fit | None:
    """Whether a profile fits: its architecture, and each list of its `detect`. None where not, or where it has none."""
    asked = profile.spec.hardware.detect
    if asked is None or profile.spec.platform.architecture != facts.architecture:
        return None
    reasons, weight = [f"the processor is {facts.architecture}"], 0
    if asked.device_tree:
        boards = [one for one in asked.device_tree if one in facts.compatible]
        if not boards:
            return None
        reasons.append(f"the device tree says {boards[0]}")
        weight += _BOARD
    if asked.pci:
        at_pci = [(one, at) for one in asked.pci for at in facts.pci if _is_pci(one, at)]
        if not at_pci:
            return None
        reasons.append(f"{at_pci[0][1].vendor}:{at_pci[0][1].device} is at PCI")
        weight += max(_OWN_ID if one.device else _CLASS for one, _ in at_pci)
    if asked.usb:
        at_usb = [at for one in asked.usb for at in facts.usb if _is_usb(one, at)]
        if not at_usb:
            return None
        reasons.append(f"{at_usb[0].vendor}:{at_usb[0].product} is at USB")
        weight += _OWN_ID
    if asked.cpu_features:
        if not facts.cpu_features.issuperset(asked.cpu_features):
            return None
        reasons.append(f"the processor has {', '.join(asked.cpu_features)}")
        weight += _FEATURES
    return Fit(profile, tuple(reasons), weight)


def short_of_memory(profile: DeviceProfile, facts: Facts) -> bool:
    """Whether the device has clearly less memory than the profile says; False where either is not known."""
    if profile.memory is None or facts.memory is None:
        return False
    return facts.memory < profile.memory * ENOUGH_MEMORY


def _is_pci(asked: PCIDevice, found: PCIFound) -> bool:
    return (
        asked.vendor == found.vendor
        and asked.device in (None, found.device)
        and found.class_.startswith(asked.class_ or "")
    )


def _is_usb(asked: USBDevice, found: USBFound) -> bool:
    return (asked.vendor, asked.product) == (found.vendor, found.product)
