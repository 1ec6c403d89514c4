"""The server that inputs are sent to: the runtime as a pod has it, with a small model, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

import numpy as np
from onnx import TensorProto, helper
from pictures import CLASSIFIED, colours, picture_bundle

from edgesmith_runtime.bundle import Bundle
from tests.runtime.conftest import _bundle, _save, _value

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PENDING_MIB = 64


def toy_bundle(folder: Path) -> Bundle:
    """``x`` FP32 [-1,4] to its ``relu`` and its ``softmax``."""
    nodes = [helper.make_node("Relu", ["x"], ["relu"]), helper.make_node("Softmax", ["x"], ["softmax"], axis=1)]
    outputs = [_value(name, TensorProto.FLOAT, ("n", 4)) for name in ("relu", "softmax")]
    model = _save(folder / "toy.onnx", nodes, [_value("x", TensorProto.FLOAT, ("n", 4))], outputs)
    samples = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    return _bundle(folder / "bundle", "toy", model, {"x": samples}, "abcd")


def picture_target_bundle(folder: Path) -> Bundle:
    """A model that says how red, green and blue a picture is."""
    return picture_bundle(folder / "pictures", colours(folder / "colours.onnx"), CLASSIFIED)


class Target:
    """A running server.

    Args:
        bundle: What it serves.
    """

    def __init__(self, bundle: Bundle) -> None:
        command = [
            *(sys.executable, "-m", "edgesmith_runtime", "serve", "--bundle", str(bundle.folder), "--name", "toy"),
            *("--host", "127.0.0.1", "--http-port", "0", "--grpc-port", "0", "--accept-seconds", "0"),
            *("--max-body-mib", "1", "--max-pending-mib", str(_PENDING_MIB)),
            *("--judge-seconds", "0", "--replay-seconds", "0"),
        ]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.lines: list[dict[str, Any]] = []
        ports = self._line("listening")
        self.http: int = ports["http_port"]
        self.grpc: int = ports["grpc_port"]
        self._line("ready")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(20)

    @property
    def memory(self) -> int:
        """The process's resident memory in bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * _PAGE

    def stop(self) -> int:
        """Ask it to stop; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self._reader.join(20)
        return status

    def _line(self, message: str) -> dict[str, Any]:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            line: dict[str, Any] = json.loads(text)
            self.lines.append(line)
            if line["message"] == message:
                return line
        raise AssertionError(f"the server ended without {message!r}: {self.lines}")

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            self.lines += (json.loads(text) for text in stream)
