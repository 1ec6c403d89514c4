"""Kubeconfigs, written as JSON, which is YAML too."""

import base64
import json
from pathlib import Path

from edgesmith_cluster.certificates import Certificate


def _embed(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def render(*, cluster: str, server: str, authority: Path, user: str, certificate: Certificate) -> str:
    """Return a kubeconfig that holds its certificates itself, so that it can be copied anywhere.

    Args:
        cluster: the name the context gets.
        server: the API server's address.
        authority: the certificate that signed the server's.
        user: the name of the user's entry; who it is says the certificate.
        certificate: the user's.
    """
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": cluster,
        "clusters": [
            {"name": cluster, "cluster": {"server": server, "certificate-authority-data": _embed(authority)}},
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": _embed(certificate.file),
                    "client-key-data": _embed(certificate.key),
                },
            },
        ],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
    }
    return json.dumps(content, indent=2) + "\n"


def write(file: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(text)
