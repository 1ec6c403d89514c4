"""A client of the API server, for tests: kubectl, and calls without it."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import urllib3
import yaml

from tests.patience import PATIENCE

Object = dict[str, Any]
T = TypeVar("T")

ADMIN, KUBELET, NOBODY, OPERATOR = "admin-token", "kubelet-token", "nobody-token", "operator-token"


def wait_for(what: str, check: Callable[[], T | None], seconds: float = PATIENCE) -> T:
    """What a check returns once that is something, or a failure that says what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s: {what}")
        time.sleep(0.05)


class RefusedError(AssertionError):
    """The API server refused a call.

    Attributes:
        code: The HTTP status.
        status: Its Status, with the message that kubectl shows.
    """

    def __init__(self, call: str, code: int, status: Object) -> None:
        super().__init__(f"{call}: {code} {status.get('message')}")
        self.code = code
        self.status = status


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
        """Apply objects, server side, as kubectl does; it is not started for our kinds, which tests apply often."""
        documents: list[Object] = document if isinstance(document, list) else [document]
        if not all(one["kind"] in _OURS for one in documents):
            self.kubectl("apply", "--server-side", "--force-conflicts", document=document)
            return
        for one in documents:
            self._apply(one)

    def refusal(self, document: Object) -> Object:
        """The Status with which an object of our kinds is refused; it is applied as `apply` does.

        Raises:
            AssertionError: It was taken.
        """
        try:
            self._apply(document)
        except RefusedError as refused:
            return refused.status
        raise AssertionError(f"{document['kind']} {document['metadata']['name']} was taken")

    def _apply(self, document: Object) -> None:
        metadata = document["metadata"]
        path = path_of(_OURS[document["kind"]], metadata.get("namespace", ""), metadata["name"])
        query = "?fieldManager=kubectl&force=true&fieldValidation=Strict"
        applied = self.request("PATCH", path + query, document, "application/apply-patch+yaml")
        assert applied is not None, f"{path}: the namespace or the kind is not there"

    def request(
        self, method: str, path: str, body: Any = None, content: str = "application/json", token: str = ADMIN
    ) -> Object | None:
        """One call; None for 404.

        Raises:
            RefusedError: Any other refusal, with the API server's words.
        """
        headers = {**self._credentials(token), "Content-Type": content}
        data = None if body is None else json.dumps(body)
        answer = self._connections.request(method, f"{self.address}{path}", body=data, headers=headers)
        if answer.status == 404:
            return None
        if answer.status >= 400:
            raise RefusedError(f"{method} {path}", answer.status, _status(answer.data))
        found: Object = answer.json()
        return found

    def _credentials(self, token: str) -> dict[str, str]:
        """The headers that say who asks."""
        return {"Authorization": f"Bearer {token}"}

    @cached_property
    def _connections(self) -> urllib3.PoolManager:
        """Connections that are kept: a handshake costs more than most calls."""
        trusted = str(self.folder / "certificates/apiserver.crt")
        return urllib3.PoolManager(maxsize=8, ca_certs=trusted, timeout=20.0, retries=urllib3.Retry(1, redirect=False))

    def listing(self, kind: str) -> tuple[list[Object], str]:
        """All objects of a kind in all namespaces, and the version to watch them from."""
        found = self.request("GET", path_of(kind))
        assert found is not None, f"there is no kind {kind}"
        return list(found["items"]), found["metadata"]["resourceVersion"]

    def watch(self, kind: str, version: str, seconds: float) -> Iterator[Object]:
        """The events of a kind in all namespaces since a version, for so many seconds."""
        query = f"?watch=1&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={max(1, round(seconds))}"
        answer = self._connections.request(
            "GET",
            f"{self.address}{path_of(kind)}{query}",
            headers=self._credentials(ADMIN),
            timeout=seconds + 20,
            preload_content=False,
        )
        try:
            for line in answer:
                yield json.loads(line)
        finally:
            answer.close()

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

    def try_patch(self, kind: str, name: str, patch: Object, namespace: str = "", subresource: str = "") -> bool:
        """A merge patch of an object that may be gone or going; whether it was there."""
        path = path_of(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        try:
            return self.request("PATCH", path, patch, "application/merge-patch+json") is not None
        except RefusedError as refused:
            if refused.code == 409:
                return False
            raise

    def delete(self, kind: str, name: str, namespace: str = "", *, uid: str = "") -> None:
        """Delete an object at once; only that one where a UID is given."""
        only = {"preconditions": {"uid": uid}} if uid else {}
        try:
            self.request("DELETE", path_of(kind, namespace, name), _AT_ONCE | only)
        except RefusedError as refused:
            if not uid or refused.code != 409:
                raise

    def delete_all(self, kind: str, namespace: str) -> None:
        """Delete every object of a kind in a namespace at once, pods on nodes that are off too."""
        self.request("DELETE", path_of(kind, namespace), _AT_ONCE)


def _status(answer: bytes) -> Object:
    """What a refusal says; some, as of a server that is not ready yet, are plain text."""
    try:
        found: Object = json.loads(answer)
    except ValueError:
        return {"message": answer.decode(errors="replace")}
    return found


_AT_ONCE: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
_OURS = {"EdgeModel": "edgemodels", "DeviceProfile": "deviceprofiles"}
_GROUPS = {
    "edgemodels": "apis/edgesmith.dev/v1alpha1",
    "deviceprofiles": "apis/edgesmith.dev/v1alpha1",
    "jobs": "apis/batch/v1",
    "daemonsets": "apis/apps/v1",
    "leases": "apis/coordination.k8s.io/v1",
    **dict.fromkeys(("applications", "applicationsets", "appprojects"), "apis/argoproj.io/v1alpha1"),
}


def path_of(kind: str, namespace: str = "", name: str = "") -> str:
    """The address of an object or a collection, by the kind's plural."""
    parts = [_GROUPS.get(kind, "api/v1"), *(["namespaces", namespace] if namespace else []), kind]
    return "/" + "/".join([*parts, *([name] if name else [])])
