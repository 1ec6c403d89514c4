"""The operator's start with a large fleet, against an API server in memory: how long, and how much memory.

The API server (tests/unit_controller/fake_api.py) runs beside it on the same cores, so what it takes is counted, too.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fake_api
import yaml
from row import Row

NODES, PODS, MODELS = 5000, 4990, 9
SECONDS, MEGABYTES = 15.0, 200.0
"""The aims."""
_SETTLE_SECONDS = 20.0
"""After which kopf has let go of what it listed."""
_DIGEST = "sha256:" + "0" * 64


def measure_start() -> list[Row]:
    """Start an operator over 10,000 objects and wait until it is ready."""
    with _api_server(NODES, PODS, MODELS) as server, tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        kubeconfig.write_text(_kubeconfig(server))
        with _operator(kubeconfig) as (process, probes):
            start = time.monotonic()
            _until_answers(f"http://127.0.0.1:{probes}/readyz")
            seconds = time.monotonic() - start
            time.sleep(_SETTLE_SECONDS)
            peak, after = _memory(process, "VmHWM"), _memory(process, "VmRSS")
    count = f"{NODES + PODS + MODELS + 1:,} objects"
    return [
        Row(f"operator start, {count}", seconds, "s", f"{SECONDS:g} s, the aim", seconds / SECONDS, most=1.0),
        Row(f"operator peak memory, {count}", peak, "MB", f"{MEGABYTES:g} MB, the aim", peak / MEGABYTES, most=1.0),
        Row(f"operator memory at rest, {count}", after, "MB"),
    ]


@contextmanager
def _api_server(*sizes: int) -> Iterator[str]:
    port = _free_port()
    process = subprocess.Popen([sys.executable, fake_api.__file__, str(port), *map(str, sizes)])
    try:
        _until_answers(f"http://127.0.0.1:{port}/api")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _operator(kubeconfig: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    probes = _free_port()
    environment = {
        **os.environ,
        "EDGESMITH_RUNTIME_IMAGES": json.dumps({"onnxruntime": f"127.0.0.1:9/runtime@{_DIGEST}"}),
        "EDGESMITH_BUILDER_IMAGE": f"127.0.0.1:9/builder@{_DIGEST}",
        "EDGESMITH_REPOSITORY": "127.0.0.1:9/models",
        "EDGESMITH_PROBE_PORT": str(probes),
        "EDGESMITH_LOG_LEVEL": "error",
    }
    arguments = [sys.executable, "-m", "edgesmith.controller", "--dev", "--kubeconfig", str(kubeconfig)]
    process = subprocess.Popen(arguments, env=environment)
    try:
        yield process, probes
    finally:
        process.terminate()
        process.wait()


def _until_answers(url: str) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own process
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise TimeoutError(f"{url} did not answer within 300 s")


def _memory(process: subprocess.Popen[bytes], field: str) -> float:
    """A field of the process's memory, MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:"))
    return int(kibibytes) * 1024 / 1e6


def _kubeconfig(server: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": server}}],
            "users": [{"name": "fake", "user": {"token": "none"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "current-context": "fake",
        }
    )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
