"""A real kustomize-controller of Flux beside the API server, and a played source-controller that hands it revisions."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml
from apiserver import ApiServer, Object, wait_for
from ports import free_ports
from processes import running_program
from services import tool

_GROUPS = {
    "kustomizations": ("Kustomization", "kustomize.toolkit.fluxcd.io"),
    "gitrepositories": ("GitRepository", "source.toolkit.fluxcd.io"),
    "ocirepositories": ("OCIRepository", "source.toolkit.fluxcd.io"),
    "buckets": ("Bucket", "source.toolkit.fluxcd.io"),
}
"""What it reads; the last two only need to be there."""
NAME = "fleet"
"""Of the GitRepository and of the Kustomization."""


class _Artifacts(BaseHTTPRequestHandler):
    """Hands out the archives that its server has."""

    server: _Server

    def do_GET(self) -> None:
        """Answer with an archive."""
        content = self.server.archives.get(self.path)
        self.send_response(200 if content else 404)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the standard library
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    archives: dict[str, bytes]


@dataclass(frozen=True)
class Flux:
    """A running kustomize-controller with one Kustomization of one source."""

    server: ApiServer
    namespace: str
    artifacts: _Server

    def publish(self, revision: str, *documents: Object) -> None:
        """Be the source-controller: a revision of the repository with these objects is there."""
        content, path = _archive(documents), f"/{revision.rpartition(':')[2]}.tar.gz"
        self.artifacts.archives[path] = content
        artifact = {
            "path": path.lstrip("/"),
            "url": f"http://127.0.0.1:{self.artifacts.server_port}{path}",
            "revision": revision,
            "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
            "lastUpdateTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "size": len(content),
        }
        ready = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored"}
        ready["lastTransitionTime"] = str(artifact["lastUpdateTime"])
        status = {"status": {"artifact": artifact, "conditions": [ready], "observedGeneration": 1}}
        place = f"{_path('gitrepositories', self.namespace)}/{NAME}/status"
        assert self.server.request("PATCH", place, status, "application/merge-patch+json") is not None

    def status(self) -> Object:
        """What the Kustomization says."""
        found = self.server.request("GET", f"{_path('kustomizations', self.namespace)}/{NAME}") or {}
        status: Object = found.get("status") or {}
        return status

    def ready(self, revision: str) -> Object:
        """The Kustomization's condition Ready, as of a revision; empty where it has not tried that yet."""
        status = self.status()
        if status.get("lastAttemptedRevision") != revision:
            return {}
        return next((one for one in status.get("conditions") or [] if one["type"] == "Ready"), {})

    def wait(self, revision: str, status: str, reason: str, seconds: float = 60.0) -> Object:
        """Wait until a revision is so; the condition Ready then."""

        def check() -> Object | None:
            found = self.ready(revision)
            return found if (found.get("status"), found.get("reason")) == (status, reason) else None

        try:
            return wait_for(f"the Kustomization is {status} ({reason})", check, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{yaml.safe_dump(self.status())}") from None


@contextlib.contextmanager
def flux(server: ApiServer, namespace: str, folder: Path) -> Iterator[Flux]:
    """Flux while the block runs, with a Kustomization in a namespace that waits for what it applies."""
    server.apply([_crd(plural) for plural in _GROUPS])
    names = [f"{plural}.{group}" for plural, (_, group) in _GROUPS.items()]
    server.kubectl("wait", "crd", *names, "--for=condition=Established", "--timeout=30s")
    spec = {"interval": "1h", "retryInterval": "1h", "timeout": "3m", "path": "./", "prune": True, "wait": True}
    spec["sourceRef"] = {"kind": "GitRepository", "name": NAME}
    source = {"interval": "1h", "url": "https://git.example.com/fleet.git"}
    for plural, of in (("gitrepositories", source), ("kustomizations", spec)):
        kind, group = _GROUPS[plural]
        head = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": NAME, "namespace": namespace}}
        assert server.request("POST", _path(plural, namespace), {**head, "spec": of}) is not None
    metrics, health = free_ports(2)
    line: list[str | Path] = [tool("kustomize-controller"), "--no-remote-bases=true"]
    line += [f"--metrics-addr=127.0.0.1:{metrics}", f"--health-addr=127.0.0.1:{health}"]
    variables = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(server.kubeconfig()),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "RUNTIME_NAMESPACE": namespace,
    }
    with _serving() as artifacts, running_program(line, folder / "kustomize-controller.log", variables):
        yield Flux(server, namespace, artifacts)
        place = f"{_path('kustomizations', namespace)}/{NAME}"
        server.request("DELETE", place)
        wait_for("the Kustomization is gone", lambda: server.request("GET", place) is None, 60)
    server.kubectl("delete", "crd", *names, "--wait=false")


def _path(plural: str, namespace: str) -> str:
    return f"/apis/{_GROUPS[plural][1]}/v1/namespaces/{namespace}/{plural}"


def _crd(plural: str) -> Object:
    """One of Flux's kinds without its schema: its own controller needs none, and the test writes what is right."""
    kind, group = _GROUPS[plural]
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version: Object = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": free}}
    version["subresources"] = {"status": {}}
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _archive(documents: tuple[Object, ...]) -> bytes:
    """A repository as the source-controller stores it."""
    content, target = yaml.safe_dump_all(documents).encode(), io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        member = tarfile.TarInfo("models.yaml")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


@contextlib.contextmanager
def _serving() -> Iterator[_Server]:
    server = _Server(("127.0.0.1", 0), _Artifacts)
    server.archives = {}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
