"""Bundles served by a real tritonserver: its self-test, its clients, its end."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from ports import free_ports
from tritonclient.utils import InferenceServerException
from tritons import VERSION, folder_with_tritonserver

from edgesmith_builder.toolchain.half import in_half
from edgesmith_runtime.bundle import Bundle, write_bundle
from edgesmith_runtime.device import default_threads
from edgesmith_runtime.golden import Golden
from edgesmith_runtime.triton.command import Listening, command, environment
from edgesmith_runtime.triton.repository import CONFIG, Fitting, write_repository
from tests.patience import PATIENCE

pytestmark = pytest.mark.timeout(300)

SHARED = Path("/dev/shm")  # noqa: S108 - where Triton's Python backends put what they share
PROTOCOLS = (tritonclient.http, tritonclient.grpc)


@pytest.fixture(autouse=True)
def with_tritonserver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", f"{folder_with_tritonserver()}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def again(bundle: Bundle, folder: Path, **changes: Any) -> Bundle:
    """The same bundle written anew, with changes."""
    said: dict[str, Any] = {
        "engine": bundle.engine,
        "precision": bundle.precision,
        "model_file": bundle.model_path,
        "inputs": bundle.inputs,
        "outputs": bundle.outputs,
        "labels": bundle.labels,
        "golden": Golden.read(*bundle.golden_paths),
        "options": bundle.options,
    }
    return write_bundle(folder, **(said | changes))


def self_tested(bundle: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """The exit status of a self-test, and its termination message."""
    log = Path(os.environ["TMPDIR"]) / "termination-log"
    command = [sys.executable, "-m", "edgesmith_runtime.triton", "selftest", "--bundle", str(bundle)]
    done = subprocess.run(
        [*command, "--termination-log", str(log), *options], capture_output=True, text=True, check=False, timeout=200
    )
    assert log.exists(), done.stderr
    said: dict[str, Any] = json.loads(log.read_text())
    return done.returncode, said


def test_a_good_bundle_passes_and_leaves_nothing_behind(toy: Bundle) -> None:
    shared = set(SHARED.iterdir())
    status, said = self_tested(toy.folder)
    assert (status, said["verdict"], said["reason"], said["parity"]) == (0, "Passed", "Passed", 1.0)
    assert 0 < said["p50Ms"] <= said["p95Ms"]
    assert said["memoryBytes"] > 40 * 2**20
    assert said["device"]["server"] == f"tritonserver {VERSION}"
    assert said["device"]["cores"] == default_threads()
    assert "batches of 8" in said["message"]
    assert not any(name.name.startswith("selftest-") for name in Path(os.environ["TMPDIR"]).iterdir())
    assert set(SHARED.iterdir()) <= shared


def test_every_datatype_goes_there_and_back(every_type: Bundle) -> None:
    assert self_tested(every_type.folder)[1]["reason"] == "Passed"


def test_a_model_without_a_batch_passes(slow: Bundle) -> None:
    status, said = self_tested(slow.folder)
    assert (status, said["reason"]) == (0, "Passed")
    assert "batches of 1" in said["message"]


@pytest.mark.parametrize(
    ("options", "reason", "says"),
    [
        (("--max-latency-ms", "0.0001"), "LatencyExceeded", "expected at most 0.0001 ms"),
        (("--max-memory-bytes", "1000"), "MemoryExceeded", "expected at most 1000"),
    ],
)
def test_the_gates_hold(toy: Bundle, options: tuple[str, ...], reason: str, says: str) -> None:
    status, said = self_tested(toy.folder, *options)
    assert (status, said["verdict"], said["reason"]) == (1, "Failed", reason)
    assert says in said["message"]


def test_another_answer_than_the_recorded_one_fails(toy: Bundle, tmp_path: Path) -> None:
    golden = Golden.read(*toy.golden_paths)
    answers = golden.outputs["relu"]
    other = {**golden.outputs, "relu": dataclasses.replace(answers, values=answers.values + np.float32(9))}
    spoilt = again(toy, tmp_path / "model", golden=Golden(golden.inputs, other))
    status, said = self_tested(spoilt.folder)
    assert (status, said["reason"], said["parity"]) == (1, "GoldenMismatch", 0.0)
    assert "output 'relu' of sample" in said["message"]


def test_a_changed_byte_is_found_before_anything_is_started(toy_copy: Bundle) -> None:
    with toy_copy.model_path.open("ab") as file:
        file.write(b"\0")
    status, said = self_tested(toy_copy.folder)
    assert (status, said["reason"]) == (1, "BundleCorrupt")
    assert "server" not in said["device"]


def test_a_model_that_cannot_be_loaded_is_said_in_triton_s_words(toy: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "junk.onnx"
    file.write_bytes(b"not a model")
    status, said = self_tested(again(toy, tmp_path / "model", model_file=file).folder)
    assert (status, said["reason"]) == (1, "EngineFailed")
    assert "tritonserver ended with exit status 1 while it loaded the model: " in said["message"]
    assert "model.onnx" in said["message"]


def test_an_image_without_triton_is_said(toy: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    status, said = self_tested(toy.folder)
    assert (status, said["reason"]) == (1, "EngineFailed")
    assert said["message"] == "tritonserver cannot be started: No such file or directory"


def test_a_model_for_tensorrt_is_not_quietly_run_by_the_processor(toy: Bundle, tmp_path: Path) -> None:
    bundle = again(toy, tmp_path / "model", precision="fp16", options={"accelerator": "tensorrt"})
    status, said = self_tested(bundle.folder)
    assert (status, said["reason"]) == (1, "EngineFailed")
    assert "has kind KIND_GPU but no GPUs are available" in said["message"]
    assert "engines are compiled for the first time" in said["message"]


def test_a_device_that_changed_since_it_compiled_the_model_is_said_apart_from_the_message(
    toy: Bundle, tmp_path: Path
) -> None:
    bundle = again(toy, tmp_path / "model", options={"accelerator": "tensorrt"})
    assert self_tested(bundle.folder)[1]["recompiled"] is None
    (known,) = Path(os.environ["TMPDIR"]).glob("edgesmith/engines/**/fingerprint.json")
    (known.parent / "model.engine").write_bytes(b"compiled")
    known.write_text(json.dumps(json.loads(known.read_text()) | {"driver": "540.4.0"}))
    said = self_tested(bundle.folder)[1]
    assert said["recompiled"] == "the driver was 540.4.0 and is unknown"
    assert f"engines are compiled anew: {said['recompiled']}" in said["message"]


def test_triton_takes_a_model_in_fp16_and_the_configuration_for_tensorrt(toy: Bundle, tmp_path: Path) -> None:
    """Its GPU apart, which is not here: the fields for TensorRT are read, and come back as they were written."""
    half = in_half(toy.model_path, tmp_path / "half.onnx").file
    options = {"accelerator": "tensorrt", "dlaCore": "0"}
    bundle = again(toy, tmp_path / "model", precision="fp16", options=options, model_file=half)
    golden = Golden.read(*bundle.golden_paths)
    fitting = Fitting(threads=1, max_batch=4, cache=Path("/var/cache/edgesmith/x"))
    repository = write_repository(bundle, golden, fitting, tmp_path / "models")
    config = repository / bundle.model / CONFIG
    config.write_text(config.read_text().replace("KIND_GPU", "KIND_CPU"))
    (port,) = free_ports(1)
    words = command(repository, Listening("127.0.0.1", port), drain_seconds=5, gpu=True)
    with started(words, environment(bundle), port, bundle.model):
        said = asked(f"http://127.0.0.1:{port}/v2/models/{bundle.model}/config")
        x = np.array([[1 + 2**-12, -2, 3, -4]], np.float32)
        with closing(tritonclient.http.InferenceServerClient(f"127.0.0.1:{port}")) as client:
            answer = inferred(tritonclient.http, client, bundle.model, x)
    np.testing.assert_allclose(answer.as_numpy("relu"), [[1, 0, 3, 0]], rtol=2**-11)
    assert {one["name"]: one["data_type"] for one in (*said["input"], *said["output"])} == {
        "x": "TYPE_FP32",
        "relu": "TYPE_FP32",
        "softmax": "TYPE_FP32",
    }
    (one,) = said["optimization"]["execution_accelerators"]["gpu_execution_accelerator"]
    assert one["name"] == "tensorrt"
    assert one["parameters"] == {
        "precision_mode": "FP16",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "/var/cache/edgesmith/x",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": "/var/cache/edgesmith/x",
        "trt_profile_min_shapes": "x:1x4",
        "trt_profile_opt_shapes": "x:1x4",
        "trt_profile_max_shapes": "x:4x4",
        "trt_dla_enable": "1",
        "trt_dla_core": "0",
    }


@dataclass
class Serving:
    """A server in a process of its own."""

    process: subprocess.Popen[bytes]
    http: int
    grpc: int
    metrics: int

    def client(self, protocol: Any) -> Any:
        return protocol.InferenceServerClient(f"127.0.0.1:{self.http if protocol is tritonclient.http else self.grpc}")


def asked(url: str, method: str = "GET", body: bytes | None = None) -> Any:
    with urlopen(Request(url, body, method=method), timeout=PATIENCE) as answer:  # noqa: S310 - a server of this test
        text = answer.read().decode()
    return json.loads(text) if text.startswith(("{", "[")) else text


@contextmanager
def started(words: list[str], where: dict[str, str], port: int, model: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(words, env=where, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        until_ready(process, port, model)
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def until_ready(process: subprocess.Popen[bytes], port: int, model: str) -> None:
    while process.poll() is None:
        try:
            asked(f"http://127.0.0.1:{port}/v2/models/{model}/ready")
        except HTTPError as error:  # it listens and is not ready
            error.close()
        except (URLError, ConnectionError):
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the server ended with {process.returncode} before it was ready")


@contextmanager
def serving(bundle: Bundle, *options: str) -> Iterator[Serving]:
    ports = free_ports(3)
    listening = [
        word
        for name, port in zip(("http", "grpc", "metrics"), ports, strict=True)
        for word in (f"--{name}-port", str(port))
    ]
    words = [sys.executable, "-m", "edgesmith_runtime.triton", "serve", "--bundle", str(bundle.folder)]
    words += ["--name", bundle.model, "--host", "127.0.0.1", *listening, *options]
    with started(words, dict(os.environ), ports[0], bundle.model) as process:
        yield Serving(process, *ports)


def inferred(protocol: Any, client: Any, model: str, array: Any, outputs: Any = None) -> Any:
    tensor = protocol.InferInput("x", list(array.shape), "FP32")
    tensor.set_data_from_numpy(array)
    return client.infer(model, [tensor], outputs=outputs)


def test_clients_are_served_over_both_protocols(toy: Bundle) -> None:
    x = np.array([[1, -2, 3, -4], [0, 0, 0, 5]], np.float32)
    with serving(toy, "--max-batch", "2") as server:
        for protocol in PROTOCOLS:
            client = server.client(protocol)
            answer = inferred(protocol, client, "toy", x)
            np.testing.assert_allclose(answer.as_numpy("relu"), np.maximum(x, 0))
            best = inferred(protocol, client, "toy", x, [protocol.InferRequestedOutput("relu", class_count=1)])
            assert best.as_numpy("relu").ravel().tolist() == [b"3.000000:2:c", b"5.000000:3:d"]
            with pytest.raises(InferenceServerException, match="batch-size must be <= 2"):
                inferred(protocol, client, "toy", np.zeros((3, 4), np.float32))
            client.close()
        page = asked(f"http://127.0.0.1:{server.metrics}/metrics")
        assert 'nv_inference_request_success{model="toy",version="1"}' in page


def test_no_client_can_change_what_is_served(toy: Bundle) -> None:
    with serving(toy) as server:
        base = f"http://127.0.0.1:{server.http}/v2"
        for path in ("repository/models/toy/unload", "repository/models/other/load", "logging", "trace/setting"):
            with pytest.raises(HTTPError) as refused:
                asked(f"{base}/{path}", "POST", b"{}")
            refused.value.close()
            assert refused.value.code == 403, path
        client = server.client(tritonclient.grpc)
        with pytest.raises(InferenceServerException, match="restricted"):
            client.unload_model("toy")
        client.close()
        assert asked(f"{base}/models/toy/ready") == ""


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=["http", "grpc"])
def test_a_request_in_flight_is_answered_after_sigterm(slow: Bundle, protocol: Any) -> None:
    # Five seconds of work take longer than the twenty that it has by itself, where other tests take the cores.
    with serving(slow, "--threads", "1", "--drain-seconds", "300") as server:
        client = server.client(protocol)
        array = np.full((1800, 1800), 1 / 1800, np.float32)
        answers: list[Any] = []
        for _ in range(10):  # one that has its answer before the signal could be sent is asked again
            asking = threading.Thread(target=lambda: answers.append(inferred(protocol, client, "slow", array)))
            asking.start()
            before = processor_time(server.process.pid)
            while asking.is_alive() and processor_time(server.process.pid) < before + 0.3:
                time.sleep(0.01)
            if asking.is_alive():
                break
            answers.clear()
        assert asking.is_alive()
        server.process.send_signal(signal.SIGTERM)
        asking.join()
        assert len(answers) == 1
        np.testing.assert_allclose(answers[0].as_numpy("y")[0, 0], 1 / 1800, rtol=1e-3)
        client.close()  # Triton waits for connections too
        assert server.process.wait(PATIENCE) == 0


def processor_time(pid: int) -> float:
    """Seconds of a process and its children, the backend among them."""
    total = 0
    for folder in Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if folder.name.isdigit() and (int(folder.name) == pid or int(fields[1]) == pid):
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def test_a_bundle_that_may_not_be_served_leaves_its_reason(toy_copy: Bundle, tmp_path: Path) -> None:
    (toy_copy.folder / "more").write_text("?")
    log = tmp_path / "termination-log"
    log.touch()
    words = [sys.executable, "-m", "edgesmith_runtime.triton", "serve", "--bundle", str(toy_copy.folder)]
    done = subprocess.run([*words, "--termination-log", str(log)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert json.loads(log.read_text())["reason"] == "BundleCorrupt"
    assert "holds 'more'" in done.stderr


def test_a_backend_whose_program_cannot_start_fails(toy: Bundle, tmp_path: Path) -> None:
    backends = tmp_path / "tritonserver-backends"  # where the stand-in would put them
    shutil.copytree(folder_with_tritonserver().parent / "server" / "backends", backends)
    (backends / "python" / "triton_python_backend_stub").write_text("#!/bin/sh\nexit 1\n")
    status, said = self_tested(toy.folder)
    assert (status, said["verdict"], said["reason"]) == (1, "Failed", "EngineFailed")
    assert "the program triton_python_b, which it started for it, has ended" in said["message"]
