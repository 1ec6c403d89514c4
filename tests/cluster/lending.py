"""Builds that a test has made, lent to tests that are about something else.

A build's key is the hash of all that decides its bytes, and its namespace is no part of that. So a test that publishes
the example's models under names that all such tests share finds their builds in its own repository of the registry,
where the operator looks before it makes a Job.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx

from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Shelf:
    """What can be lent out of one registry without TLS, by tag: the repository that holds it."""

    registry: str
    """`HOST:PORT`."""
    held: dict[str, str] = field(default_factory=dict)

    def keep(self, repository: str) -> None:
        """Remember the builds in a repository, and each of their candidates.

        Raises:
            httpx.HTTPStatusError: The registry refuses.
        """
        with self._client() as client:
            answer = client.get(f"{repository}/tags/list")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return  # nothing was built there
        for tag in answer.raise_for_status().json()["tags"] or ():
            if not tag.startswith("sha256-"):  # lists of what hangs on an image
                self.held.setdefault(tag, repository)

    def lend(self, repository: str) -> None:
        """Put everything that was kept into a repository as well; no layer is sent.

        Raises:
            httpx.HTTPStatusError: The registry refuses.
        """
        with self._client() as client:
            for tag, holder in self.held.items():
                found = client.get(f"{holder}/manifests/{tag}", headers={"Accept": _MANIFEST}).raise_for_status()
                manifest = found.json()
                for part in (*manifest["layers"], manifest["config"]):
                    mount = {"mount": part["digest"], "from": holder}
                    answer = client.post(f"{repository}/blobs/uploads/", params=mount).raise_for_status()
                    assert answer.status_code == httpx.codes.CREATED, f"{part['digest']} was not mounted"
                kind = {"Content-Type": _MANIFEST}
                client.put(f"{repository}/manifests/{tag}", content=found.content, headers=kind).raise_for_status()

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://{self.registry}/v2", timeout=30)


def repository_of(namespace: str) -> str:
    """Where the builds of a namespace are, as the chart of these tests says it."""
    return f"models/{namespace}/models"


@dataclass
class Borrower(Fleet):
    """A namespace whose sources are those of every other borrower."""

    def publish(self, version: str, file: str = "model.onnx") -> dict[str, Any]:
        """As a `Fleet` does; `version` changes nothing, the file's name alone is the version."""
        del version
        uri = f"s3://models/lent/{file}"
        content = (surface.FOLDER / file).read_bytes()
        return self.ground.bucket.put_model(uri, content) | {"secretRef": {"name": surface.SECRET}}
