"""What the toolchain TensorRT made, tested and served on this machine's NVIDIA GPU by a real tritonserver.

    PYTHONPATH=runtime python bench/gpu.py FOLDER [--write gpu.json]

FOLDER holds bundles (`bench/gpu_bundles.py`), ``tritonserver`` is on PATH. Where its backend is our stand-in
(`hack/images/tritonserver`), ONNX Runtime's CUDA provider computes in TensorRT's place. Each bundle's self-test runs
twice, the second time with the engines of the first, and once as after an update of the driver. Then it is served and
asked for its golden samples by one client and by sixteen. It ends with 1 where anything is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch
from urllib.request import urlopen

from edgesmith_runtime.bundle import Bundle
from edgesmith_runtime.engine import EngineError
from edgesmith_runtime.golden import Golden, replay
from edgesmith_runtime.loading import LoadFailed, read
from edgesmith_runtime.triton.command import environment
from edgesmith_runtime.triton.preparing import prepare
from edgesmith_runtime.triton.private import private_server
from edgesmith_runtime.triton.remote import RemoteEngine

NAME = "model"
HTTP, GRPC, METRICS = 18000, 18001, 18002
SECONDS = 3.0
CLIENTS = 16
READY, END = 120.0, 40.0
ENGINES = Path("/var/cache/edgesmith")
FINGERPRINT = "fingerprint.json"
TOLD = ("nv_gpu_memory_used_bytes", "nv_inference_request_success")


class NotSo(Exception):  # noqa: N818 - a finding
    """A bundle does not do what was expected; the message says what it did."""


_BROKEN = (NotSo, OSError, HTTPException, EngineError, LoadFailed, subprocess.SubprocessError)


def main() -> None:
    """Print a line for each finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    found, wrong = [], 0
    for folder in sorted(path for path in options.folder.iterdir() if path.is_dir()):
        try:
            one = measured(folder)
        except _BROKEN as error:
            one = {"wrong": f"{type(error).__name__}: {error}"}
        wrong += "wrong" in one
        found.append({"bundle": folder.name, **one})
        print(json.dumps(found[-1]), flush=True)
        if options.write:
            options.write.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(1 if wrong else 0)


def measured(folder: Path) -> dict[str, Any]:
    """Everything of one bundle."""
    bundle, golden = read(folder, NAME)
    first, again = self_test(folder), self_test(folder)
    for one in (first, again):
        expect(one["reason"] == "Passed", str(one))
    kept = any(path.is_file() and path.name != FINGERPRINT for path in ENGINES.rglob("*"))
    expect(kept == ("engines were there already" in again["message"]), str(again))
    said: dict[str, Any] = {"first": first, "again": again, "changed": changed(folder)}
    if bundle.precision != "fp16":
        said["shortened"] = shortened(bundle, golden)
    return said | {"served": served(folder, golden)}


def self_test(folder: Path) -> dict[str, Any]:
    """The self-test as an init container runs it, and the seconds that it took."""
    with TemporaryDirectory() as name:
        log = Path(name) / "message"
        log.touch()
        start = time.monotonic()
        words = ["selftest", "--report", "--bundle", str(folder), "--name", NAME, "--termination-log", str(log)]
        done = subprocess.run(
            [sys.executable, "-m", "edgesmith_runtime.triton", *words], capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - start
        text = log.read_text()
    expect(bool(text), f"the self-test ended with {done.returncode} and left no message: {done.stderr[-2000:]}")
    return {**json.loads(text), "seconds": round(seconds, 1)}


def changed(folder: Path) -> str:
    """What is told where the device's driver was another one when engines were compiled."""
    for file in ENGINES.rglob(FINGERPRINT):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"driver": "1.0"}))
    message = str(self_test(folder)["message"])
    expect(not ENGINES.is_dir() or "engines are compiled anew: the driver was 1.0 and is " in message, message)
    return message


def shortened(bundle: Bundle, golden: Golden) -> float:
    """The largest share of what golden answers allow, where the GPU may shorten fp32 to TF32."""

    def without(of: Bundle) -> dict[str, str]:
        return {name: value for name, value in environment(of).items() if name != "NVIDIA_TF32_OVERRIDE"}

    fitting = prepare(bundle, threads=2, max_batch=4).fitting
    with (
        patch("edgesmith_runtime.triton.private.environment", without),
        private_server(bundle, golden, fitting) as server,
    ):
        return replay(server.engine(), golden).worst


def served(folder: Path, golden: Golden) -> dict[str, Any]:
    """Serve as a pod does, be asked, and end."""
    with server(folder) as process:
        engine = RemoteEngine(HTTP, NAME)
        parity = replay(engine, golden)
        expect(parity.passed, parity.message)
        feed = golden.samples(engine)[0]
        alone = asked(feed, 1)
        together = asked(feed, CLIENTS)
        engine.close()  # tritonserver waits at its end for whoever keeps a connection
        with urlopen(f"http://127.0.0.1:{METRICS}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        metrics = {line.split("{")[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(TOLD)}
        process.send_signal(signal.SIGTERM)
        status = process.wait(END)
    expect(status == 0, f"the server ended with {status} after SIGTERM")
    return {
        "worst": round(parity.worst, 4),
        "p50_ms": round(1000 * statistics.median(alone), 3),
        "requests_a_second": round(len(alone) / SECONDS),
        "requests_a_second_of_sixteen": round(len(together) / SECONDS),
        "metrics": metrics,
    }


@contextmanager
def server(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`serve`, ready."""
    ports = ["--http-port", str(HTTP), "--grpc-port", str(GRPC), "--metrics-port", str(METRICS)]
    words = ["serve", "--bundle", str(folder), "--name", NAME, "--host", "127.0.0.1", *ports]
    process = subprocess.Popen([sys.executable, "-m", "edgesmith_runtime.triton", *words], start_new_session=True)
    try:
        deadline = time.monotonic() + READY
        while True:
            expect(process.poll() is None, f"the server ended with {process.returncode}")
            expect(time.monotonic() < deadline, f"the server is not ready after {READY} seconds")
            try:
                with urlopen(f"http://127.0.0.1:{HTTP}/v2/models/{NAME}/ready", timeout=5):
                    break
            except OSError:
                time.sleep(0.1)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def expect(right: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Say what is not as it should be.

    Raises:
        NotSo: It is not right.
    """
    if not right:
        raise NotSo(otherwise)


def asked(feed: Any, clients: int) -> list[float]:
    """Seconds of each request, by so many clients for `SECONDS`."""
    taken: list[float] = []
    end = time.monotonic() + SECONDS

    def client() -> None:
        engine = RemoteEngine(HTTP, NAME)
        while (start := time.monotonic()) < end:
            engine.infer(feed)
            taken.append(time.monotonic() - start)
        engine.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


if __name__ == "__main__":
    main()
