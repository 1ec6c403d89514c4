"""The API server of a local cluster (`hack/cluster`), for what else talks to that of the api tier."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import urllib3
import yaml
from apiserver import ADMIN, ApiServer


@dataclass(frozen=True)
class LocalApiServer(ApiServer):
    """A local cluster's API server, asked as its administrator, who has a certificate and no token."""

    config: Any
    """The cluster's kubeconfig, which holds its certificates itself."""

    def kubeconfig(self, token: str = ADMIN, namespace: str = "default", address: str = "") -> Path:  # noqa: ARG002 - as the base has it
        """The cluster's kubeconfig, with a namespace."""
        contexts = [{**one, "context": {**one["context"], "namespace": namespace}} for one in self.config["contexts"]]
        path = self.folder / f"{namespace}.kubeconfig"
        path.write_text(yaml.safe_dump({**self.config, "contexts": contexts}))
        return path

    def _credentials(self, token: str) -> dict[str, str]:  # noqa: ARG002 - as the base has it
        return {}

    @cached_property
    def _connections(self) -> urllib3.PoolManager:
        (cluster,), (user,) = self.config["clusters"], self.config["users"]
        held = {**cluster["cluster"], **user["user"]}
        files = {}
        for name in ("certificate-authority", "client-certificate", "client-key"):
            files[name] = self.folder / f"{name}.pem"
            files[name].write_bytes(base64.b64decode(held[f"{name}-data"]))
        return urllib3.PoolManager(
            ca_certs=str(files["certificate-authority"]),
            cert_file=str(files["client-certificate"]),
            key_file=str(files["client-key"]),
            timeout=20.0,
            retries=urllib3.Retry(1, redirect=False),
        )


def local_apiserver(kubeconfig: Path, tools: Path, folder: Path) -> LocalApiServer:
    """The API server that a local cluster's kubeconfig names.

    Args:
        kubeconfig: The cluster's own.
        tools: The folder with the compiled programs.
        folder: Where to keep files.
    """
    config = json.loads(kubeconfig.read_text())
    return LocalApiServer(config["clusters"][0]["cluster"]["server"], folder, tools, config)
