"""Calls to the API server: plain paths and dictionaries over the official client's transport.

Neither its typed APIs nor its discovery is used: every kind we touch is known, and the typed modules would take as much
memory as everything else together. What is written goes through server-side apply, so that our fields and nobody
else's are ours; labels and annotations of nodes are the exception (see `Client.mark_node`).
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from types import EllipsisType
from typing import Any, Self

import aiohttp
from kubernetes.aio.client.api_client import ApiClient

from edgesmith.api.names import FIELD_MANAGER, STATUS_MANAGER
from edgesmith.cluster.connection import Connection
from edgesmith.cluster.errors import Conflict, Missing, Unreachable, from_answer, misshapen, not_served, unreachable
from edgesmith.cluster.kinds import NODE, Kind, kind_of

Object = dict[str, Any]
"""An object as the API server sends it."""

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
PAGE = 200
"""Objects in one page of a listing: a node with its images is some 15 kB of JSON, and several times that in memory."""
_METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"


class Client:
    """A connection to one API server. Use it as an async context manager, from one event loop."""

    def __init__(self, connection: Connection, *, timeout: float = 30.0, namespaces: Collection[str] = ()) -> None:
        """Make a client; nothing is sent yet.

        Args:
            connection: Where to.
            timeout: Seconds for one call, all of it.
            namespaces: What a listing of every namespace lists; empty for really every one, which takes the right to.

        Raises:
            Unreachable: A certificate or key of the connection is none.
        """
        self.connection = connection
        self._namespaces = tuple(namespaces)
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        try:
            self._api: Any = ApiClient(connection.configuration)
        except ssl.SSLError as error:
            raise Unreachable(
                f"No cluster: a certificate or key for {connection.server} cannot be read ({error.reason}); "
                "PEM was expected in the kubeconfig, in base64 where it ends in -data"
            ) from error
        self._api.user_agent = "edgesmith"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._api.close()

    async def request(
        self,
        method: str,
        path: str,
        what: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Object:
        """One call.

        Args:
            method: HTTP method.
            path: Address below the server.
            what: The call in words, for the error.
            query: Query parameters.
            body: What to send.
            content_type: Of the body.
            accept: What to be sent.

        Returns:
            The answer, read.

        Raises:
            ClusterError: of the fitting kind, in one sentence.
        """
        try:
            serialized = await self._api.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params={"Accept": accept, "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._api.call_api(*serialized, _request_timeout=self._timeout)
            data: bytes = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(self.connection.server, what, error) from error
        text = data.decode("utf-8", errors="replace")
        if not 200 <= answer.status <= 299:  # noqa: PLR2004 - HTTP's own numbers
            raise from_answer(answer.status, text, what)
        try:
            found = json.loads(text)
        except ValueError as error:
            raise misshapen(self.connection.server, what, "JSON") from error
        if not isinstance(found, dict):
            raise misshapen(self.connection.server, what, "an object")
        return found

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """One object; None where it is not there."""
        what = f"reading {kind.kind} {_called(namespace, name)}"
        try:
            return await self.request("GET", kind.path(namespace, name), what)
        except Missing:
            return None

    async def list(
        self, kind: Kind, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> AsyncIterator[Object]:
        """Every object of a kind, in pages.

        Args:
            kind: What.
            namespace: Where; empty for every namespace.
            labels: A label selector.
            fields: A field selector.

        Yields:
            One object after the other.
        """
        async for page in self._pages(kind, namespace, labels, fields, "application/json"):
            for item in page.get("items") or ():
                yield item

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server has a kind at all: whether its CRD is installed."""
        try:
            (place, *_) = self._places(kind, "")
            await self.request("GET", kind.path(place), f"listing {kind.plural}", query={"limit": "1"})
        except Missing:
            return False
        return True

    async def list_uids(self, kind: Kind, *, labels: str = "") -> tuple[set[str], str]:
        """The UIDs of every object of a kind, everywhere, and the resourceVersion as of which they are all.

        Only metadata travels.
        """
        uids: set[str] = set()
        version = ""
        async for page in self._pages(kind, "", labels, "", _METADATA):
            version = version or str((page.get("metadata") or {}).get("resourceVersion", ""))
            uids.update(str((item.get("metadata") or {}).get("uid")) for item in page.get("items") or ())
        return uids, version

    def _places(self, kind: Kind, namespace: str) -> tuple[str, ...]:
        """Where to list, one call each; an empty name is every namespace in one call."""
        return self._namespaces if self._namespaces and kind.namespaced and not namespace else (namespace,)

    async def _pages(self, kind: Kind, namespace: str, labels: str, fields: str, accept: str) -> AsyncIterator[Object]:
        for place in self._places(kind, namespace):
            async for page in self._pages_of(kind, place, labels, fields, accept):
                yield page

    async def _pages_of(
        self, kind: Kind, namespace: str, labels: str, fields: str, accept: str
    ) -> AsyncIterator[Object]:
        query = {"limit": str(PAGE)}
        query |= {"labelSelector": labels} if labels else {}
        query |= {"fieldSelector": fields} if fields else {}
        while True:
            what = f"listing {kind.plural}"
            try:
                page = await self.request("GET", kind.path(namespace), what, query=query, accept=accept)
            except Missing as error:
                # A namespace that is not there has an empty listing, so it is the kind.
                raise not_served(kind.kind, kind.api_version) from error
            items = page.get("items", 0)
            if not (items is None or (isinstance(items, list) and all(isinstance(item, dict) for item in items))):
                raise misshapen(self.connection.server, what, "a list of objects")
            # A listing gives its items no kind of their own.
            for item in items or ():
                item.setdefault("apiVersion", kind.api_version)
                item.setdefault("kind", kind.kind)
            yield page
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return
            query["continue"] = token

    async def apply(
        self, manifest: Mapping[str, Any], *, manager: str = FIELD_MANAGER, dry_run: bool = False
    ) -> Object:
        """Apply an object, server side, taking over our fields from whoever set them.

        Args:
            manifest: Every field that is to be ours, and no other.
            manager: Whose fields they are.
            dry_run: Only say what it would become.

        Returns:
            The object as it is then.
        """
        kind = kind_of(dict(manifest))
        metadata = manifest["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        query = {"fieldManager": manager, "force": "true"} | ({"dryRun": "All"} if dry_run else {})
        return await self.request(
            "PATCH",
            kind.path(namespace, name),
            f"applying {kind.kind} {_called(namespace, name)}",
            query=query,
            body=dict(manifest),
            content_type=APPLY,
        )

    async def apply_status(self, kind: Kind, namespace: str, name: str, status: Mapping[str, Any]) -> Object:
        """Apply an object's whole status.

        The UID is not part of it: an object deleted in between gives `Missing`, since a status alone makes none.
        """
        manifest: Object = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {"name": name} | ({"namespace": namespace} if kind.namespaced else {}),
            "status": dict(status),
        }
        return await self.request(
            "PATCH",
            kind.path(namespace, name, "status"),
            f"writing the status of {kind.kind} {_called(namespace, name)}",
            query={"fieldManager": STATUS_MANAGER, "force": "true"},
            body=manifest,
            content_type=APPLY,
        )

    async def create(self, manifest: Mapping[str, Any], kind: Kind | None = None) -> Object:
        """Make an object.

        Raises:
            Conflict: One of that name is there.
            ClusterError: of the fitting kind.
        """
        kind = kind or kind_of(dict(manifest))
        metadata = manifest["metadata"]
        namespace = metadata.get("namespace", "")
        called = _called(namespace, metadata.get("name") or metadata.get("generateName", ""))
        return await self.request(
            "POST",
            kind.path(namespace),
            f"making {kind.kind} {called}",
            query={"fieldManager": FIELD_MANAGER},
            body=dict(manifest),
        )

    async def replace(self, kind: Kind, manifest: Mapping[str, Any]) -> Object:
        """Replace an object, if nobody changed it since it was read.

        Raises:
            Conflict: Somebody did.
            ClusterError: of the fitting kind.
        """
        metadata = manifest["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        return await self.request(
            "PUT",
            kind.path(namespace, name),
            f"replacing {kind.kind} {_called(namespace, name)}",
            query={"fieldManager": FIELD_MANAGER},
            body=dict(manifest),
        )

    async def edit(self, kind: Kind, namespace: str, name: str, body: Object, *, manager: str) -> Object:
        """Change fields of an object by a merge patch; with a resourceVersion only where it is still this one.

        Args:
            kind: Its kind.
            namespace: Its namespace.
            name: Its name.
            body: The fields.
            manager: Who changes them.

        Raises:
            Conflict: Somebody else changed it meanwhile.
            ClusterError: of the fitting kind.
        """
        what = f"editing {kind.kind} {namespace}/{name}"
        query = {"fieldManager": manager}
        return await self.request("PATCH", kind.path(namespace, name), what, query=query, body=body, content_type=MERGE)

    async def mark_node(
        self,
        name: str,
        key: str,
        *,
        labels: Mapping[str, str | None] | None = None,
        record: str | EllipsisType | None = ...,
    ) -> Object:
        """Set or remove labels and the annotation of one key on a node, all in one write.

        A merge patch of these keys, not an apply: every EdgeModel has a label on the same node, and an apply under one
        field manager takes away each field that it leaves out, which would be every other EdgeModel's label.

        Args:
            name: The node.
            key: Key of the annotation.
            labels: The labels' values by key; None removes one.
            record: The annotation's value; None removes it, `...` leaves it as it is.

        Returns:
            The node as it is then.

        Raises:
            Missing: There is no such node.
            ClusterError: of the fitting kind.
        """
        metadata: Object = {}
        if labels:
            metadata["labels"] = dict(labels)
        if record is not ...:
            metadata["annotations"] = {key: record}
        what, query = f"labelling Node {name}", {"fieldManager": FIELD_MANAGER}
        body: Object = {"metadata": metadata}
        return await self.request("PATCH", NODE.path("", name), what, query=query, body=body, content_type=MERGE)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "") -> None:
        """Delete an object and, in the background, what it owns; one that is gone already is fine.

        Args:
            kind: Its kind.
            namespace: Its namespace.
            name: Its name.
            uid: Only where it is still this one.
        """
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            what = f"deleting {kind.kind} {_called(namespace, name)}"
            await self.request("DELETE", kind.path(namespace, name), what, body=body)
        except Missing:
            return
        except Conflict:
            # Another one of the same name by now: not ours to delete.
            return


def _called(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name
