"""A real Argo CD beside the API server: its application controller, its repo server, Redis and a git repository."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from apiserver import ApiServer, Object, wait_for
from control_plane import free_ports
from needs import lacking
from processes import running_program
from services import tool

NAMESPACE = "argocd"
_KINDS = {"Application": "applications", "AppProject": "appprojects", "ApplicationSet": "applicationsets"}
_SERVER = "redis-check-rdb"
"""Redis: one program that is the server under any other name. The package redis-tools has it, and starts no service."""


class Git:
    """A git repository of one branch, `main`, that a test commits to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._run("init", "--quiet", "--initial-branch=main")

    @property
    def url(self) -> str:
        """Where Argo CD finds it."""
        return f"file://{self.folder}"

    def commit(self, message: str) -> str:
        """Commit the folder as it stands; the commit's hash."""
        self._run("add", "--all")
        self._run("commit", "--quiet", "--message", message)
        return self._run("rev-parse", "HEAD").strip()

    def write(self, path: str, *documents: Object) -> None:
        """Write a YAML file of the repository."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(yaml.safe_dump_all(documents, sort_keys=False))

    def read(self, path: str) -> Any:
        """The only document of a YAML file of the repository."""
        return yaml.safe_load((self.folder / path).read_text())

    def _run(self, *words: str) -> str:
        author = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
        line = ["git", *author, *words]
        return subprocess.run(line, cwd=self.folder, check=True, capture_output=True, text=True, timeout=60).stdout


@dataclass(frozen=True)
class ArgoCD:
    """A running Argo CD."""

    server: ApiServer
    folder: Path

    def get(self, name: str) -> Object:
        """An Application; empty where it is not there."""
        return self.server.request("GET", f"{_path('Application')}/{name}") or {}

    def told(self, name: str) -> list[Object]:
        """What an ApplicationSet says of its Applications in a RollingSync."""
        found = self.server.request("GET", f"{_path('ApplicationSet')}/{name}") or {}
        return list((found.get("status") or {}).get("applicationStatus") or [])

    def refresh(self, name: str) -> None:
        """Have it look at git and at the cluster now, as a webhook of the git server does."""
        annotations = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}
        path, merge = f"{_path('Application')}/{name}", "application/merge-patch+json"
        assert self.server.request("PATCH", path, annotations, merge) is not None

    def stands(self, name: str) -> tuple[str, str]:
        """An Application's sync status and health."""
        status = self.get(name).get("status") or {}
        return (status.get("sync") or {}).get("status", ""), (status.get("health") or {}).get("status", "")

    def wait(self, name: str, sync: str, health: str, *, commit: str = "", seconds: float = 60.0) -> Object:
        """Wait until an Application stands so, at a commit; it then.

        Raises:
            AssertionError: It does not; what it says of itself and of its last sync is in the message.
        """

        def check() -> Object | None:
            found = self.get(name)
            status = found.get("status") or {}
            at = (status.get("sync") or {}).get("revisions") or [""]
            if commit and commit not in at:
                # What is asked for while it compares an older commit counts as done with that comparison.
                if "argocd.argoproj.io/refresh" not in (found["metadata"].get("annotations") or {}):
                    self.refresh(name)
                return None
            return status if self.stands(name) == (sync, health) else None

        try:
            return wait_for(f"{name} is {sync} and {health}", check, seconds)
        except AssertionError as error:
            status = self.get(name).get("status") or {}
            told = {key: status.get(key) for key in ("sync", "health", "conditions", "operationState", "resources")}
            raise AssertionError(f"{error}\n{yaml.safe_dump(told)[:6000]}") from None

    def resource(self, name: str, kind: str, of: str) -> Object:
        """What an Application says of one of its resources."""
        found = (self.get(name).get("status") or {}).get("resources") or []
        return next((one for one in found if (one["kind"], one["name"]) == (kind, of)), {})


def _path(kind: str, namespace: str = NAMESPACE) -> str:
    return f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/{_KINDS[kind]}"


def _crd(kind: str, *, status: bool = False) -> Object:
    """One of Argo CD's kinds without its schema: what its own controllers write needs no check here."""
    plural = _KINDS[kind]
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version: Object = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": free}}
    if status:
        version["subresources"] = {"status": {}}
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.argoproj.io"},
        "spec": {"group": "argoproj.io", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _objects(settings: Mapping[str, str]) -> list[Object]:
    """What Argo CD's own install brings besides its Deployments."""
    labels = {"app.kubernetes.io/part-of": "argocd"}
    head = {"namespace": NAMESPACE, "labels": labels}
    key = base64.b64encode(b"of this test").decode()
    free: Object = {"sourceRepos": ["*"], "destinations": [{"namespace": "*", "server": "*"}]}
    free |= {"clusterResourceWhitelist": [{"group": "*", "kind": "*"}]}
    maps = {
        "argocd-cm": dict(settings),
        "argocd-rbac-cm": {},
        "argocd-tls-certs-cm": {},
        "argocd-ssh-known-hosts-cm": {},
    }
    return [
        *(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **head}, "data": data}
            for name, data in maps.items()
        ),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "argocd-secret", **head},
            "data": {"server.secretkey": key},
        },
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AppProject",
            "metadata": {"name": "default", **head},
            "spec": free,
        },
    ]


