"""A real control plane on the loopback: etcd, kube-apiserver, kube-controller-manager and kube-scheduler.

There is no kubelet, container runtime or network; `kubelets` plays the kubelets.
"""

from __future__ import annotations

import contextlib
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from apiserver import ADMIN, KUBELET, NOBODY, OPERATOR, ApiServer, wait_for
from ports import free_ports
from processes import running_program

from edgesmith_cluster.tools import binaries

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
_CONTROLLERS, _SCHEDULER = "controllers-token", "scheduler-token"
_USERS = (
    f"{ADMIN},admin,1,system:masters\n"
    f"{KUBELET},system:node:edge-1,2,system:nodes\n"
    f"{NOBODY},nobody,3,\n"
    # As the chart's ServiceAccount, so that the chart's own roles are what it may do.
    f"{OPERATOR},system:serviceaccount:edgesmith-system:edgesmith,4,\n"
    f"{_CONTROLLERS},system:kube-controller-manager,5,\n"
    f"{_SCHEDULER},system:kube-scheduler,6,\n"
)  # fmt: skip

CONTROLLERS = (
    "daemonset-controller",
    "deployment-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "node-lifecycle-controller",
    "pod-garbage-collector-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "serviceaccount-controller",
    "taint-eviction-controller",
    "ttl-after-finished-controller",
)
"""Those that act on what the operator makes or reads; the others would only cost time."""

NODE_GRACE = 8
"""Seconds without a heartbeat after which the node lifecycle controller calls a node NotReady."""


def tools() -> Path | None:
    """The folder with the compiled programs, or None."""
    if all((binaries() / program).exists() for program in PROGRAMS):
        return binaries()
    found = shutil.which("kube-apiserver")
    return Path(found).parent if found and all(shutil.which(program) for program in PROGRAMS) else None


@contextlib.contextmanager
def api_server(folder: Path, programs: Path, flags: Sequence[str] = ()) -> Iterator[ApiServer]:
    """An API server of its own while the block runs.

    Args:
        folder: Where it keeps its files.
        programs: The compiled programs.
        flags: More of kube-apiserver's.

    Raises:
        AssertionError: It did not start; the end of its log is in the message.
    """
    client_port, peer_port, port = free_ports(3)
    _keys(folder)
    (folder / "users.csv").write_text(_USERS)
    server = ApiServer(f"https://127.0.0.1:{port}", folder, programs)
    certificate, log = folder / "certificates/apiserver.crt", folder / "kube-apiserver.log"
    etcd: list[str | Path] = [programs / "etcd", *_etcd(folder, client_port, peer_port)]
    api: list[str | Path] = [programs / "kube-apiserver", *_api(folder, client_port, port), *flags]
    with running_program(etcd, folder / "etcd.log"), running_program(api, log) as process:

        def ready() -> bool:
            return certificate.exists() and _healthy(port, "/readyz", ssl.create_default_context(cafile=certificate))

        _wait("kube-apiserver", process, log, ready)
        yield server


@contextlib.contextmanager
def controllers(server: ApiServer, node_grace: int = NODE_GRACE) -> Iterator[None]:
    """The controllers and the scheduler at work while the block runs.

    Start them after every kind is served: the garbage collector looks for new kinds every 30 s only.

    Raises:
        AssertionError: One of them did not start; the end of its log is in the message.
    """
    with contextlib.ExitStack() as stack:
        started = []
        ports = free_ports(2)
        for port, (name, token, flags) in zip(ports, _controllers(node_grace), strict=True):
            log, config = server.folder / f"{name}.log", server.kubeconfig(token)
            line: list[str | Path] = [server.programs / name, f"--kubeconfig={config}", *_serving(config, port), *flags]
            started.append((name, stack.enter_context(running_program(line, log)), log, port))
        # They serve with a certificate that they made for themselves.
        trusting = ssl._create_unverified_context()  # noqa: S323 - loopback, and nothing is sent
        for name, process, log, port in started:
            _wait(name, process, log, partial(_healthy, port, "/healthz", trusting))
        yield


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
        f"--token-auth-file={folder / 'users.csv'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={folder / 'sa.pub'}",
        f"--service-account-signing-key-file={folder / 'sa.key'}",
        "--service-cluster-ip-range=10.96.0.0/24",
        "--profiling=false",
    ]


def _serving(config: Path, port: int) -> list[str]:
    return [
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--leader-elect=false",
        "--profiling=false",
    ]


def _controllers(node_grace: int) -> list[tuple[str, str, list[str]]]:
    """Each program's name, its token and the flags of its own."""
    manager = [
        f"--controllers={','.join(CONTROLLERS)}",
        # Each controller with the rights that it has in any cluster.
        "--use-service-account-credentials=true",
        f"--node-monitor-grace-period={node_grace}s",
        "--node-monitor-period=1s",
        "--resource-quota-sync-period=1s",
    ]
    return [("kube-controller-manager", _CONTROLLERS, manager), ("kube-scheduler", _SCHEDULER, [])]


def _keys(folder: Path) -> None:
    key, public = str(folder / "sa.key"), str(folder / "sa.pub")
    curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(["openssl", "genpkey", *curve, "-out", key], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)


def _wait(name: str, process: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool]) -> None:
    def check() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"{name} ended: {log.read_text()[-2000:]}")
        return ready()

    wait_for(f"{name} is ready; its log is {log}", check, 60)


def _healthy(port: int, path: str, context: ssl.SSLContext) -> bool:
    headers = {"Authorization": f"Bearer {ADMIN}"}
    request = urllib.request.Request(f"https://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, context=context, timeout=5) as answer:  # noqa: S310 - our own programs
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
