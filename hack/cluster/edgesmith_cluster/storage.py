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
from edgesmith_cluster.state import Record, read_record
from edgesmith_cluster.waiting import START_SECONDS, wait_until

# A registry that fetches from another asks it for its login once, at its start, and ends where it does not answer
# (distribution v3.1.2, registry/proxy/proxyauth.go). What restarts it at a site is systemd, or a kubelet.
_AGAIN = 'while :; do "$0" serve "$1"; sleep 1; done'


def registry_config(plan: Plan, data: Path, secret: str, upstream: Plan | None = None) -> dict[str, Any]:
    """Return the registry's configuration: plain HTTP, no password, manifests and blobs can be deleted.

    Args:
        plan: the cluster's addresses.
        data: where it keeps them.
        secret: what signs uploads in progress.
        upstream: the cluster from whose registry this one fetches what it is asked for, and keeps it.
    """
    proxy = {"remoteurl": f"http://{upstream.hub}:{REGISTRY_PORT}", "ttl": "0"} if upstream else None
    return {
        "version": "0.1",
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(data)}, "delete": {"enabled": True}},
        "http": {"addr": f"{plan.hub}:{REGISTRY_PORT}", "secret": secret},
        **({"proxy": proxy} if proxy else {}),
    }


def upstream(record: Record) -> Plan | None:
    """Return the addresses of the cluster that the uplink leads to; None without one, or where it is not there."""
    found = read_record(record.uplink) if record.uplink else None
    return found.plan if found else None


def start_registry(record: Record, machine: Machine, binaries: Path) -> Program:
    """Start the registry, a mirror of the upstream's where the cluster has an uplink.

    Raises:
        ClusterError: it does not start.
    """
    own, source = record.folder.control_plane, upstream(record)
    file, program = own / "registry.yaml", binaries / "registry"
    config = registry_config(record.plan, own / "registry", secrets.token_hex(16), source)
    kubeconfig.write(file, json.dumps(config, indent=2))
    return machine.start(
        "sh" if source else "registry",
        ["sh", "-c", _AGAIN, program, file] if source else [program, "serve", file],
        log=record.folder.logs / "registry.log",
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


def wait(plan: Plan, minio: Program, registry: Program | None) -> None:
    """Wait until MinIO answers, and the registry where it can.

    Raises:
        ClusterError: one ended or does not answer in time.
    """
    host = str(plan.hub)
    for name, port, path, program in (
        ("the registry", REGISTRY_PORT, "/v2/", registry),
        ("MinIO", MINIO_PORT, "/minio/health/ready", minio),
    ):
        if program is None:
            continue
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
