"""What goes wrong on edge nodes and on the hub: machines that a model takes down, bad storage, a killed operator."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from edgesmith.resources.resolve_job import RESOLVE
from edgesmith_cluster import processes, sandbox, storage, tools
from edgesmith_cluster.cgroups import path
from edgesmith_cluster.controlplane import NAME as CONTROL_PLANE
from edgesmith_cluster.state import Folder, read_record
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground

MODEL = "model/model.onnx"
"""The model's place in a variant image."""
_SNAPSHOTS = "lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots"
_LOOKS = 0.05
"""Seconds between two looks at a node: a server takes several times as long to start."""


class Fault:
    """Something that goes on in a thread while the block runs, at least once, however short the block is.

    What ends it early is raised at the block's end.
    """

    def __init__(self, every: float = _LOOKS) -> None:
        self._every = every
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(60)
        if self._failure and not any(exc):
            raise self._failure

    def _run(self) -> None:
        try:
            self.step()
            while not self._stop.wait(self._every):
                self.step()
        except BaseException as error:  # noqa: BLE001 - handed to the test, which raises it
            self._failure = error

    def step(self) -> None:
        """Do what is due."""
        raise NotImplementedError


class PoisonPill(Fault):
    """Takes the power of each node as soon as a server starts there with a model that no node ran before.

    Attributes:
        lost: the nodes that went down, in order.
    """

    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self._fleet = fleet
        self._harmless = {model for _, model in _servers(fleet)}
        self.lost: list[str] = []

    def step(self) -> None:
        """Take down the nodes that run another model."""
        for node, model in _servers(self._fleet):
            if model not in self._harmless:
                self._fleet.off(node)
                self.lost.append(node)


class BadStorage(Fault):
    """Storage of one node on which a bit of every model that is written there is wrong, until the block ends."""

    def __init__(self, fleet: Fleet, node: str) -> None:
        super().__init__()
        self._snapshots = Folder(fleet.ground.name).node(node) / _SNAPSHOTS
        self._good = set(self._models())
        self.spoilt: set[Path] = set()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        for file in self.spoilt:
            if file.exists():
                _flip(file)

    def step(self) -> None:
        """Spoil what is new."""
        for file in self._models():
            if file not in self._good | self.spoilt and file.stat().st_size:
                _flip(file)
                self.spoilt.add(file)

    def _models(self) -> Iterator[Path]:
        yield from self._snapshots.glob(f"*/fs/{MODEL}")


class OperatorKilled(Fault):
    """Kills the operator at random moments, so often and no more: it takes seconds to start, and is to come to an end.

    Attributes:
        kills: how often.
    """

    def __init__(self, fleet: Fleet, chance: float = 0.12, most: int = 6) -> None:
        super().__init__(every=0.5)
        self._fleet = fleet
        self._chance = chance
        self._most = most
        self._dice = random.Random(7)  # noqa: S311 - moments, not secrets
        self.kills = 0

    def step(self) -> None:
        """Kill it, if the dice say so."""
        if self.kills < self._most and self._dice.random() < self._chance:
            self.kills += kill_operator(self._fleet)


class Watched(Fault):
    """Looks at something again and again.

    Attributes:
        seen: the distinct things that were seen, in order.
    """

    def __init__(self, look: Callable[[], str], every: float = 0.5) -> None:
        super().__init__(every)
        self._look = look
        self.seen: list[str] = []

    def step(self) -> None:
        """Look once more."""
        found = self._look()
        if found not in self.seen:
            self.seen.append(found)


class SelfTestKilled(Fault):
    """Kills the first self-test of a precision that runs on a node, as the kernel does where memory is short.

    Attributes:
        kills: how often.
    """

    def __init__(self, fleet: Fleet, node: str, precision: str) -> None:
        super().__init__()
        self._group = path(fleet.ground.name, node)
        self._precision = precision
        self.kills = 0

    def step(self) -> None:
        """Kill it, once."""
        for process in processes.everything():
            ours = "selftest" in process.arguments and f"{self._group}/" in _cgroups(process.pid)
            if ours and not self.kills and self._bundled(process.pid) == self._precision:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
                    self.kills += 1

    def _bundled(self, pid: int) -> str:
        try:
            bundle = json.loads(Path(f"/proc/{pid}/root/model/bundle.json").read_text())
        except OSError:
            return ""  # it has ended, or has not changed to its own root yet
        return str(bundle["precision"])


