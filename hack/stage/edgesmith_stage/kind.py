"""The stage on kind, for machines that have Docker: `make demo CLUSTER=kind`."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from edgesmith_stage.bucket import Bucket
from edgesmith_stage.errors import StageError
from edgesmith_stage.ground import Ground, cluster
from edgesmith_stage.kube import Kube
from edgesmith_stage.shell import ROOT, run

NAME = "edgesmith"
REGISTRY = "edgesmith-registry"
BUCKET = "edgesmith-bucket"

KEPT = ROOT / ".cache/kind"
"""The kubeconfig, MinIO's keys and the contexts that the two images are built from. It is made before anything else and
removed last: without it, nothing that goes by our names is ours."""

_REGISTRY_CONFIG = {
    "version": "0.1",
    "storage": {"filesystem": {"rootdirectory": "/data"}, "delete": {"enabled": True}},
    "http": {"addr": ":5000"},
}


def up() -> Ground:
    """A kind cluster from `kind-config.yaml`, with a registry and MinIO as containers on its network.

    Raises:
        StageError: Docker, kind, kubectl or helm is not installed, or what goes by our names was not made here.
    """
    _check("docker", "kind", "kubectl", "helm")
    _leave_alone()
    KEPT.mkdir(parents=True, exist_ok=True)
    if NAME not in run(["kind", "get", "clusters"]).split():
        run(["kind", "create", "cluster", "--name", NAME, "--config", ROOT / "kind-config.yaml"], show=True)
    kubeconfig = KEPT / "kubeconfig"
    run(["kind", "export", "kubeconfig", "--name", NAME, "--kubeconfig", kubeconfig])
    compiled = Path(cluster("tools").strip())
    user, password = _keys()
    _container(
        REGISTRY,
        compiled / "registry",
        ["serve", "/config.json"],
        {"OTEL_TRACES_EXPORTER": "none"},
        {"config.json": _REGISTRY_CONFIG},
    )
    _trust_registry(f"{_address(REGISTRY)}:5000")
    _container(
        BUCKET,
        compiled / "minio",
        ["server", "/data"],
        {"MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password, "MINIO_BROWSER": "off", "MINIO_UPDATE": "off"},
    )
    return Ground(
        kube=Kube(kubeconfig),
        helm="helm",
        registry=f"{_address(REGISTRY)}:5000",
        plain_http=True,
        bucket=Bucket(f"http://{_address(BUCKET)}:9000", user, password),
        name="kind",
        hub=True,
    )


def down() -> None:
    """Remove the cluster, both containers, their images and what was kept for them.

    Raises:
        StageError: Docker or kind is not installed, or what goes by our names was not made here.
    """
    _check("docker", "kind")
    _leave_alone()
    run(["kind", "delete", "cluster", "--name", NAME], show=True)
    for container in (REGISTRY, BUCKET):
        run(["docker", "rm", "--force", "--volumes", container])
        run(["docker", "image", "rm", "--force", container])
    shutil.rmtree(KEPT, ignore_errors=True)


def _leave_alone() -> None:
    """See that nothing goes by our names that was not made here; a cluster of somebody's may.

    Raises:
        StageError: Something does.
    """
    if KEPT.exists():
        return
    clusters = run(["kind", "get", "clusters"]).split()
    containers = run(["docker", "ps", "--all", "--format", "{{.Names}}"]).split()
    others = [f"the kind cluster {NAME}"] if NAME in clusters else []
    others += [f"the container {name}" for name in (REGISTRY, BUCKET) if name in containers]
    if others:
        raise StageError(f"{' and '.join(others)} was not made by the demo of this checkout, which leaves it alone")


def _check(*programs: str) -> None:
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        raise StageError(f"CLUSTER=kind needs {', '.join(missing)} on PATH; without Docker, use CLUSTER=local")


def _trust_registry(registry: str) -> None:
    """Tell each node's containerd that the registry speaks plain HTTP; it reads this file at each pull."""
    folder = f"/etc/containerd/certs.d/{registry}"
    hosts = f'server = "http://{registry}"\n'
    for node in run(["kind", "get", "nodes", "--name", NAME]).split():
        write = f"mkdir -p {folder} && cat > {folder}/hosts.toml"
        run(["docker", "exec", "-i", node, "sh", "-c", write], stdin=hosts)


def _container(
    name: str,
    program: Path,
    words: Sequence[str],
    environment: dict[str, str],
    files: dict[str, object] | None = None,
) -> None:
    """Run a program that was compiled here in a container of its own, on kind's network, unless it runs already."""
    if name in run(["docker", "ps", "--format", "{{.Names}}"]).split():
        return
    context = KEPT / name
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    shutil.copy(program, context)
    for file, content in (files or {}).items():
        (context / file).write_text(json.dumps(content))
    copied = " ".join([program.name, *(files or {})])
    (context / "Dockerfile").write_text(f'FROM scratch\nCOPY {copied} /\nENTRYPOINT ["/{program.name}"]\n')
    run(["docker", "build", "--quiet", "--tag", name, context], show=True)
    run(["docker", "rm", "--force", name])
    # By name only, so that no value stands in the list of processes.
    given = [word for variable in environment for word in ("--env", variable)]
    run(
        ["docker", "run", "--detach", "--name", name, "--network", "kind", "--volume", "/data", *given, name, *words],
        env=environment,
    )


def _address(container: str) -> str:
    networks = json.loads(run(["docker", "inspect", container]))[0]["NetworkSettings"]["Networks"]
    address: str = networks["kind"]["IPAddress"]
    return address


def _keys() -> tuple[str, str]:
    """MinIO's keys, kept beside the kubeconfig so that a second run finds the same."""
    file = Path(KEPT / "keys")
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(f"edgesmith {secrets.token_hex(16)}")
    user, password = file.read_text().split()
    return user, password
