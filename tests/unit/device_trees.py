"""The parts of /proc and /sys that tell a device, written for a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """A device; PCI as `VENDOR:DEVICE:CLASS`, USB as `VENDOR:PRODUCT`."""

    machine: str = "aarch64"
    compatible: Sequence[str] = ()
    model: str = ""
    pci: Sequence[str] = ()
    usb: Sequence[str] = ()
    features: str = "fp asimd"
    memory: int = 8_000_000
    """In kB, as /proc/meminfo has it."""

    def write(self, root: Path) -> Path:
        """The device's files under a root, which is returned."""
        _put(root / "proc/sys/kernel/arch", f"{self.machine}\n")
        _put(root / "proc/meminfo", f"MemTotal:       {self.memory} kB\nMemFree:        1 kB\n")
        key = "flags" if self.machine == "x86_64" else "Features"
        _put(root / "proc/cpuinfo", f"processor\t: 0\n{key}\t\t: {self.features}\n\nprocessor\t: 1\n{key}\t\t: fp\n")
        if self.compatible:
            _put(root / "sys/firmware/devicetree/base/compatible", "".join(f"{one}\0" for one in self.compatible))
            _put(root / "sys/firmware/devicetree/base/model", f"{self.model}\0")
        for number, said in enumerate(self.pci):
            for name, value in zip(("vendor", "device", "class"), said.split(":"), strict=True):
                _put(root / f"sys/bus/pci/devices/0000:00:{number:02x}.0/{name}", f"0x{value}\n")
        for number, said in enumerate(self.usb):
            for name, value in zip(("idVendor", "idProduct"), said.split(":"), strict=True):
                _put(root / f"sys/bus/usb/devices/1-{number}/{name}", f"{value}\n")
            _put(root / f"sys/bus/usb/devices/1-{number}:1.0/bInterfaceClass", "ff\n")
        return root


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


A53 = "fp asimd evtstrm crc32 cpuid"
A76 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
PC = "fpu sse sse2 ssse3 sse4_1 sse4_2 avx avx2"
BRIDGE = "8086:0d57:060000"

MACHINES = {
    "raspberry-pi-3": Machine(
        compatible=("raspberrypi,3-model-b-plus", "brcm,bcm2837"),
        model="Raspberry Pi 3 Model B Plus Rev 1.3",
        features=A53,
        memory=947_000,
    ),
    "raspberry-pi-4": Machine(
        compatible=("raspberrypi,4-model-b", "brcm,bcm2711"), features=A53, memory=3_884_000, pci=("1106:3483:0c0330",)
    ),
    "raspberry-pi-5": Machine(
        compatible=("raspberrypi,5-model-b", "brcm,bcm2712"),
        model="Raspberry Pi 5 Model B Rev 1.0",
        features=A76,
        pci=("14e4:2712:060400", "1de4:0001:020000"),
        usb=("1d6b:0002",),
    ),
    "jetson-nano": Machine(compatible=("nvidia,p3450-0000", "nvidia,tegra210"), features=A53, memory=4_051_000),
    "jetson-agx-xavier": Machine(
        compatible=("nvidia,p2972-0000", "nvidia,tegra194"), features=A76, memory=32_000_000, pci=("10de:1ad0:060400",)
    ),
    "jetson-orin-nano": Machine(compatible=("nvidia,p3768-0000+p3767-0005-super", "nvidia,tegra234"), features=A76),
    "jetson-orin-nx": Machine(compatible=("nvidia,p3768-0000+p3767-0000", "nvidia,tegra234"), features=A76),
    "qualcomm-rb3-gen2": Machine(compatible=("qcom,qcs6490-rb3gen2", "qcom,qcm6490"), features=A76),
    "coral-dev-board": Machine(
        compatible=("google,imx8mq-phanbell", "fsl,imx8mq"), features=A53, pci=("1ac1:089a:088000",)
    ),
    "coral-m2": Machine(machine="x86_64", features=PC, pci=(BRIDGE, "1ac1:089a:088000", "8086:5a85:030000")),
    "coral-usb": Machine(
        compatible=("raspberrypi,4-model-b", "brcm,bcm2711"), features=A53, usb=("1d6b:0003", "18d1:9302")
    ),
    "intel-gpu": Machine(machine="x86_64", features=PC, pci=(BRIDGE, "8086:5a85:030000")),
    "intel-npu": Machine(machine="x86_64", features=PC, pci=("8086:7d55:030000", "8086:7d1d:120000")),
    "nvidia-gpu": Machine(machine="x86_64", features=PC, pci=("8086:a780:030000", "10de:2684:030000")),
    "generic-amd64": Machine(machine="x86_64", features=PC, pci=(BRIDGE,)),
    "generic-arm64": Machine(features=A76),
}
"""A machine of each class of the catalogue that can be told, by the class."""
