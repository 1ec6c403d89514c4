"""A real Argo CD beside the API server: its controllers, repo server and API server, Redis and a git repository."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from apiserver import ADMIN, ApiServer, Object, wait_for
from needs import lacking
from ports import free_ports
from processes import running_program
from services import tool

NAMESPACE = "argocd"
_KINDS = {"Application": "applications", "AppProject": "appprojects", "ApplicationSet": "applicationsets"}
_APPLICATIONS = _KINDS["Application"]
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
    address: str
    """Of Argo CD's own API server, which asks for no login; nobody answers where it was not wanted."""

    def register(self, name: str, cluster: ApiServer, labels: Mapping[str, str]) -> None:
        """Tell it of a cluster that it may sync to, with the labels by which ApplicationSets choose clusters."""
        trusted = base64.b64encode((cluster.folder / "certificates/apiserver.crt").read_bytes()).decode()
        config = {"bearerToken": ADMIN, "tlsClientConfig": {"caData": trusted}}
        head = {"namespace": NAMESPACE, "labels": {"argocd.argoproj.io/secret-type": "cluster", **labels}}
        told = {"name": name, "server": cluster.address, "config": json.dumps(config)}
        metadata = {"name": f"cluster-{name}", **head}
        self.server.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": told})

    def actions(self, name: str, resource: Mapping[str, str]) -> set[str]:
        """The actions that Argo CD offers for a resource of an Application."""
        query = urllib.parse.urlencode(resource)
        found = self._call("GET", f"/api/v1/applications/{name}/resource/actions?{query}")
        return {one["name"] for one in found.get("actions") or [] if not one.get("disabled")}

    def act(self, name: str, resource: Mapping[str, str], action: str) -> None:
        """Run an action on a resource of an Application, as a click on it does."""
        self._call("POST", f"/api/v1/applications/{name}/resource/actions/v2", {**resource, "action": action})

    def tree(self, name: str) -> list[Object]:
        """All that an Application's tree shows, with what children have made: what is in git and what is not."""
        return list(self._call("GET", f"/api/v1/applications/{name}/resource-tree").get("nodes") or [])

    def _call(self, method: str, path: str, body: Object | None = None) -> Object:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}{path}", data=data, headers=headers, method=method)  # noqa: S310 - our own process
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - as above
                found: Object = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from error
        return found

    def get(self, name: str) -> Object:
        """An Application; empty where it is not there."""
        return self.server.get(_APPLICATIONS, name, NAMESPACE) or {}

    def first_sync(self, application: Object, seconds: float = 60.0) -> Object:
        """Apply an Application that syncs by itself; its first operation that went well.

        Its status shows only the last one, and that may be of what Argo CD healed in the same second.
        """
        _, version = self.server.listing(_APPLICATIONS)
        self.server.apply(application)
        for event in self.server.watch(_APPLICATIONS, version, seconds):
            done: Object = (event["object"].get("status") or {}).get("operationState") or {}
            if done.get("phase") == "Succeeded":
                return done
        raise AssertionError(f"after {seconds:g} s: the first sync has ended")

    def told(self, name: str) -> list[Object]:
        """What an ApplicationSet says of its Applications in a RollingSync."""
        found = self.server.get(_KINDS["ApplicationSet"], name, NAMESPACE) or {}
        return list((found.get("status") or {}).get("applicationStatus") or [])

    def refresh(self, name: str) -> None:
        """Have it look at git and at the cluster now, as a webhook of the git server does; it may be about to."""
        if "argocd.argoproj.io/refresh" in (self.get(name)["metadata"].get("annotations") or {}):
            return
        annotations = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}
        self.server.patch(_APPLICATIONS, name, annotations, NAMESPACE)

    def show(self, name: str, commit: str, seconds: float = 60.0) -> None:
        """Have it look at git until it knows a commit.

        Raises:
            AssertionError: It does not; what it knows is in the message.
        """
        try:
            wait_for(f"{name} knows {commit}", lambda: self._knows(self.get(name), commit), seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{yaml.safe_dump(self.get(name))[:6000]}") from None

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
            if commit and not self._knows(found, commit):
                return None
            return found.get("status") or {} if self.stands(name) == (sync, health) else None

        try:
            return wait_for(f"{name} is {sync} and {health}", check, seconds)
        except AssertionError as error:
            status = self.get(name).get("status") or {}
            told = {key: status.get(key) for key in ("sync", "health", "conditions", "operationState", "resources")}
            raise AssertionError(f"{error}\n{yaml.safe_dump(told)[:6000]}") from None

    def _knows(self, found: Object, commit: str) -> bool:
        """Whether an Application has looked at a commit; where it has not and does not, it is asked to."""
        sync = (found.get("status") or {}).get("sync") or {}
        if commit in (sync.get("revisions") or [sync.get("revision")]):
            return True
        # What is asked for while it compares an older commit counts as done with that comparison.
        self.refresh(found["metadata"]["name"])
        return False

    def resource(self, name: str, kind: str, of: str) -> Object:
        """What an Application says of one of its resources."""
        found = (self.get(name).get("status") or {}).get("resources") or []
        return next((one for one in found if (one["kind"], one["name"]) == (kind, of)), {})


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
    server: ApiServer,
    settings: Mapping[str, str],
    folder: Path,
    *,
    resync: int = 5,
    sets: bool = False,
    api: bool = False,
) -> Iterator[ArgoCD]:
    """Argo CD while the block runs.

    Args:
        server: Where it runs, and what it syncs to.
        settings: The data of `argocd-cm`.
        folder: Where its programs keep their files.
        resync: Seconds after which it looks at an Application by itself.
        sets: Whether the ApplicationSet controller runs besides, with progressive syncs.
        api: Whether Argo CD's own API server runs besides.
    """
    redis = shutil.which(_SERVER)
    if redis is None or shutil.which("git") is None:
        lacking("git or redis-tools is not installed: run `make tools` as root, or install them")
    server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    server.apply([_crd("Application"), _crd("AppProject"), _crd("ApplicationSet", status=True)])
    for plural in _KINDS.values():
        server.kubectl("wait", f"crd/{plural}.argoproj.io", "--for=condition=Established", "--timeout=30s")
    server.apply(_objects(settings))
    (folder / "redis-server").symlink_to(redis)
    ports = _Ports(*free_ports(len(fields(_Ports))))
    line: list[str | Path] = [folder / "redis-server", "--port", str(ports.redis), "--bind", "127.0.0.1", "--save", ""]
    config = [
        "--namespace",
        NAMESPACE,
        "--kubeconfig",
        str(server.kubeconfig(namespace=NAMESPACE)),
        "--loglevel",
        "warn",
    ]
    programs = [
        ("argocd-repo-server", _repo_server(ports), ports.repo),
        ("argocd-application-controller", [*config, *_controller(ports, resync)], ports.controller),
        *([("argocd-applicationset-controller", [*config, *_set_controller(ports)], ports.probes)] if sets else []),
        *([("argocd-server", [*config, *_api_server(ports)], ports.api)] if api else []),
    ]
    variables = _environment(server, folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(running_program(line, folder / "redis.log"))
        for name, words, listens in programs:
            log = folder / f"{name}.log"
            process = stack.enter_context(running_program([tool(name), *words], log, variables))
            wait_for(f"{name} listens; its log is {log}", partial(_listens, process, listens, log))
        yield ArgoCD(server, folder, f"http://127.0.0.1:{ports.api}")


def take_away(server: ApiServer) -> None:
    """Remove what `argo_cd` left on an API server that other tests use too; what was synced stays."""
    kinds = [f"{plural}.argoproj.io" for plural in _KINDS.values()]
    server.kubectl("delete", "crd", *kinds, "--ignore-not-found", "--wait=false")
    server.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")


@dataclass(frozen=True)
class _Ports:
    """On which each program listens."""

    redis: int
    repo: int
    repo_metrics: int
    controller: int
    set_metrics: int
    probes: int
    webhooks: int
    api: int
    api_metrics: int


def _repo_server(ports: _Ports) -> list[str]:
    words = ["--redis", f"127.0.0.1:{ports.redis}", "--loglevel", "warn", "--disable-tls", "--client-ca-path="]
    words += ["--address", "127.0.0.1", "--port", str(ports.repo)]
    return [*words, "--metrics-address", "127.0.0.1", "--metrics-port", str(ports.repo_metrics)]


def _controller(ports: _Ports, resync: int) -> list[str]:
    words = [
        "--redis",
        f"127.0.0.1:{ports.redis}",
        "--metrics-port",
        str(ports.controller),
        "--persist-resource-health",
    ]
    words += ["--app-resync", str(resync), "--app-resync-jitter", "0", "--self-heal-timeout-seconds", "1"]
    return [*words, "--repo-server", f"127.0.0.1:{ports.repo}", "--repo-server-plaintext"]


def _set_controller(ports: _Ports) -> list[str]:
    words = ["--argocd-repo-server", f"127.0.0.1:{ports.repo}", "--repo-server-plaintext", "--enable-progressive-syncs"]
    words += ["--metrics-addr", f"127.0.0.1:{ports.set_metrics}", "--probe-addr", f"127.0.0.1:{ports.probes}"]
    return [*words, "--webhook-addr", f"127.0.0.1:{ports.webhooks}"]


def _api_server(ports: _Ports) -> list[str]:
    words = [
        "--redis",
        f"127.0.0.1:{ports.redis}",
        "--repo-server",
        f"127.0.0.1:{ports.repo}",
        "--repo-server-plaintext",
    ]
    words += ["--insecure", "--disable-auth", "--address", "127.0.0.1", "--port", str(ports.api)]
    return [*words, "--metrics-port", str(ports.api_metrics)]


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
