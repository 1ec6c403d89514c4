"""A real etcd and kube-apiserver on the loopback: no kubelet, no controllers, so that a test plays their part."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from edgesmith_cluster.tools import binaries

Object = dict[str, Any]
T = TypeVar("T")

PROGRAMS = ("etcd", "kube-apiserver", "kubectl")
ADMIN, KUBELET, NOBODY, OPERATOR = "admin-token", "kubelet-token", "nobody-token", "operator-token"
_USERS = (
    f"{ADMIN},admin,1,system:masters\n"
    f"{KUBELET},system:node:edge-1,2,system:nodes\n"
    f"{NOBODY},nobody,3,\n"
    # As the chart's ServiceAccount, so that the chart's own roles are what it may do.
    f"{OPERATOR},system:serviceaccount:edgesmith-system:edgesmith,4,\n"
)  # fmt: skip


def wait_for(what: str, check: Callable[[], T | None], seconds: float = 30.0) -> T:
    """What a check returns once that is something, or a failure that says what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s: {what}")
        time.sleep(0.05)


def tools() -> Path | None:
    """The folder with the compiled programs, or None."""
    if all((binaries() / program).exists() for program in PROGRAMS):
        return binaries()
    found = shutil.which("kube-apiserver")
    return Path(found).parent if found and all(shutil.which(program) for program in PROGRAMS) else None


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; all are taken at once, so that none comes twice."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclass(frozen=True)
class ApiServer:
    """A running API server."""

    address: str
    folder: Path
    programs: Path

    def kubeconfig(self, token: str = ADMIN, namespace: str = "default", address: str = "") -> Path:
        """A kubeconfig for one of the users; `address` is another way to the server."""
        path = self.folder / f"{token}-{namespace}{address.rpartition(':')[2]}.kubeconfig"
        cluster = {
            "server": address or self.address,
            "certificate-authority": str(self.folder / "certificates/apiserver.crt"),
        }
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user", "namespace": namespace}}],
            "current-context": "test",
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def kubectl(self, *words: str, document: Any = None, token: str = ADMIN, fails: bool = False) -> str:
        """What kubectl prints; its error where it is to fail."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig(token))}
        line = [str(self.programs / "kubectl"), *words]
        entered = None
        if document is not None:
            line += ["-f", "-"]
            entered = "---\n".join(
                yaml.safe_dump(one) for one in (document if isinstance(document, list) else [document])
            )
        done = subprocess.run(
            line, env=environment, input=entered, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode != 0) == fails, f"kubectl {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stderr if fails else done.stdout

    def apply(self, document: Any) -> None:
        """Apply objects, server side."""
        self.kubectl("apply", "--server-side", "--force-conflicts", document=document)

    def request(
        self, method: str, path: str, body: Any = None, content: str = "application/json", token: str = ADMIN
    ) -> Object | None:
        """One call; None for 404.

        Raises:
            AssertionError: Any other refusal, with the API server's words.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": content}
        request = urllib.request.Request(f"{self.address}{path}", data=data, headers=headers, method=method)  # noqa: S310 - our own API server
        context = ssl.create_default_context(cafile=str(self.folder / "certificates/apiserver.crt"))
        try:
            with urllib.request.urlopen(request, context=context, timeout=20) as answer:  # noqa: S310 - our own
                found: Object = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode()
            if error.code == 404:
                return None
            raise AssertionError(f"{method} {path}: {error.code} {said}") from error

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """One object; None where it is not there."""
        return self.request("GET", path_of(kind, namespace, name))

    def items(self, kind: str, namespace: str = "", labels: str = "") -> list[Object]:
        """All objects of a kind."""
        found = self.request("GET", path_of(kind, namespace) + f"?labelSelector={urllib.parse.quote(labels)}")
        return list(found["items"]) if found else []

    def create(self, kind: str, document: Object) -> Object:
        """Make an object."""
        made = self.request("POST", path_of(kind, document["metadata"].get("namespace", "")), document)
        assert made is not None, f"{kind} {document['metadata']['name']} could not be made"
        return made

    def patch(self, kind: str, name: str, patch: Object, namespace: str = "", subresource: str = "") -> None:
        """A merge patch."""
        path = path_of(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        found = self.request("PATCH", path, patch, "application/merge-patch+json")
        assert found is not None, f"{kind} {name} is not there"

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Delete an object at once."""
        self.request("DELETE", path_of(kind, namespace, name) + "?gracePeriodSeconds=0")


_GROUPS = {
    "edgemodels": "apis/edgesmith.dev/v1alpha1",
    "deviceprofiles": "apis/edgesmith.dev/v1alpha1",
    "jobs": "apis/batch/v1",
    "daemonsets": "apis/apps/v1",
    "leases": "apis/coordination.k8s.io/v1",
}


def path_of(kind: str, namespace: str = "", name: str = "") -> str:
    """The address of an object or a collection, by the kind's plural."""
    parts = [_GROUPS.get(kind, "api/v1"), *(["namespaces", namespace] if namespace else []), kind]
    return "/" + "/".join([*parts, *([name] if name else [])])


@contextlib.contextmanager
def running(folder: Path, programs: Path) -> Iterator[ApiServer]:
    """An API server of its own while the block runs.

    Raises:
        AssertionError: It did not start; the end of its log is in the message.
    """
    client_port, peer_port, port = free_ports(3)
    _keys(folder)
    (folder / "users.csv").write_text(_USERS)
    server = ApiServer(f"https://127.0.0.1:{port}", folder, programs)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_program([programs / "etcd", *_etcd(folder, client_port, peer_port)], folder / "etcd.log"))
        api = stack.enter_context(
            _program([programs / "kube-apiserver", *_api(folder, client_port, port)], folder / "kube-apiserver.log")
        )
        wait_for("the API server is ready", lambda: _ready(server, api, folder), 60)
        yield server


def _etcd(folder: Path, client: int, peer: int) -> list[str]:
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _api(folder: Path, etcd: int, port: int) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certificates'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        # Nobody here makes service accounts.
        "--disable-admission-plugins=ServiceAccount",
        f"--token-auth-file={folder / 'users.csv'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={folder / 'sa.pub'}",
        f"--service-account-signing-key-file={folder / 'sa.key'}",
        "--service-cluster-ip-range=10.96.0.0/24",
        "--profiling=false",
    ]


def _keys(folder: Path) -> None:
    key, public = str(folder / "sa.key"), str(folder / "sa.pub")
    curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(["openssl", "genpkey", *curve, "-out", key], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)


@contextlib.contextmanager
def _program(line: list[Any], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(line, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ready(server: ApiServer, process: subprocess.Popen[bytes], folder: Path) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"kube-apiserver ended: {(folder / 'kube-apiserver.log').read_text()[-2000:]}")
    if not (folder / "certificates/apiserver.crt").exists():
        return False
    headers = {"Authorization": f"Bearer {ADMIN}"}
    request = urllib.request.Request(f"{server.address}/readyz", headers=headers)  # noqa: S310 - our own API server
    context = ssl.create_default_context(cafile=str(folder / "certificates/apiserver.crt"))
    try:
        with urllib.request.urlopen(request, context=context, timeout=5) as answer:  # noqa: S310 - our own API server
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
