"""The stage on kind, for machines that have Docker: `make demo CLUSTER=kind`."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path

from edgesmith_stage.bucket import Bucket
from edgesmith_stage.errors import StageError
from edgesmith_stage.ground import Ground
from edgesmith_stage.kube import Kube
from edgesmith_stage.shell import ROOT, run

NAME = "edgesmith"
REGISTRY = "edgesmith-registry"
BUCKET = "edgesmith-bucket"


def up() -> Ground:
    """A kind cluster from `kind-config.yaml`, with a registry and MinIO as containers on its network.

    Raises:
        StageError: Docker, kind, kubectl or helm is not installed.
    """
    missing = [program for program in ("docker", "kind", "kubectl", "helm") if not shutil.which(program)]
    if missing:
        raise StageError(f"CLUSTER=kind needs {', '.join(missing)} on PATH; without Docker, use CLUSTER=local")
    if NAME not in run(["kind", "get", "clusters"]).split():
        run(["kind", "create", "cluster", "--name", NAME, "--config", ROOT / "kind-config.yaml"], show=True)
    kubeconfig = ROOT / ".cache/kind.kubeconfig"
    kubeconfig.parent.mkdir(exist_ok=True)
    run(["kind", "export", "kubeconfig", "--name", NAME, "--kubeconfig", kubeconfig])
    _container(REGISTRY, "5000", ["registry:2"])
    _trust_registry(f"{_address(REGISTRY)}:5000")
    keys = _keys()
    _container(
        BUCKET,
        "9000",
        ["-e", f"MINIO_ROOT_USER={keys[0]}", "-e", f"MINIO_ROOT_PASSWORD={keys[1]}", "minio/minio", "server", "/data"],
    )
    return Ground(
        kube=Kube(kubeconfig),
        helm="helm",
        registry=f"{_address(REGISTRY)}:5000",
        plain_http=True,
        bucket=Bucket(f"http://{_address(BUCKET)}:9000", *keys),
        name="kind",
    )


def _trust_registry(registry: str) -> None:
    """Tell each node's containerd that the registry speaks plain HTTP; it reads this file at each pull."""
    folder = f"/etc/containerd/certs.d/{registry}"
    hosts = f'server = "http://{registry}"\n'
    for node in run(["kind", "get", "nodes", "--name", NAME]).split():
        write = f"mkdir -p {folder} && cat > {folder}/hosts.toml"
        run(["docker", "exec", "-i", node, "sh", "-c", write], stdin=hosts)


def _container(name: str, port: str, words: list[str]) -> None:
    if name not in run(["docker", "ps", "--format", "{{.Names}}"]).split():
        run(["docker", "rm", "-f", name])
        run(["docker", "run", "-d", "--name", name, "--network", "kind", "--expose", port, *words], show=True)


def _address(container: str) -> str:
    networks = json.loads(run(["docker", "inspect", container]))[0]["NetworkSettings"]["Networks"]
    address: str = networks["kind"]["IPAddress"]
    return address


def _keys() -> tuple[str, str]:
    """MinIO's keys, kept beside the kubeconfig so that a second run finds the same."""
    file = Path(ROOT / ".cache/kind.keys")
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(f"edgesmith {secrets.token_hex(16)}")
    user, password = file.read_text().split()
    return user, password
