"""Compiled engines are kept for the device that compiled them, and for no other."""

from __future__ import annotations

import dataclasses
import functools
import logging
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgesmith_runtime.bundle import Bundle
from edgesmith_runtime.engine import EngineError
from edgesmith_runtime.http.limits import Limits
from edgesmith_runtime.termination import Finding
from edgesmith_runtime.triton import selftest
from edgesmith_runtime.triton.cache import KEPT, EngineCache, open_cache
from edgesmith_runtime.triton.fingerprint import Fingerprint, read_fingerprint
from edgesmith_runtime.triton.preparing import prepare
from edgesmith_runtime.triton.repository import Fitting

ORIN = Fingerprint(tensorrt="10.3.0", compute_capability="8.7", driver="540.4.0", jetpack="36.4.3")


def opened(bundle: Bundle, root: Path, fingerprint: Fingerprint = ORIN, *, serving: bool = False) -> EngineCache:
    return open_cache(bundle, fingerprint, root=root, scratch=root / "scratch", serving=serving)


def with_engine(cache: EngineCache) -> Path:
    """Leave what stands for an engine in it."""
    engine = cache.folder / "model.engine"
    engine.write_bytes(b"compiled")
    return engine


def test_the_folder_is_for_one_model_one_precision_one_tensorrt_and_one_kind_of_gpu(
    toy: Bundle, tmp_path: Path
) -> None:
    folder = opened(toy, tmp_path).folder
    digest = toy.model_digest.removeprefix("sha256:")[:16]
    assert folder.relative_to(tmp_path) == Path("toy", f"{digest}-fp32", "tensorrt-10.3.0-sm87")
    half = opened(dataclasses.replace(toy, precision="fp16"), tmp_path).folder
    assert half.parent != folder.parent


def test_engines_are_found_again(toy: Bundle, tmp_path: Path) -> None:
    first = opened(toy, tmp_path)
    engine = with_engine(first)
    again = opened(toy, tmp_path)
    assert (first.message, again.message) == (
        "engines are compiled for the first time",
        "engines were there already",
    )
    assert (first.changes, again.changes, engine.exists()) == ("", "", True)


def test_a_self_test_that_failed_before_it_compiled_leaves_no_engines(toy: Bundle, tmp_path: Path) -> None:
    opened(toy, tmp_path)
    assert opened(toy, tmp_path).message == "engines are compiled for the first time"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tensorrt": "10.7.0"}, "TensorRT was 10.3.0 and is 10.7.0"),
        ({"compute_capability": "7.2"}, "the compute capability was 8.7 and is 7.2"),
        ({"driver": "550.1"}, "the driver was 540.4.0 and is 550.1"),
        ({"jetpack": ""}, "Jetson Linux was 36.4.3 and is unknown"),
        ({"driver": "550.1", "jetpack": "36.5"}, "the driver was 540.4.0 and is 550.1, Jetson Linux was 36.4.3 and is"),
    ],
)
def test_another_device_compiles_anew_and_says_why(
    toy: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, str], says: str
) -> None:
    with_engine(opened(toy, tmp_path))
    with caplog.at_level(logging.WARNING):
        changed = opened(toy, tmp_path, dataclasses.replace(ORIN, **change))
    assert changed.changes.startswith(says)
    assert changed.message == f"engines are compiled anew: {changed.changes}"
    assert changed.message in caplog.text
    assert not (changed.folder / "model.engine").exists()


@pytest.mark.parametrize("change", [{"driver": "550.1"}, {"tensorrt": "10.7.0"}], ids=["same folder", "another"])
def test_a_change_is_said_until_its_engines_are_there_and_then_no_more(
    toy: Bundle, tmp_path: Path, change: dict[str, str]
) -> None:
    """A self-test that dies while it compiles is tried again, and is still about the same change."""
    with_engine(opened(toy, tmp_path))
    newer = dataclasses.replace(ORIN, **change)
    first = opened(toy, tmp_path, newer)
    again = opened(toy, tmp_path, newer)
    assert first.changes
    assert (again.changes, again.message) == (first.changes, first.message)
    engine = with_engine(again)
    after = opened(toy, tmp_path, newer)
    assert (after.changes, after.message, engine.exists()) == ("", "engines were there already", True)


def test_a_second_change_before_anything_is_compiled_is_held_against_the_engines_that_were(
    toy: Bundle, tmp_path: Path
) -> None:
    with_engine(opened(toy, tmp_path))
    opened(toy, tmp_path, dataclasses.replace(ORIN, driver="550.1"))
    twice = opened(toy, tmp_path, dataclasses.replace(ORIN, driver="560.2"))
    assert twice.changes == "the driver was 540.4.0 and is 560.2"


