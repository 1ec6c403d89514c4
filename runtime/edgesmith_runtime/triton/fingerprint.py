"""What compiled engines depend on beside the model: the GPU, its driver and TensorRT.

NVIDIA: "engines ... are not portable across TensorRT versions or GPUs" by themselves
(https://docs.nvidia.com/deeplearning/tensorrt, "Compatibility").
"""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Fingerprint", "read_fingerprint"]

_DRIVER: Final = re.compile(r"Kernel Module[^\d]*(?:x86_64|aarch64)?[^\d]*(\d+(?:\.\d+)+)")
_TEGRA: Final = re.compile(r"R(\d+) \(release\), REVISION: ([\d.]+)")
_KERNEL: Final = re.compile(r"(\S+-tegra)")
_TENSORRT: Final = re.compile(r"libnvinfer\.so\.(\d+\.\d+\.\d+)")
_FOLDERS: Final = ("usr/lib/aarch64-linux-gnu", "usr/lib/x86_64-linux-gnu", "usr/local/tensorrt/lib")
_CAPABILITY: Final = (75, 76)
"""Attributes of a device: its compute capability, major and minor (CUDA driver API, ``CUdevice_attribute``)."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A device, as its compiled engines depend on it. What cannot be found is empty.

    Attributes:
        tensorrt: TensorRT's version in the image, ``10.13.0`` for example.
        compute_capability: The GPU's, ``8.7`` for example.
        driver: The version of NVIDIA's kernel module.
        jetpack: The release of Jetson Linux, ``36.4.3`` for example (JetPack 6), or where the container does not see
            that, the release of its kernel, ``5.15.148-tegra``.
    """

    tensorrt: str = ""
    compute_capability: str = ""
    driver: str = ""
    jetpack: str = ""

    @property
    def key(self) -> str:
        """A folder's name for engines of this TensorRT on such a GPU."""
        return f"tensorrt-{self.tensorrt or 'unknown'}-sm{self.compute_capability.replace('.', '') or 'unknown'}"

    def facts(self) -> dict[str, str]:
        """What is known, by its name in a termination message."""
        return {_NAMES[name]: value for name, value in asdict(self).items() if value}

    def changes(self, before: Fingerprint) -> list[str]:
        """Say what is another than before, each as ``TensorRT was A and is B``."""
        now, then = asdict(self), asdict(before)
        return [
            f"{_WORDS[name]} was {then[name] or 'unknown'} and is {now[name] or 'unknown'}"
            for name in now
            if now[name] != then[name]
        ]


_NAMES: Final = {
    "tensorrt": "tensorrt",
    "compute_capability": "computeCapability",
    "driver": "driver",
    "jetpack": "jetpack",
}
_WORDS: Final = {
    "tensorrt": "TensorRT",
    "compute_capability": "the compute capability",
    "driver": "the driver",
    "jetpack": "Jetson Linux",
}


def read_fingerprint(root: Path = Path("/"), cuda: str = "libcuda.so.1") -> Fingerprint:
    """Ask this device.

    Args:
        root: Where its file system begins.
        cuda: The library of the CUDA driver.
    """
    return Fingerprint(
        tensorrt=_tensorrt(_folders(root)),
        compute_capability=_compute_capability(cuda),
        driver=_found(_DRIVER, root / "proc/driver/nvidia/version"),
        jetpack=_found(_TEGRA, root / "etc/nv_tegra_release") or _found(_KERNEL, root / "proc/sys/kernel/osrelease"),
    )


def _folders(root: Path) -> Iterable[Path]:
    named = [Path(part) for part in os.environ.get("LD_LIBRARY_PATH", "").split(":") if part]
    return (*named, *(root / folder for folder in _FOLDERS))


def _tensorrt(folders: Iterable[Path]) -> str:
    """The library says its version in its file's name; to load it takes a second and hundreds of megabytes."""
    for folder in folders:
        for file in sorted(folder.glob("libnvinfer.so.*")):
            if match := _TENSORRT.fullmatch(file.name):
                return match[1]
    return ""


def _found(pattern: re.Pattern[str], file: Path) -> str:
    try:
        match = pattern.search(file.read_text(errors="replace"))
    except OSError:
        return ""
    return ".".join(match.groups()) if match else ""


def _compute_capability(library: str) -> str:
    """Ask the CUDA driver of its first device; every function of it answers 0 where it worked."""
    try:
        cuda: Any = ctypes.CDLL(library)
    except OSError:
        return ""
    device = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0):
        return ""
    numbers = []
    for attribute in _CAPABILITY:
        number = ctypes.c_int()
        if cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device):
            return ""
        numbers.append(str(number.value))
    return ".".join(numbers)
