"""Containers of pods as real processes on this machine, for a test in which models are built, served and trained.

`Kubelets` says that a pod runs; this runs what it holds, with its arguments, variables and Secrets, and says how that
ended.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import subprocess
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apiserver import ApiServer, Object
from kubelets import container_status
from processes import ENDS_WITH_US
from pulled import pulled

from edgesmith.api.names import (
    BUILDER,
    COMPONENT_LABEL,
    REPORTER,
    REPORTS_LABEL,
    REQUEST_ANNOTATION,
    RETRAINING,
    RETRAINING_LABEL,
    REVISION_LABEL,
    SERVER,
)

ROOT = Path(__file__).resolve().parents[2]
RUN = (SERVER, REPORTER, RETRAINING, BUILDER)
"""What is run of pods; the others do nothing."""
TRAINER = ROOT / "tests/services/trainer.py"


def in_thread(work: Coroutine[Any, Any, Path]) -> Path:
    """What a coroutine returns, for those who are called from an event loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@dataclass
class Running:
    """One container's process."""

    pod: Object
    process: subprocess.Popen[bytes]
    folder: Path
    port: int = 0


@dataclass
class RunningPods:
    """The processes of a namespace's pods; call `step` again and again."""

    server: ApiServer
    namespace: str
    folder: Path
    model: str
    running: dict[str, Running] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    bundles: dict[str, Path] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    trained: list[str] = field(default_factory=list)
    """Names of the pods of Jobs that trained."""

    def step(self) -> None:
        """Start what is to run, end what is gone, and say what ended."""
        pods = {pod["metadata"]["uid"]: pod for pod in self.server.items("pods", self.namespace)}
        for uid in [uid for uid in self.running if uid not in pods]:
            self._end(self.running.pop(uid))
        for uid, pod in pods.items():
            if pod["status"]["phase"] != "Running" or uid in self.ended or self._component(pod) not in RUN:
                continue
            one = self.running.get(uid)
            if one is None:
                self._start(uid, pod)
            elif one.process.poll() is not None:
                self._say_ended(uid, self.running.pop(uid))

    @property
    def serving(self) -> Running | None:
        """A server that has said where it listens; the newest one."""
        found = [one for one in self.running.values() if self._component(one.pod) == SERVER]
        for one in reversed(found):
            log = (one.folder / "log").read_text()
            if '"ready"' in log and (port := re.search(r'"http_port": (\d+)', log)):
                one.port = int(port[1])
                return one
        return None

    def stop(self) -> None:
        """End every process."""
        for one in self.running.values():
            self._end(one)

    def _component(self, pod: Object) -> str:
        return str(pod["metadata"]["labels"].get(COMPONENT_LABEL, ""))

    def _tells(self, pod: Object) -> bool:
        """Whether it sends an event."""
        return bool(pod["metadata"]["labels"].get(RETRAINING_LABEL) == "event")

    def _start(self, uid: str, pod: Object) -> None:
        component, container = self._component(pod), pod["spec"]["containers"][0]
        folder = self.folder / f"{component}-{uid}-{self.restarts.get(uid, 0)}"
        folder.mkdir()
        log, words = str(folder / "end"), list(container.get("args", ()))
        named = self._variables(container)
        if component == SERVER:
            words = ["-m", "edgesmith_runtime", *words, "--bundle", str(self._bundle(container["image"]))]
            words += ["--host", "127.0.0.1", "--http-port", "0", "--grpc-port", "0", "--accept-seconds", "0"]
            words += ["--termination-log", log]
            named["EDGESMITH_NOTES"] = str(folder)
        elif component == REPORTER:
            serving = self._of_revision(pod["metadata"]["labels"][REPORTS_LABEL])
            if serving is None:
                folder.rmdir()
                return
            notes = self.folder / f"notes-{uid}"
            notes.mkdir(exist_ok=True)
            words = ["-m", "edgesmith_runtime", *words, "--bundle", str(self._bundle(container["image"]))]
            words += ["--every-seconds", "0.5", "--termination-log", log, "--notes", str(notes)]
            prefix = self.model.upper()
            named |= {f"{prefix}_SERVICE_HOST": "127.0.0.1", f"{prefix}_SERVICE_PORT_HTTP": str(serving.port)}
        elif self._tells(pod):
            words = ["-m", "edgesmith_builder", *words]
        elif component == RETRAINING:
            words = [str(TRAINER)]
            named |= self._account(pod, folder)
        else:
            (folder / "request.json").write_text(pod["metadata"]["annotations"][REQUEST_ANNOTATION])
            (folder / "work").mkdir()
            words = ["-m", "edgesmith_builder", "--request", str(folder / "request.json"), "--threads", "1"]
            words += ["--termination-log", log, "--work", str(folder / "work")]
        with (folder / "log").open("wb") as output:
            process = subprocess.Popen(
                [*ENDS_WITH_US, sys.executable, *words],
                env={**os.environ, "PYTHONUNBUFFERED": "1", **named},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.running[uid] = Running(pod, process, folder)

    def _of_revision(self, revision: str) -> Running | None:
        one = self.serving
        return one if one and one.pod["metadata"]["labels"][REVISION_LABEL] == revision else None

    def _bundle(self, image: str) -> Path:
        if image not in self.bundles:
            self.bundles[image] = in_thread(pulled(image, self.folder / f"image-{len(self.bundles)}"))
        return self.bundles[image]

    def _variables(self, container: Object) -> dict[str, str]:
        """A container's variables, those of Secrets among them."""

        def of(secret: str) -> dict[str, str]:
            found = self.server.get("secrets", secret, self.namespace) or {}
            return {key: base64.b64decode(value).decode() for key, value in found.get("data", {}).items()}

        named: dict[str, str] = {}
        for one in container.get("envFrom", ()):
            named |= of(one["secretRef"]["name"])
        for one in container.get("env", ()):
            if "value" in one:
                named[one["name"]] = one["value"].replace("$$(", "$(")
            elif reference := one.get("valueFrom", {}).get("secretKeyRef"):
                value = of(reference["name"]).get(reference["key"])
                named |= {one["name"]: value} if value is not None else {}
        return named

    def _account(self, pod: Object, folder: Path) -> dict[str, str]:
        """What a kubelet mounts of a ServiceAccount, where the pod wants it."""
        assert pod["spec"]["automountServiceAccountToken"] is True
        token = self.server.kubectl("create", "token", pod["spec"]["serviceAccountName"], "-n", self.namespace)
        (folder / "token").write_text(token.strip())
        (folder / "ca.crt").write_bytes((self.server.folder / "certificates/apiserver.crt").read_bytes())
        host, port = self.server.address.removeprefix("https://").split(":")
        return {"ACCOUNT": str(folder), "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}

    def _say_ended(self, uid: str, one: Running) -> None:
        metadata, component = one.pod["metadata"], self._component(one.pod)
        code = one.process.returncode
        words = (one.folder / "end").read_text() if (one.folder / "end").exists() else ""
        terminated = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "message": words[-4096:]}
        name = one.pod["spec"]["containers"][0]["name"]
        log = (one.folder / "log").read_text()
        assert code == 0, f"{metadata['name']} ended with {code}: {log[-3000:]}"
        if component == REPORTER:
            self.restarts[uid] = self.restarts.get(uid, 0) + 1
            status = container_status(name, ready=True, state={"running": {}})
            status |= {"lastState": {"terminated": terminated}, "restartCount": self.restarts[uid]}
            phase = "Running"
        else:
            self.ended.add(uid)
            status, phase = container_status(name, state={"terminated": terminated}), "Succeeded"
            self.trained += [metadata["name"]] if component == RETRAINING and not self._tells(one.pod) else []
        said = {"status": {"phase": phase, "containerStatuses": [status]}}
        self.server.patch("pods", metadata["name"], said, self.namespace, "status")

    def _end(self, one: Running) -> None:
        one.process.kill()
        one.process.wait()
