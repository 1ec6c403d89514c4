"""Ours and other servers of the Open Inference Protocol, each started as its own program with the same model file.

Triton is the one in `nvidia-pytriton`'s wheel, which runs without a GPU and has the Python backend only; MLServer has a
custom runtime. Where a package cannot be had its server is left out.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from environments import SAME, environment

import edgesmith_runtime

TRITON = "nvidia-pytriton==0.7.0"
"""Its wheel holds Triton 2.51.0."""
_TRITON_COMPUTES = (*(one for one in SAME if not one.startswith("numpy")), "numpy==1.26.4")
"""Its Python backend reads arrays of NumPy 1 only; it answers empty tensors for those of NumPy 2."""
MLSERVER = "mlserver==1.7.1"
MODEL = "mobilenet"
_HERE = Path(__file__).parent
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_LOOK_SECONDS = 0.02

_CONFIG = """
name: "mobilenet"
backend: "python"
input [{{ name: "input" data_type: TYPE_FP32 dims: [1, 3, 224, 224] }}]
output [{{ name: "output" data_type: TYPE_FP32 dims: [1, 1000] }}]
instance_group [{{ kind: KIND_CPU count: {instances} }}]
parameters [{{ key: "threads" value: {{ string_value: "{threads}" }} }}]
"""


@dataclass(frozen=True)
class Peer:
    """A server that can be started.

    Attributes:
        name: What it is called in the table.
        command: Its program and arguments; `{http}`, `{grpc}` and `{free}` are ports.
        environment: Variables that it gets besides ours.
        protocols: What of HTTP and gRPC takes tensors as bytes.
        folder: Where it is started.
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    protocols: tuple[str, ...] = ("HTTP", "gRPC")
    folder: Path | None = None


@dataclass(frozen=True)
class Running:
    """A server that is ready.

    Attributes:
        pid: Its first process.
        http: Its HTTP port.
        grpc: Its gRPC port.
        seconds: From its start until it said that the model is ready.
    """

    pid: int
    http: int
    grpc: int
    seconds: float


@contextmanager
def running(peer: Peer) -> Iterator[Running]:
    """Run a server while the block does; no process of it is left behind."""
    ports = {name: _free_port() for name in ("http", "grpc", "free")}
    command = [word.format(**ports) for word in peer.command]
    variables = os.environ | {name: value.format(**ports) for name, value in peer.environment.items()}
    start = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, env=variables, cwd=peer.folder, stdout=log, stderr=log, start_new_session=True
        )
        try:
            try:
                _until_ready(process, ports["http"], start + _START_SECONDS)
            except RuntimeError as error:
                log.seek(0)
                raise SystemExit(f"{peer.name} {error}:\n{log.read().decode(errors='replace')[-40000:]}") from error
            yield Running(process.pid, ports["http"], ports["grpc"], time.perf_counter() - start)
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            with suppress(ProcessLookupError):  # what it started is in its group
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ours(bundle: Path, threads: int, *more: str) -> Peer:
    """Our server, with further arguments."""
    words = ("-m", "edgesmith_runtime", "serve", "--bundle", str(bundle), "--name", bundle.name)
    ports = (
        "--host",
        "127.0.0.1",
        "--accept-seconds",
        "0",
        "--http-port",
        "{http}",
        "--grpc-port",
        "{grpc}",
        "--threads",
        str(threads),
    )
    # As in the images, whose modules are compiled.
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(bundle.parent / "bytecode")}
    return Peer("edgesmith", (sys.executable, *words, *ports, *more), compiled)


def tritons(model: Path, folder: Path, threads: int) -> list[Peer]:
    """Triton with one instance on all threads, which is best for one client, and with one on each, best for many."""
    installed = environment(TRITON, "--no-deps", same=_TRITON_COMPUTES)
    if installed is None:
        return []
    site = next(installed.glob("lib/python3*/site-packages"))
    program, backends = site / "pytriton/tritonserver/bin/tritonserver", _backends(site)
    if backends is None:
        print(f"Triton is left out: {TRITON} has no Python backend for this Python", file=sys.stderr)
        return []
    variables = {
        "LD_LIBRARY_PATH": str(site / "nvidia_pytriton.libs"),
        "PATH": f"{installed / 'bin'}:{os.environ['PATH']}",
    }
    found = []
    for instances in sorted({1, threads}):
        repository = folder / f"triton-{instances}"
        version = repository / MODEL / "1"
        version.mkdir(parents=True)
        _fill(version, model, "triton_model.py", "model.py")
        config = _CONFIG.format(instances=instances, threads=threads // instances)
        (repository / MODEL / "config.pbtxt").write_text(config)
        words = (str(program), f"--model-repository={repository}", f"--backend-directory={backends}")
        ports = ("--http-address=127.0.0.1", "--http-port={http}", "--grpc-address=127.0.0.1", "--grpc-port={grpc}")
        name = f"Triton 2.51.0, {instances} instance{'s' * (instances > 1)}"
        found.append(Peer(name, (*words, *ports, "--allow-metrics=false"), variables))
    return found


def mlservers(model: Path, folder: Path, threads: int) -> list[Peer]:
    """MLServer; over HTTP it takes tensors as JSON only, so it is asked over gRPC alone."""
    installed = environment(MLSERVER)
    if installed is None:
        return []
    folder = folder / "mlserver"
    folder.mkdir()
    _fill(folder, model, "mlserver_model.py", "mlserver_model.py")
    parameters = {"uri": str(folder / "model.onnx"), "extra": {"threads": threads}}
    settings = {"name": MODEL, "implementation": "mlserver_model.OnnxModel", "parameters": parameters}
    (folder / "model-settings.json").write_text(json.dumps(settings))
    variables = {
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_HTTP_PORT": "{http}",
        "MLSERVER_GRPC_PORT": "{grpc}",
        "MLSERVER_METRICS_PORT": "{free}",
        # In the process that takes the requests, which spares each its way to another.
        "MLSERVER_PARALLEL_WORKERS": "0",
        "PYTHONPATH": str(folder),
        "PATH": f"{installed / 'bin'}:{os.environ['PATH']}",
    }
    command = (str(installed / "bin/mlserver"), "start", str(folder))
    return [Peer(MLSERVER.replace("==", " ").replace("mlserver", "MLServer"), command, variables, ("gRPC",), folder)]


def _backends(site: Path) -> Path | None:
    """Triton's backends, with the Python backend's program for our version of Python where the backend looks for it."""
    triton = site / "pytriton/tritonserver"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    program = triton / "python_backend_stubs" / python / "triton_python_backend_stub"
    if not program.exists():
        return None
    shutil.copy(program, triton / "backends/python")
    return triton / "backends"


def _fill(folder: Path, model: Path, program: str, name: str) -> None:
    """Lay a model, the program that runs it, and our engine's settings, which all servers use, beside each other."""
    shutil.copy(model, folder / "model.onnx")
    shutil.copy(_HERE / program, folder / name)
    package = Path(edgesmith_runtime.__file__).parent
    (folder / package.name).symlink_to(package)


def _until_ready(process: subprocess.Popen[bytes], port: int, deadline: float) -> None:
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            raise RuntimeError("ended before it was ready")
        with suppress(urllib.error.URLError, OSError):
            page = f"http://127.0.0.1:{port}/v2/models/{MODEL}/ready"
            with urllib.request.urlopen(page, timeout=5) as answer:
                if answer.status == 200:
                    return
        time.sleep(_LOOK_SECONDS)
    raise RuntimeError(f"was not ready within {_START_SECONDS:g} s")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