class Signalled(Fault):
    """Sends processes a signal, each once. Those that are stopped, and left, go on after the block.

    Attributes:
        found: what it was sent to.
        places: the cgroups of those: a program that is two processes has one of a container.
    """

    def __init__(self, picks: Callable[[processes.Process], bool], sent: signal.Signals) -> None:
        super().__init__()
        self._picks = picks
        self._sent = sent
        self.found: list[processes.Process] = []
        self.places: set[str] = set()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        for process in self.found:
            process.send(signal.SIGCONT)

    def step(self) -> None:
        """Send it to what is new."""
        for process in processes.everything():
            if process not in self.found and self._picks(process):
                if place := _cgroups(process.pid):
                    self.places.add(place)
                process.send(self._sent)
                self.found.append(process)


def runs_self_test_on(fleet: Fleet, node: str) -> Callable[[processes.Process], bool]:
    """Whether a process is a self-test on a node."""
    group = f"{path(fleet.ground.name, node)}/"
    return lambda process: "selftest" in process.arguments and group in _cgroups(process.pid)


def builds(uri: str) -> Callable[[processes.Process], bool]:
    """Whether a process builds what lies at a URI; the builder looks at files, too."""

    def picks(process: processes.Process) -> bool:
        words = process.arguments
        if "edgesmith_builder" not in words or "--request" not in words or RESOLVE in words:
            return False
        try:
            request = Path(f"/proc/{process.pid}/root{words[words.index('--request') + 1]}").read_text()
        except OSError:
            return False  # it has ended
        return uri in request

    return picks


class ServerKilled(Fault):
    """Kills the server of a pod, each time that it is started.

    Attributes:
        kills: how often.
    """

    def __init__(self, pod_uid: str, program: str) -> None:
        super().__init__()
        self._pod = f"/pod{pod_uid}/"
        self._program = program
        self.kills = 0

    def step(self) -> None:
        """Kill it, where it runs."""
        for process in processes.everything():
            if process.arguments[:1] == (self._program,) and self._pod in _cgroups(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
                    self.kills += 1


@contextmanager
def registry_down(fleet: Fleet) -> Iterator[None]:
    """The registry is killed, for nodes, builds and operator alike, and starts again when the block ends."""
    record, machine = read_record(fleet.ground.name), sandbox.find(fleet.ground.name, CONTROL_PLANE)
    assert record is not None
    assert machine is not None
    (running,) = [process for process in machine.members() if process.name == "registry"]
    running.send(signal.SIGKILL)
    try:
        yield
    finally:
        storage.start_registry(record, machine, tools.binaries())


@contextmanager
def spoilt_blob(fleet: Fleet, digest: str) -> Iterator[None]:
    """The registry's storage has a wrong bit in a blob, until the block ends."""
    algorithm, _, digits = digest.partition(":")
    blobs = Folder(fleet.ground.name).control_plane / "registry/docker/registry/v2/blobs"
    file = blobs / algorithm / digits[:2] / digits / "data"
    _flip(file)
    try:
        yield
    finally:
        _flip(file)


def kill_operator(fleet: Fleet) -> int:
    """SIGKILL the operator's process inside the test cluster's hub; the number of processes killed."""
    killed = 0
    for pid in operators(fleet.ground.name):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


def node_images(ground: Ground, node: str) -> list[str | Path]:
    """The command line of `ctr images` for a node's containerd."""
    tool = Path(str(ground.kube.kubectl)).parent / "ctr"
    socket = Folder(ground.name).node(node) / "run/containerd/containerd.sock"
    return [tool, "--address", socket, "--namespace", "k8s.io", "images"]


def operators(cluster: str) -> list[int]:
    """The operator's processes inside a cluster."""
    ours = [one.pid for one in processes.everything() if "edgesmith.controller" in one.arguments]
    return [pid for pid in ours if f"/{cluster}/" in _cgroups(pid)]


def _servers(fleet: Fleet) -> list[tuple[str, str]]:
    """The node and the model's digest of every server that runs on the edge nodes."""
    found = []
    groups = {path(fleet.ground.name, node): node for node in fleet.ground.edges}
    for process in processes.everything():
        if "serve" not in process.arguments or "--bundle" not in process.arguments:
            continue
        own = _cgroups(process.pid)
        node = next((node for group, node in groups.items() if f"{group}/" in own), None)
        try:
            content = Path(f"/proc/{process.pid}/root/model/{MODEL.rpartition('/')[2]}").read_bytes()
        except OSError:
            continue  # it has ended, or has not changed to its own root yet
        if node:
            found.append((node, hashlib.sha256(content).hexdigest()))
    return found


def _cgroups(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""


def _flip(file: Path) -> None:
    """Turn one bit in the middle of a file around."""
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        (byte,) = opened.read(1)
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte ^ 1]))