def test_where_nothing_was_ever_compiled_another_device_compiles_for_the_first_time(
    toy: Bundle, tmp_path: Path
) -> None:
    opened(toy, tmp_path)
    other = opened(toy, tmp_path, dataclasses.replace(ORIN, driver="550.1"))
    assert (other.changes, other.message) == ("", "engines are compiled for the first time")


def test_a_base_image_that_is_rolled_back_finds_its_engines(toy: Bundle, tmp_path: Path) -> None:
    newer = dataclasses.replace(ORIN, tensorrt="10.7.0")
    engine = with_engine(opened(toy, tmp_path))
    opened(toy, tmp_path, newer)
    assert engine.exists()
    assert opened(toy, tmp_path).message == "engines were there already"
    for version in ("10.8.0", "10.9.0"):
        opened(toy, tmp_path, dataclasses.replace(ORIN, tensorrt=version))
    assert not engine.exists()


def test_a_fingerprint_that_cannot_be_read_is_another_device_s(toy: Bundle, tmp_path: Path) -> None:
    cache = opened(toy, tmp_path)
    engine = with_engine(cache)
    (cache.folder / "fingerprint.json").write_text("{")
    assert opened(toy, tmp_path).changes.startswith("TensorRT was unknown and is 10.3.0, ")
    assert not engine.exists()


def other(toy: Bundle, number: int) -> Bundle:
    return dataclasses.replace(toy, digests={"model.onnx": f"sha256:{number:016x}"}, golden_files=("a", "b"))


def test_engines_of_old_models_go(toy: Bundle, tmp_path: Path) -> None:
    folders = [opened(other(toy, number), tmp_path, serving=True).folder for number in range(KEPT + 2)]
    assert [folder.exists() for folder in folders] == [False, False, *[True] * KEPT]


def test_a_trial_of_many_leaves_what_serves_and_what_it_tests_until_the_winner_serves(
    toy: Bundle, tmp_path: Path
) -> None:
    before, serving = (opened(other(toy, number), tmp_path, serving=True).folder for number in (1, 2))
    tried = [opened(other(toy, number), tmp_path).folder for number in range(10, 15)]
    assert all(folder.exists() for folder in (before, serving, *tried))
    with_engine(opened(other(toy, 10), tmp_path))
    winner = opened(other(toy, 10), tmp_path, serving=True)
    assert winner.message == "engines were there already"
    assert before.exists(), "a roll-back finds its engines"
    assert serving.exists()
    assert [folder.exists() for folder in tried] == [True, False, True, True, True]