@contextlib.contextmanager
def argo_cd(
    server: ApiServer, settings: Mapping[str, str], folder: Path, *, resync: int = 5, progressive: bool = False
) -> Iterator[ArgoCD]:
    """Argo CD while the block runs.

    Args:
        server: Where it runs, and what it syncs to.
        settings: The data of `argocd-cm`.
        folder: Where its programs keep their files.
        resync: Seconds after which it looks at an Application by itself.
        progressive: Whether the ApplicationSet controller runs besides, with progressive syncs.
    """
    redis = shutil.which(_SERVER)
    if redis is None or shutil.which("git") is None:
        lacking("git or redis-tools is not installed: run `make tools` as root, or install them")
    server.kubectl("create", "namespace", NAMESPACE)
    server.apply([_crd("Application"), _crd("AppProject"), _crd("ApplicationSet", status=True)])
    for plural in _KINDS.values():
        server.kubectl("wait", f"crd/{plural}.argoproj.io", "--for=condition=Established", "--timeout=30s")
    server.apply(_objects(settings))
    port, repo, *others = free_ports(7)
    (folder / "redis-server").symlink_to(redis)
    line: list[str | Path] = [folder / "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    common = ["--redis", f"127.0.0.1:{port}", "--loglevel", "warn"]
    repo_server = [
        *common,
        "--port",
        str(repo),
        "--metrics-port",
        str(others[0]),
        "--disable-tls",
        "--address",
        "127.0.0.1",
    ]
    repo_server += ["--metrics-address", "127.0.0.1", "--client-ca-path="]
    controller = [*common, "--namespace", NAMESPACE, "--metrics-port", str(others[1]), "--app-resync", str(resync)]
    controller += [
        "--app-resync-jitter",
        "0",
        "--persist-resource-health",
        "--repo-server",
        f"127.0.0.1:{repo}",
        "--repo-server-plaintext",
    ]
    controller += ["--self-heal-timeout-seconds", "1", "--kubeconfig", str(server.kubeconfig(namespace=NAMESPACE))]
    sets = ["--loglevel", "warn", "--namespace", NAMESPACE, "--kubeconfig", str(server.kubeconfig(namespace=NAMESPACE))]
    sets += ["--argocd-repo-server", f"127.0.0.1:{repo}", "--repo-server-plaintext", "--enable-progressive-syncs"]
    for flag, at in zip(("--metrics-addr", "--probe-addr", "--webhook-addr"), others[2:], strict=True):
        sets += [flag, f"127.0.0.1:{at}"]
    variables = _environment(server, folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(running_program(line, folder / "redis.log"))
        for name, words, listens in (
            ("argocd-repo-server", repo_server, repo),
            ("argocd-application-controller", controller, others[1]),
            *([("argocd-applicationset-controller", sets, others[2])] if progressive else []),
        ):
            log = folder / f"{name}.log"
            process = stack.enter_context(running_program([tool(name), *words], log, variables))
            wait_for(f"{name} listens; its log is {log}", partial(_listens, process, listens, log))
        yield ArgoCD(server, folder)


def _listens(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert process.poll() is None, log.read_text()[:2000]
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _environment(server: ApiServer, folder: Path) -> dict[str, str]:
    """The variables of Argo CD's programs: our tools on their path, their files below a folder."""
    scripts = folder / "scripts"
    scripts.mkdir()
    # Argo CD's image brings this script, which says who signed a commit; nobody signs ours.
    verify = scripts / "git-verify-wrapper.sh"
    verify.write_text("#!/bin/sh\n")
    verify.chmod(0o755)
    return {
        "PATH": f"{scripts}:{server.programs}:{os.environ['PATH']}",
        "KUBECONFIG": str(server.kubeconfig()),
        "TMPDIR": str(folder),
        "HOME": str(folder),
        "ARGOCD_FAKE_IN_CLUSTER": "true",
        "ARGOCD_GPG_ENABLED": "false",
        "ARGOCD_SYNC_WAVE_DELAY": "0",
        "ARGOCD_ASK_PASS_SOCK": str(folder / "ask-pass.sock"),
        **{f"ARGOCD_{kind}_DATA_PATH": str(folder / kind.lower()) for kind in ("TLS", "SSH", "GPG")},
    }
