"""A second registry on the hub, one that wants a login."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from edgesmith_cluster import network
from edgesmith_cluster.node import hosts_config
from edgesmith_cluster.plan import HUB
from edgesmith_cluster.state import Folder
from edgesmith_stage.ground import Ground
from edgesmith_stage.waiting import until

PORT = 5001
USER, PASSWORD = "plant", "right-password"
HTPASSWD = "plant:$2b$04$AVu3DFdWrv9.2g1OlRuhrOFH62HBbPkuygneE5kk7LFnzqrEfTPsC"
"""bcrypt of the above."""


@dataclass(frozen=True)
class PrivateRegistry:
    """Its address, and the login to it."""

    address: str

    def secret(self, name: str) -> dict[str, Any]:
        """The Secret that `registry.pullSecret` and `registry.pushSecret` of the chart name."""
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": name},
            "stringData": {".dockerconfigjson": json.dumps({"auths": {self.address: {"auth": auth}}})},
        }


@contextmanager
def private_registry(ground: Ground, folder: Path) -> Iterator[PrivateRegistry]:
    """Run it in the hub's network, with every node configured for plain HTTP to it."""
    address = f"{ground.registry.rsplit(':', 1)[0]}:{PORT}"
    (folder / "htpasswd").write_text(f"{HTPASSWD}\n")
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": address},
        "auth": {"htpasswd": {"realm": "plant", "path": str(folder / "htpasswd")}},
    }
    (folder / "registry.json").write_text(json.dumps(config))
    for node in (HUB, *ground.edges):
        hosts = Folder(ground.name).node(node) / f"lib/edgesmith/certs.d/{address}/hosts.toml"
        hosts.parent.mkdir(parents=True, exist_ok=True)
        hosts.write_text(hosts_config(address))
    registry = Path(ground.helm).parent / "registry"
    enter = ["nsenter", f"--net={network.entry(ground.name, HUB)}", "setpriv", "--pdeathsig", "KILL"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*enter, registry, "serve", folder / "registry.json"],
            env={"OTEL_TRACES_EXPORTER": "none"},
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: _wants_login(address), seconds=60, what="the private registry to answer")
        yield PrivateRegistry(address)
    finally:
        process.terminate()
        process.wait(60)


def _wants_login(address: str) -> bool:
    try:
        urllib.request.urlopen(f"http://{address}/v2/", timeout=2)
    except urllib.error.HTTPError as error:
        return error.code == HTTPStatus.UNAUTHORIZED
    except OSError:
        return False
    return False