def test_engines_that_do_not_load_are_compiled_anew_in_the_same_self_test(
    toy: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT cannot run here; what stands for its provider loads an engine that is there, and fails on half a one."""
    accelerated = dataclasses.replace(toy, options={"accelerator": "tensorrt"})
    monkeypatch.setattr(selftest, "read", lambda *_: (accelerated, None))
    folders: list[Path] = []

    @contextmanager
    def loading(_: object, __: object, fitting: Fitting) -> Iterator[None]:
        folders.append(fitting.cache)
        engine = fitting.cache / "model.engine"
        if engine.exists() and engine.read_bytes() != b"compiled":
            raise EngineError("TensorRT EP could not deserialize engine from cache")
        engine.write_bytes(b"compiled")
        yield

    monkeypatch.setattr(selftest, "private_server", loading)
    monkeypatch.setattr(selftest, "_tried", lambda *_: Finding("Passed", ""))
    monkeypatch.setattr(selftest, "prepare", functools.partial(prepare, engines=tmp_path))
    asked = selftest.Asked(name="toy", threads=1, limits=Limits(), max_latency_ms=None, max_memory_bytes=None)
    assert "for the first time" in selftest.self_test(tmp_path, asked).message
    assert selftest.self_test(tmp_path, asked).message == "engines were there already"
    (folders[0] / "model.engine").write_bytes(b"comp")
    found = selftest.self_test(tmp_path, asked)
    assert (found.reason, found.message) == ("Passed", "engines that were there failed and are compiled anew")
    assert selftest.self_test(tmp_path, asked).message == "engines were there already"


def test_a_model_that_fails_without_engines_is_tried_once(
    toy: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "read", lambda *_: (dataclasses.replace(toy, options={"accelerator": "tensorrt"}), 0))
    tries: list[object] = []

    def failing(*_: object) -> None:
        tries.append(None)
        raise EngineError("no such operator")

    monkeypatch.setattr(selftest, "private_server", failing)
    monkeypatch.setattr(selftest, "prepare", functools.partial(prepare, engines=tmp_path))
    asked = selftest.Asked(name="toy", threads=1, limits=Limits(), max_latency_ms=None, max_memory_bytes=None)
    assert selftest.self_test(tmp_path, asked).reason == "EngineFailed"
    assert len(tries) == 1


def test_without_a_volume_they_last_as_long_as_the_pod(toy: Bundle, tmp_path: Path) -> None:
    cache = open_cache(toy, ORIN, root=tmp_path / "none", scratch=tmp_path / "scratch")
    assert cache.folder.is_relative_to(tmp_path / "scratch")
    assert cache.message.endswith(f"since there is no volume at {tmp_path / 'none'}")


def test_a_volume_that_cannot_be_written_is_said(toy: Bundle, tmp_path: Path) -> None:
    (tmp_path / "toy").write_text("in the way")
    with pytest.raises(EngineError, match=r"cannot be written: .*; expected a folder that user 65532 owns"):
        prepare(dataclasses.replace(toy, options={"accelerator": "tensorrt"}), threads=1, max_batch=1, engines=tmp_path)


def test_a_model_for_the_processor_needs_no_engines(toy: Bundle, tmp_path: Path) -> None:
    prepared = prepare(toy, threads=1, max_batch=1, engines=tmp_path)
    assert (prepared.message, prepared.recompiled, prepared.device, list(tmp_path.iterdir())) == ("", "", {}, [])


DRIVER = """NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build  (buildbrain)
GCC version:  collect2: error: ld returned 1 exit status
"""
DESKTOP = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
TEGRA = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n"


def device(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, Fingerprint()),
        (
            {
                "proc/driver/nvidia/version": DRIVER,
                "etc/nv_tegra_release": TEGRA,
                "usr/lib/aarch64-linux-gnu/libnvinfer.so.10.3.0": "",
            },
            Fingerprint(tensorrt="10.3.0", driver="540.4.0", jetpack="36.4.3"),
        ),
        (
            {
                "proc/driver/nvidia/version": DESKTOP,
                "proc/sys/kernel/osrelease": "6.8.0-41-generic\n",
                "usr/lib/x86_64-linux-gnu/libnvinfer.so.10": "",
                "usr/lib/x86_64-linux-gnu/libnvinfer.so.10.13.2": "",
            },
            Fingerprint(tensorrt="10.13.2", driver="550.54.15"),
        ),
        ({"proc/sys/kernel/osrelease": "5.15.148-tegra\n"}, Fingerprint(jetpack="5.15.148-tegra")),
    ],
    ids=["no GPU", "a Jetson", "a machine with a card", "a Jetson whose release the container does not see"],
)
def test_a_device_tells_what_engines_depend_on(tmp_path: Path, files: dict[str, str], expected: Fingerprint) -> None:
    assert read_fingerprint(device(tmp_path, files), cuda="libnone.so") == expected


CUDA = """
int cuInit(unsigned flags) { return flags; }
int cuDeviceGet(int *device, int number) { *device = 40 + number; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (device != 40) return 101;
    *value = attribute == 75 ? 8 : attribute == 76 ? 7 : -1;
    return 0;
}
"""


def test_the_driver_tells_the_compute_capability(tmp_path: Path) -> None:
    """Against a library with the functions of the CUDA driver API that are asked, since there is no GPU here."""
    source, library = tmp_path / "cuda.c", tmp_path / "libcuda.so.1"
    source.write_text(CUDA)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    assert read_fingerprint(tmp_path, cuda=str(library)).compute_capability == "8.7"


def test_a_driver_that_fails_tells_nothing(tmp_path: Path) -> None:
    source, library = tmp_path / "cuda.c", tmp_path / "libcuda.so.1"
    source.write_text("int cuInit(unsigned flags) { return 100; }")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    assert read_fingerprint(tmp_path, cuda=str(library)).compute_capability == ""


def test_what_is_known_is_named_as_the_termination_message_has_it() -> None:
    assert ORIN.facts() == {
        "tensorrt": "10.3.0",
        "computeCapability": "8.7",
        "driver": "540.4.0",
        "jetpack": "36.4.3",
    }
    assert Fingerprint().facts() == {}
