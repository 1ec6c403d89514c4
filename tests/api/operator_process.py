"""The operator as a process of its own, and what it needs around it: a registry and objects."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apiserver import ADMIN, ApiServer, Object, wait_for
from ports import free_ports
from processes import ENDS_WITH_US, running_program

from tests.patience import PATIENCE

DIGEST = "sha256:" + "ab" * 32


def edge_model(name: str, namespace: str, **spec: Any) -> Object:
    """An EdgeModel that is good; its fields can be replaced."""
    return {
        "apiVersion": "edgesmith.dev/v1alpha1",
        "kind": "EdgeModel",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "source": {"uri": "s3://models/parts/1/model.onnx", "sha256": "0" * 64},
            "deviceProfiles": {"names": [f"{namespace}-device"]},
            "rollout": {"steps": [{"nodes": 1, "bake": "1s"}]},
            **spec,
        },
    }


def device_profile(name: str) -> Object:
    """A DeviceProfile whose nodes carry its name as a label."""
    return {
        "apiVersion": "edgesmith.dev/v1alpha1",
        "kind": "DeviceProfile",
        "metadata": {"name": name},
        "spec": {"nodeSelector": {"edgesmith.dev/device": name}, "platform": {"architecture": "amd64"}},
    }


@dataclass
class Operator:
    """One operator; start it as often as you like."""

    server: ApiServer
    namespace: str
    registry: str
    log: Path
    pod: str = "operator-0"
    token: str = ADMIN
    process: subprocess.Popen[bytes] | None = None
    probes: int = 0
    flags: tuple[str, ...] = ("--dev",)
    through: str = ""
    """Another way to the API server."""
    namespaces: str = ""
    """Where to work; empty for every namespace."""
    program: tuple[str, ...] = ("-m", "edgesmith.controller")
    """What Python is asked to run."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings in place of the usual ones."""

    def environment(self) -> dict[str, str]:
        """What it is told."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("EDGESMITH_")},
            "KUBECONFIG": str(self.server.kubeconfig(self.token, address=self.through)),
            "EDGESMITH_RUNTIME_IMAGES": json.dumps({"onnxruntime": f"{self.registry}/edgesmith/runtime@{DIGEST}"}),
            "EDGESMITH_BUILDER_IMAGE": f"{self.registry}/edgesmith/builder@{DIGEST}",
            "EDGESMITH_REPOSITORY": f"{self.registry}/models",
            "EDGESMITH_PLAIN_HTTP": "true",
            "EDGESMITH_NAMESPACE": self.namespace,
            "EDGESMITH_NAMESPACES": self.namespaces,
            "EDGESMITH_POD_NAME": self.pod,
            "EDGESMITH_PROBE_PORT": str(self.probes),
            "EDGESMITH_LOG_LEVEL": "info",
            "EDGESMITH_NODE_GRACE_SECONDS": "0",
            **self.settings,
        }

    def start(self) -> None:
        """Start it; its log goes on where it was."""
        (self.probes,) = free_ports(1)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*ENDS_WITH_US, sys.executable, *self.program, *self.flags],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self.process = None
        return code

    def ask(self, path: str) -> tuple[int, str]:
        """What a probe is answered; status 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.probes}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_ready(self) -> None:
        """Wait until it is at work."""

        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            return self.ask("/readyz")[0] == 200

        wait_for(f"the operator is ready; its log is {self.log}", ready)

    def number(self, metric: str) -> float:
        """One metric, over all its labels."""
        lines = self.ask("/metrics")[1].splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{metric} ", f"{metric}{{")))

    def wait_for_passes(self, more: int = 1) -> None:
        """Wait until this many passes more have ended."""
        wanted = self.number("edgesmith_passes_total") + more
        wait_for(f"{more} passes more", lambda: self.number("edgesmith_passes_total") >= wanted)

    def wait_idle(self) -> None:
        """Wait until every pass has ended with nothing changed."""

        def idle() -> bool:
            before = self.ask("/metrics")[1]
            return 'edgesmith_passes_total{result="unchanged"} 0' not in before and self.log_is_quiet()

        wait_for("the operator has nothing more to change", idle)

    def log_is_quiet(self, seconds: float = 1.5) -> bool:
        """Whether it has changed nothing for a while."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        last = max((line["time"] for line in lines if line["message"].startswith("changed")), default="")
        age = (datetime.now(UTC) - datetime.fromisoformat(last)).total_seconds() if last else seconds
        return age >= seconds


@contextlib.contextmanager
def registry(programs: Path, folder: Path) -> Iterator[str]:
    """A real registry while the block runs; its HOST:PORT."""
    (port,) = free_ports(1)
    config = folder / "registry.yml"
    config.write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'images'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
        "log: {level: error}\n"
    )
    with running_program([programs / "registry", "serve", config], folder / "registry.log"):
        wait_for("the registry answers", lambda: _answers(f"http://127.0.0.1:{port}/v2/"))
        yield f"127.0.0.1:{port}"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own registry
            return bool(answer.status == 200)
    except OSError:
        return False


def condition(server: ApiServer, namespace: str, name: str, kind: str) -> Object | None:
    """A condition of an EdgeModel."""
    model = server.get("edgemodels", name, namespace) or {}
    conditions = (model.get("status") or {}).get("conditions") or []
    return next((found for found in conditions if found["type"] == kind), None)


def wait_condition(
    server: ApiServer, namespace: str, name: str, kind: str, reason: str, *, seconds: float = PATIENCE
) -> Object:
    """A condition once it has this reason."""

    def check() -> Object | None:
        found = condition(server, namespace, name, kind)
        return found if found and found["reason"] == reason else None

    return wait_for(f"{kind} of {name} has the reason {reason}", check, seconds)
