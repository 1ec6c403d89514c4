"""The Edge TPU's engine on machines without one: what serves instead, and who is told."""

from __future__ import annotations

import ctypes.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from toys import TOYS

from edgesmith_runtime.bundle import Bundle, write_bundle
from edgesmith_runtime.engine import EngineError, load_engine
from edgesmith_runtime.golden import Golden

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.runtime.conftest import StartServer

X = {"x": np.ones((2, 4), np.float32)}


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A compiled file, which is none that LiteRT reads, and its twin beside it."""
    folder = tmp_path / "pair"
    folder.mkdir()
    TOYS["litert"](folder).rename(folder / "twin.tflite")
    (folder / "compiled.tflite").write_bytes(b"compiled")
    return folder / "compiled.tflite"


def test_without_the_library_the_twin_serves_and_says_why(pair: Path) -> None:
    engine = load_engine("edgetpu", pair, threads=1, options={"twin": "twin.tflite"})
    assert engine.infer(X)["relu"].tolist() == X["x"].tolist()
    assert re.fullmatch(r"runs on the CPU: libedgetpu\.so\.1: cannot open shared object file: .*", str(engine.warning))


def test_told_to_do_without_the_device_it_warns_of_nothing(pair: Path) -> None:
    engine = load_engine("edgetpu", pair, threads=1, options={"twin": "twin.tflite", "device": "cpu"})
    assert engine.infer(X)["relu"].tolist() == X["x"].tolist()
    assert engine.warning is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "option 'twin' is missing; expected the file from before compiled.tflite was compiled"),
        ({"twin": "twin.tflite", "device": "gpu"}, "option 'device' is 'gpu'; expected one of tpu, cpu"),
        ({"twin": "other.tflite"}, "other.tflite cannot be loaded by LiteRT: "),
    ],
)
def test_what_it_is_told_is_held_to(pair: Path, options: Mapping[str, str], words: str) -> None:
    with pytest.raises(EngineError, match=f"^{re.escape(words)}"):
        load_engine("edgetpu", pair, threads=1, options=options)


LOAD = """
import sys
from pathlib import Path
from edgesmith_runtime.engine import EngineError, load_engine
try:
    engine = load_engine("edgetpu", Path(sys.argv[1]), threads=1, options={"twin": "twin.tflite"})
    print("warning:", engine.warning)
except EngineError as error:
    print("error:", error)
"""


def loaded(pair: Path, folder: Path) -> str:
    """What comes of it in a process whose loader looks for libraries in a folder."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, pair], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == "", "the log holds JSON only"
    return done.stdout.strip()


def test_another_library_of_that_name_is_a_failure_and_no_reason_to_serve_the_twin(pair: Path, tmp_path: Path) -> None:
    (tmp_path / "libedgetpu.so.1").symlink_to(shared_library("libm.so.6"))
    said = loaded(pair, tmp_path)
    assert said == (
        "error: libedgetpu.so.1 has no function tflite_plugin_create_delegate; expected the Edge TPU's delegate"
    )


def shared_library(name: str) -> str:
    """Where this process has a library of the system's."""
    found = ctypes.util.find_library("m")
    assert found is not None
    ctypes.CDLL(found)
    maps = Path("/proc/self/maps").read_text()
    return next(line.split()[-1] for line in maps.splitlines() if line.endswith(name))


STANDS_IN = """
/* Stands in for the delegate's library: it finds no device, or needs a library that is not there. */
void *tflite_plugin_create_delegate(char **keys, char **values, unsigned long count, void (*report)(const char *)) {
  report("no device was found");
  return 0;
}
void tflite_plugin_destroy_delegate(void *delegate) {}
"""


def library(target: Path, code: str, *flags: str) -> Path:
    """A shared library of some lines of C."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make a library with that stands in")
    source = target.with_suffix(".c")
    source.write_text(code)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", target, source, *flags], check=True)
    return target


def test_with_the_library_and_without_the_device_the_twin_serves_too(pair: Path, tmp_path: Path) -> None:
    library(tmp_path / "libedgetpu.so.1", STANDS_IN)
    expected = "warning: runs on the CPU: libedgetpu.so.1 finds no Edge TPU (no device was found)"
    assert loaded(pair, tmp_path) == expected


def test_a_library_that_lacks_another_names_that(pair: Path, tmp_path: Path) -> None:
    needed = library(tmp_path / "libusb-of-a-test.so", "int usb(void) { return 0; }")
    library(tmp_path / "libedgetpu.so.1", STANDS_IN, "-Wl,--no-as-needed", f"-L{tmp_path}", f"-l:{needed.name}")
    needed.unlink()
    assert loaded(pair, tmp_path).startswith("warning: runs on the CPU: libusb-of-a-test.so: cannot open shared object")


@pytest.fixture
def bundle(pair: Path, tmp_path: Path) -> Bundle:
    """A bundle of the pair."""
    twin = pair.with_name("twin.tflite")
    engine = load_engine("litert", twin, threads=1)
    samples = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)
    answers = {name: np.array(answer) for name, answer in engine.infer({"x": samples}).items()}
    return write_bundle(
        tmp_path / "bundle",
        engine="edgetpu",
        precision="int8",
        model_file=pair,
        others=(twin,),
        options={"twin": "twin.tflite"},
        inputs=engine.inputs,
        outputs=engine.outputs,
        labels=None,
        golden=Golden.of({"x": samples}, answers, 0.05),
    )


def test_the_self_test_passes_and_its_finding_has_the_warning(bundle: Bundle, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-m", "edgesmith_runtime", "selftest", "--bundle", str(bundle.folder), "--threads", "1"]
    subprocess.run([*command, "--termination-log", str(log)], check=True, capture_output=True)
    found: dict[str, Any] = json.loads(log.read_text())
    assert (found["verdict"], found["parity"]) == ("Passed", 1)
    assert found["warning"].startswith("runs on the CPU: libedgetpu.so.1: cannot open shared object file")
    assert found["device"]["engine"].startswith("edgetpu ")


@pytest.mark.parametrize(("device", "warns"), [("tpu", True), ("cpu", False)])
def test_the_servers_log_says_that_the_processor_serves_instead(
    bundle: Bundle, start_server: StartServer, device: str, *, warns: bool
) -> None:
    manifest = bundle.folder / "bundle.json"
    twin = '"twin":"twin.tflite"'
    manifest.write_text(manifest.read_text().replace(twin, f'"device":"{device}",{twin}'))
    server = start_server(bundle.folder)
    assert server.stop() == 0
    told = [line["message"] for line in server.lines if line["level"] == "warning"]
    assert len(told) == warns
    assert all(line.startswith("the model runs on the CPU: libedgetpu.so.1: cannot open shared") for line in told)
