"""Which profile fits a device: the facts that are read, what each profile asks, and what a person is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from device_trees import A53, A76, BRIDGE, MACHINES, PC, Machine

from edgesmith.api import go_yaml
from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.cli import main
from edgesmith.cli.profile.catalogue import catalogue
from edgesmith.cli.profile.facts import read_facts
from edgesmith.decide.detect import Facts, PCIFound, USBFound, fit, fitting

CANNOT_BE_TOLD = {"aws-deeplens", "litert-amd64", "litert-arm64", "vision-ai-devkit"}


def of(spec: dict[str, object], architecture: str = "arm64") -> DeviceProfile:
    return DeviceProfile.model_validate(
        {
            "metadata": {"name": "mine"},
            "spec": {
                "nodeSelector": {"edgesmith.dev/device": "mine"},
                "platform": {"architecture": architecture},
                "hardware": spec,
            },
        }
    )


def detect(root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = main(["profile", "detect", "--root", str(root), *words])
    return status, capsys.readouterr().out


def test_the_catalogue_has_a_machine_for_each_class_that_can_be_told() -> None:
    told = {one.metadata.name for one in catalogue() if one.spec.hardware.detect is not None}
    assert told == set(MACHINES)
    assert {one.metadata.name for one in catalogue()} - told == CANNOT_BE_TOLD


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_a_device_is_told_from_its_files(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert detect(MACHINES[name].write(tmp_path), capsys, "-o", "name") == (0, f"{name}\n")


@pytest.mark.parametrize(
    ("profile", "compatible"),
    [
        (one.metadata.name, board)
        for one in catalogue()
        if one.spec.hardware.detect
        for board in one.spec.hardware.detect.device_tree
    ],
)
def test_every_board_of_a_profile_is_told(profile: str, compatible: str) -> None:
    found = fitting(catalogue(), Facts("aarch64", compatible=(compatible,), pci=(PCIFound("1ac1", "089a", "088000"),)))
    assert found[0].profile.metadata.name == profile


@pytest.mark.parametrize("usb", [("1a6e", "089a"), ("18d1", "9302")])
def test_a_coral_stick_is_told_before_and_after_its_first_use(usb: tuple[str, str]) -> None:
    found = fitting(catalogue(), Facts("aarch64", usb=(USBFound(*usb),)))
    assert [one.profile.metadata.name for one in found] == ["coral-usb"]


@pytest.mark.parametrize("device", ["7d1d", "ad1d", "643e", "b03e", "fd3e", "d71d"])
def test_every_npu_of_intel_is_told(device: str) -> None:
    found = fitting(catalogue(), Facts("x86_64", pci=(PCIFound("8086", device, "120000"),)))
    assert [one.profile.metadata.name for one in found] == ["intel-npu", "generic-amd64"]


@pytest.mark.parametrize(
    ("machine", "fits"),
    [
        pytest.param(Machine(features=A53), [], id="an Arm without dot product"),
        pytest.param(Machine("x86_64", features=PC, pci=("10de:0fb9:040300",)), ["generic-amd64"], id="NVIDIA's sound"),
        pytest.param(
            Machine(features=A76, pci=("10de:1ad0:060400",)), ["generic-arm64"], id="a bridge of NVIDIA's on Arm"
        ),
        pytest.param(Machine("x86_64", usb=("18d1:4ee7",)), ["generic-amd64"], id="a phone of Google's"),
        pytest.param(Machine(features=A53, usb=("1a6e:9302",)), [], id="half of an ID"),
        pytest.param(Machine(pci=("1ac1:089a:088000",)), [], id="an M.2 card in an Arm host"),
        pytest.param(Machine(compatible=("google,imx8mq-phanbell",)), [], id="a dev board without its Edge TPU"),
        pytest.param(Machine("armv7l", compatible=("raspberrypi,4-model-b",)), [], id="a 32-bit system"),
        pytest.param(Machine(compatible=("nvidia,p3768-0000+p3767-0004",)), [], id="the Orin Nano of 4 GB"),
        pytest.param(Machine("riscv64"), [], id="another architecture"),
        pytest.param(
            Machine("x86_64", pci=("8086:7d55:030000", "8086:7d1d:120000", "10de:2684:030000")),
            ["intel-npu", "nvidia-gpu", "intel-gpu", "generic-amd64"],
            id="a PC with all of it",
        ),
        pytest.param(
            Machine(compatible=("raspberrypi,5-model-b",), features=A76, usb=("1a6e:089a",)),
            ["coral-usb", "raspberry-pi-5", "generic-arm64"],
            id="a stick at a Raspberry Pi",
        ),
    ],
)
def test_what_fits_and_in_which_order(machine: Machine, fits: list[str], tmp_path: Path) -> None:
    device = read_facts(machine.write(tmp_path))
    assert device.unread == ()
    assert [one.profile.metadata.name for one in fitting(catalogue(), device.facts)] == fits


@pytest.mark.parametrize(
    ("asked", "facts", "fits"),
    [
        pytest.param(None, Facts("aarch64"), False, id="nothing said"),
        pytest.param({}, Facts("aarch64"), True, id="the architecture alone"),
        pytest.param({}, Facts("x86_64"), False, id="another architecture"),
        pytest.param(
            {"deviceTree": ["a,b", "a,c"]}, Facts("aarch64", compatible=("a,c", "a,soc")), True, id="one of two boards"
        ),
        pytest.param({"deviceTree": ["a,b"]}, Facts("aarch64", compatible=("a,b-plus",)), False, id="not its begin"),
        pytest.param(
            {"pci": [{"vendor": "10de", "class": "03"}]},
            Facts("aarch64", pci=(PCIFound("10de", "0001", "030200"),)),
            True,
            id="a class",
        ),
        pytest.param(
            {"pci": [{"vendor": "10de", "device": "0001", "class": "02"}]},
            Facts("aarch64", pci=(PCIFound("10de", "0001", "030200"), PCIFound("10de", "0002", "020000"))),
            False,
            id="all of one device",
        ),
        pytest.param(
            {"cpuFeatures": ["asimddp", "sve"]},
            Facts("aarch64", cpu_features=frozenset({"asimddp"})),
            False,
            id="every feature",
        ),
        pytest.param(
            {"deviceTree": ["a,b"], "usb": [{"vendor": "0001", "product": "0002"}]},
            Facts("aarch64", compatible=("a,b",)),
            False,
            id="every list",
        ),
    ],
)
def test_every_list_must_be_met(asked: dict[str, object] | None, facts: Facts, *, fits: bool) -> None:
    assert (fit(of({} if asked is None else {"detect": asked}), facts) is not None) == fits


def test_what_a_person_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = detect(MACHINES["raspberry-pi-5"].write(tmp_path), capsys)
    assert status == 0
    assert "  architecture  arm64\n" in said
    assert "  board         Raspberry Pi 5 Model B Rev 1.0 (raspberrypi,5-model-b, brcm,bcm2712)\n" in said
    assert "  memory        8.2 GB\n" in said
    assert "  PCI           14e4:2712[060400], 1de4:0001[020000]\n" in said
    assert "  USB           1d6b:0002\n" in said
    assert "asimddp" in said
    assert "raspberry-pi-5: the processor is arm64; the device tree says raspberrypi,5-model-b\n" in said
    assert "generic-arm64: the processor is arm64; the processor has asimddp\n" in said
    assert said.index("  raspberry-pi-5:") < said.index("  generic-arm64:")
    assert said.endswith("\nkubectl label node NODE edgesmith.dev/device=raspberry-pi-5\n")
    assert "note:" not in said


def test_a_jetson_nano_is_told_what_works_there_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = detect(MACHINES["jetson-nano"].write(tmp_path), capsys)
    assert status == 0
    assert "  jetson-nano: the processor is arm64; the device tree says nvidia,p3450-0000\n    note: NVIDIA has" in said
    words = " ".join(said.split())
    for why in ("JetPack 4.6", "no int8", "no current Triton image", "models run on the processor", "cgroup v1 only"):
        assert why in words
    assert said.endswith("\nkubectl label node NODE edgesmith.dev/device=jetson-nano\n")
    assert max(map(len, said.splitlines())) <= 110

    found = json.loads(detect(tmp_path, capsys, "-o", "json")[1])
    (best,) = found["fits"]
    assert "K3s 1.34 or older" in best["notes"][0]


@pytest.mark.parametrize("name", ["jetson-nano", "jetson-agx-xavier"])
def test_what_detect_names_for_a_jetson_that_nvidia_has_stopped_for_is_served_on_its_processor(
    name: str, tmp_path: Path
) -> None:
    best, *_ = fitting(catalogue(), read_facts(MACHINES[name].write(tmp_path)).facts)
    spec = best.profile.spec
    assert (spec.toolchain.name, spec.runtime.server) == ("ONNXRuntime", "Edgesmith")
    assert (spec.runtime.runtime_class_name, spec.runtime.base_image) == (None, None)
    assert set((spec.runtime.resources or {})["limits"]) == {"cpu", "memory"}
    assert best.profile.memory is not None


def test_what_a_program_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = detect(MACHINES["coral-m2"].write(tmp_path), capsys, "-o", "json")
    found = json.loads(said)
    assert (status, found["unread"]) == (0, [])
    assert found["device"]["architecture"] == "amd64"
    assert {"vendor": "1ac1", "device": "089a", "class": "088000"} in found["device"]["pci"]
    assert found["device"]["memory"] == 8_000_000 * 1024
    assert found["device"]["cpuFeatures"] == sorted(PC.split())
    assert [one["profile"] for one in found["fits"]] == ["coral-m2", "intel-gpu", "generic-amd64"]
    assert found["fits"][0]["label"] == "edgesmith.dev/device=coral-m2"


def test_less_memory_than_the_profile_says_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = Machine(compatible=("raspberrypi,4-model-b",), features=A53, memory=1_900_000)
    _, said = detect(small.write(tmp_path), capsys)
    assert "    note: the device has 1.9 GB of memory and the profile says 4Gi; " in said


def test_where_no_profile_fits_the_exit_status_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Machine(features=A53).write(tmp_path)
    status, said = detect(tmp_path, capsys)
    assert status == 1
    assert "No profile fits. In a container, the device tree is hidden" in said
    assert detect(tmp_path, capsys, "-o", "name") == (1, "")
    assert json.loads(detect(tmp_path, capsys, "-o", "json")[1])["fits"] == []


def test_files_that_cannot_be_read_are_named_and_nothing_else_stops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    MACHINES["intel-npu"].write(tmp_path)
    for name in ("proc/meminfo", "sys/bus/pci/devices/0000:00:00.0/vendor"):
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
    (tmp_path / "proc/cpuinfo").unlink()
    status, said = detect(tmp_path, capsys)
    assert status == 0
    assert f"  not read: {tmp_path}/proc/meminfo: Is a directory\n" in said
    assert f"  not read: {tmp_path}/sys/bus/pci/devices/0000:00:00.0/vendor: Is a directory\n" in said
    assert f"  not read: {tmp_path}/proc/cpuinfo: No such file or directory\n" in said
    assert "kubectl label node NODE edgesmith.dev/device=intel-npu" in said


def test_the_old_place_of_the_device_tree(tmp_path: Path) -> None:
    MACHINES["jetson-nano"].write(tmp_path)
    (tmp_path / "sys/firmware/devicetree/base").rename(tmp_path / "proc/device-tree")
    assert read_facts(tmp_path).facts.compatible == ("nvidia,p3450-0000", "nvidia,tegra210")


def test_an_older_kernel_names_its_architecture_to_the_program(tmp_path: Path) -> None:
    MACHINES["generic-amd64"].write(tmp_path)
    (tmp_path / "proc/sys/kernel/arch").unlink()
    device = read_facts(tmp_path)
    assert (device.facts.machine, device.unread) == (os.uname().machine, ())


def test_a_root_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "detect", "--root", str(tmp_path / "host")]) == 1
    said = capsys.readouterr().err
    assert said == f"edgesmith: --root is '{tmp_path}/host'; a folder with the device's proc and sys was expected\n"


def test_a_profile_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Machine("x86_64", features=PC, pci=(BRIDGE, "1e60:2864:0b4000")).write(tmp_path / "host")
    document = {
        "apiVersion": "edgesmith.dev/v1alpha1",
        "kind": "DeviceProfile",
        "metadata": {"name": "hailo"},
        "spec": {
            "nodeSelector": {"plant.example/box": "hailo", "kubernetes.io/arch": "amd64"},
            "platform": {"architecture": "amd64"},
            "hardware": {"detect": {"pci": [{"vendor": "1e60", "device": "2864"}]}},
        },
    }
    file = tmp_path / "hailo.yaml"
    file.write_text(yaml.dump(document, Dumper=go_yaml.Dumper))  # 1e60 is a number where it is not quoted
    status, said = detect(tmp_path / "host", capsys, "-f", str(file))
    assert status == 0
    assert said.endswith("\nkubectl label node NODE plant.example/box=hailo\n")
    document["spec"]["hardware"] = {"detect": {"pci": [{"vendor": "1E60"}]}}  # type: ignore[index]  # it is a dict
    file.write_text(yaml.dump(document, Dumper=go_yaml.Dumper))
    assert main(["profile", "detect", "--root", str(tmp_path / "host"), "-f", str(file)]) == 1
    assert (
        f'{file}: document 1: spec.hardware.detect.pci[0].vendor is "1E60"; text of four digits'
        in capsys.readouterr().err
    )


def test_the_machine_that_the_tests_run_on_can_be_read() -> None:
    device = read_facts(Path("/"))
    assert device.facts.architecture in {"amd64", "arm64"}
    assert device.facts.memory
    assert device.facts.cpu_features
