"""A web server on the hub, whose certificate is signed by an authority that only the chart names."""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from authority import Authority

from edgesmith_cluster import network
from edgesmith_cluster.plan import HUB
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground
from edgesmith_stage.shell import ROOT
from edgesmith_stage.waiting import until

PORT = 5443
TOKEN = "token-of-the-plant"  # noqa: S105 - nothing but this server takes it


@dataclass(frozen=True)
class WebServer:
    """Its address, and the folder that it serves."""

    host: str
    """`HOST:PORT`, as `HTTPS_HOST` of a Secret says it."""
    folder: Path

    def publish(self, fleet: Fleet, name: str, content: bytes) -> dict[str, Any]:
        """Put a model there, and return the spec's `source` for it: its Secret opens the bucket, too."""
        (self.folder / "files" / f"{name}.onnx").write_bytes(content)
        secret: dict[str, Any] = fleet.ground.bucket.secret("web-and-bucket")
        secret["stringData"] |= {"HTTPS_HOST": self.host, "HTTPS_TOKEN": TOKEN}
        fleet.ground.kube.apply(secret, namespace=fleet.namespace)
        return {
            "uri": f"https://{self.host}/{name}.onnx",
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "secretRef": {"name": "web-and-bucket"},
        }

    def answers(self) -> list[str]:
        """What it was asked and answered, in turn: `GET /series.onnx 200`."""
        return (self.folder / "log").read_text().splitlines()


@contextmanager
def web_server(ground: Ground, folder: Path) -> Iterator[WebServer]:
    """Run it in the hub's network."""
    assert ground.authority is not None
    address = ground.registry.rsplit(":", 1)[0]
    certificate, key = Authority(ground.authority.parent).sign("web", f"IP:{address}")
    shutil.copy(certificate, folder / "server.crt")
    shutil.copy(key, folder / "server.key")
    (folder / "token").write_text(TOKEN)
    (folder / "files").mkdir()
    enter = ["nsenter", f"--net={network.entry(ground.name, HUB)}", "setpriv", "--pdeathsig", "KILL"]
    program: list[str | Path] = [sys.executable, ROOT / "tests/services/tls_files.py", folder, address, str(PORT)]
    with (folder / "log").open("w") as log, (folder / "errors").open("w") as errors:
        process = subprocess.Popen([*enter, *program], stdout=log, stderr=errors)
    try:
        until(lambda: _listens(address), seconds=60, what="the web server to listen")
        yield WebServer(f"{address}:{PORT}", folder)
    finally:
        process.kill()
        process.wait(60)


def _listens(address: str) -> bool:
    try:
        socket.create_connection((address, PORT), timeout=2).close()
    except OSError:
        return False
    return True
