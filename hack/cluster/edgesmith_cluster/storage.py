"""The registry and MinIO, on the hub's address."""

import functools
import http.client
import json
import secrets
from pathlib import Path
from typing import Any

from edgesmith_cluster import kubeconfig
from edgesmith_cluster.errors import tail
from edgesmith_cluster.plan import MINIO_PORT, REGISTRY_PORT, Plan
from edgesmith_cluster.sandbox import Machine, Program
from edgesmith_cluster.state import Folder, Record
from edgesmith_cluster.waiting import START_SECONDS, wait_until


def registry_config(plan: Plan, data: Path, secret: str) -> dict[str, Any]:
    """Return the registry's configuration: plain HTTP, no password, manifests and blobs can be deleted."""
    return {
        "version": "0.1",
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(data)}, "delete": {"enabled": True}},
        "http": {"addr": f"{plan.hub}:{REGISTRY_PORT}", "secret": secret},
    }


def start_registry(folder: Folder, plan: Plan, machine: Machine, binaries: Path) -> Program:
    """Start the registry.

    Raises:
        ClusterError: it does not start.
    """
    file = folder.control_plane / "registry.yaml"
    kubeconfig.write(
        file, json.dumps(registry_config(plan, folder.control_plane / "registry", secrets.token_hex(16)), indent=2)
    )
    return machine.start(
        "registry",
        [binaries / "registry", "serve", file],
        log=folder.logs / "registry.log",
        environment={"OTEL_TRACES_EXPORTER": "none"},  # it would look for a collector
    )


def start_minio(record: Record, machine: Machine, binaries: Path) -> Program:
    """Start MinIO.

    Raises:
        ClusterError: it does not start.
    """
    own = record.folder.control_plane
    data = own / "minio"
    data.mkdir(parents=True, exist_ok=True)
    address = f"{record.plan.hub}:{MINIO_PORT}"
    return machine.start(
        "minio",
        [binaries / "minio", "server", "--quiet", "--certs-dir", own / "minio-certs", "--address", address, data],
        log=record.folder.logs / "minio.log",
        environment={
            "MINIO_ROOT_USER": record.access_key,
            "MINIO_ROOT_PASSWORD": record.secret_key,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        },
    )


def wait(plan: Plan, registry: Program, minio: Program) -> None:
    """Wait until both answer.

    Raises:
        ClusterError: one ended or does not answer in time.
    """
    host = str(plan.hub)
    for name, port, path, program in (
        ("the registry", REGISTRY_PORT, "/v2/", registry),
        ("MinIO", MINIO_PORT, "/minio/health/ready", minio),
    ):
        wait_until(
            functools.partial(_answers, host, port, path),
            what=f"{name} (its log is {program.log})",
            seconds=START_SECONDS,
            check=program.check,
            why=functools.partial(tail, program.log),
        )


def _answers(host: str, port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
