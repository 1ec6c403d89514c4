"""Requests to an EdgeModel's Service from every node at once, all the time, and how many of them were not answered.

Each node has a process of its own in its network, so that a request takes the way that one of a pod there would take:
the Service's address, the node's own kube-proxy, the server of that node. Each request has a connection of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np

from edgesmith_cluster import network
from edgesmith_stage import surface
from edgesmith_stage.errors import StageError
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.shell import run

EVERY_SECONDS = 0.05
TIMEOUT_SECONDS = 2.0

_SCRIPT = """
import itertools, pathlib, sys, time, urllib.request
url, every, limit = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
for body in itertools.cycle([file.read_bytes() for file in sorted(pathlib.Path(sys.argv[4]).iterdir())]):
    began = time.time()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=limit) as answer:
            said = "ok" if answer.status == 200 and answer.read() else "empty"
    except Exception as error:
        said = repr(error).replace(chr(10), " ")
    print(began, time.time(), said, flush=True)
    time.sleep(max(0.0, began + every - time.time()))
"""

_ONCE = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], sys.stdin.buffer.read(), {"Content-Type": "application/json"})
print(urllib.request.urlopen(request, timeout=float(sys.argv[2])).read().decode())
"""


@dataclass(frozen=True)
class Answers:
    """What one node's requests came to."""

    asked: int
    lost: tuple[str, ...]
    """What was said of each request without an answer."""
    longest: float
    """Seconds between the ends of two answers, at most."""


class Load:
    """Requests from some nodes for as long as the context lasts."""

    def __init__(
        self,
        fleet: Fleet,
        name: str,
        nodes: Sequence[str],
        folder: Path,
        *bodies: str,
        every: float = EVERY_SECONDS,
        patience: float = TIMEOUT_SECONDS,
    ) -> None:
        """Make the generator; nothing is sent yet.

        Args:
            fleet: Where the EdgeModel is.
            name: The EdgeModel.
            nodes: From where to ask.
            folder: Where to keep what was answered; it is made.
            bodies: What to ask, in turns; a sample of the example where there is none.
            every: Seconds between the beginnings of a node's requests, where they are answered in less.
            patience: Seconds after which a request counts as not answered.
        """
        self._every, self._patience = every, patience
        self._url = _url(fleet, name)
        self._cluster, self._nodes = fleet.ground.name, tuple(nodes)
        self._folder = folder
        self._bodies = bodies or (_body(),)
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Begin."""
        folder = self._folder
        folder.mkdir()
        (folder / "bodies").mkdir()
        for number, body in enumerate(self._bodies):
            (folder / f"bodies/{number:04}").write_text(body)
        (folder / "load.py").write_text(_SCRIPT)
        for node in self._nodes:
            words = ["nsenter", f"--net={network.entry(self._cluster, node)}", sys.executable, str(folder / "load.py")]
            words += [self._url, str(self._every), str(self._patience), str(folder / "bodies")]
            with (folder / f"{node}.log").open("wb") as log:
                self._processes.append(subprocess.Popen(words, stdout=log))
        return self

    def __exit__(self, *_: object) -> None:
        """End; what was found stays."""
        for process in self._processes:
            process.kill()
            process.wait()

    def answers(self) -> dict[str, Answers]:
        """By node, what was found so far."""
        return {node: self._of(node) for node in self._nodes}

    def lost_before(self, node: str, moment: float) -> list[str]:
        """What was said of a node's requests without an answer that began before a moment, as `time.time` gives it."""
        return [said for began, _, said in self._rows(node) if said != "ok" and float(began) < moment]

    def first_after(self, node: str, moment: float) -> float | None:
        """Seconds from a moment, as `time.time` gives it, to the first answer on a node; None where none came yet."""
        ends = (float(end) for _, end, said in self._rows(node) if said == "ok")
        return next((end - moment for end in ends if end > moment), None)

    def _rows(self, node: str) -> list[list[str]]:
        lines = (self._folder / f"{node}.log").read_text().splitlines()
        return [line.split(" ", 2) for line in lines if line.count(" ") > 1]

    def _of(self, node: str) -> Answers:
        rows = self._rows(node)
        ends = [float(end) for _, end, said in rows if said == "ok"]
        pauses = [after - before for before, after in pairwise(ends)]
        return Answers(len(rows), tuple(said for *_, said in rows if said != "ok"), max(pauses, default=0.0))


def answer_on(fleet: Fleet, name: str, node: str) -> list[float]:
    """What the EdgeModel's Service answers a node to the example's first sample: the numbers of the first output.

    Raises:
        StageError: It does not answer there.
    """
    words = ["nsenter", f"--net={network.entry(fleet.ground.name, node)}", sys.executable, "-c", _ONCE]
    answer = json.loads(run([*words, _url(fleet, name), str(TIMEOUT_SECONDS)], stdin=_body(), timeout=60))
    return [float(number) for number in answer["outputs"][0]["data"]]


def _url(fleet: Fleet, name: str) -> str:
    """Where the EdgeModel's Service is asked for predictions."""
    service = fleet.ground.kube.get("service", name, fleet.namespace)
    if service is None:
        raise StageError(f"there is no Service {name} in namespace {fleet.namespace}")
    port = next(one["port"] for one in service["spec"]["ports"] if one["name"] == "http")
    return f"http://{service['spec']['clusterIP']}:{port}/v2/models/{name}/infer"


def _body() -> str:
    """One sample as the request of the open inference protocol."""
    inputs, _ = surface.samples(1)
    kinds = {np.dtype(np.float32): "FP32", np.dtype(np.uint8): "UINT8"}
    tensors = [
        {"name": name, "shape": list(value.shape), "datatype": kinds[value.dtype], "data": value.flatten().tolist()}
        for name, value in inputs.items()
    ]
    return json.dumps({"inputs": tensors})
