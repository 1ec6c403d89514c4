"""An API server in memory, with as much of it as listing, watching and the Lease need: discovery, pages, watches.

It judges nothing, and of selectors it knows those of labels, in listings.
`python3 fake_api.py PORT NODES PODS MODELS` serves a fleet, for `make bench`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from fleet_objects import edge_model, node, pod, profile
from kubernetes.aio.client.configuration import Configuration

from edgesmith.cluster.connection import Connection
from edgesmith.cluster.kinds import (
    CONFIG_MAP,
    DAEMON_SET,
    DEVICE_PROFILE,
    EDGE_MODEL,
    EVENT,
    JOB,
    LEASE,
    NODE,
    POD,
    Kind,
)

Object = dict[str, Any]
_TERM = re.compile(r"([\w./-]+)(?:(=| in | notin )(\([^)]*\)|[\w.-]*))?(?:,|$)")
KINDS = (EDGE_MODEL, DEVICE_PROFILE, NODE, POD, JOB, DAEMON_SET, LEASE, EVENT, CONFIG_MAP)
_NEEDED_BY_KOPF = (
    Kind("", "v1", "Namespace", "namespaces", namespaced=False),
    Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False),
)


class FakeApi:
    """The server's state; `serving` puts it on a port."""

    def __init__(self) -> None:
        self.version = 1000
        self.objects: dict[Kind, dict[tuple[str, str], Object]] = {kind: {} for kind in KINDS}
        self.namespaced_only = False
        """Whether a listing or watch of every namespace is forbidden."""
        self.requests: Counter[tuple[str, str]] = Counter()
        """(what, plural) to how often: list, page, watch, get, write."""
        self._watchers: dict[Kind, list[asyncio.Queue[Object | None]]] = {kind: [] for kind in KINDS}

    def put(self, kind: Kind, raw: Object) -> Object:
        """Store an object under the next resourceVersion and tell the watches."""
        metadata = raw.setdefault("metadata", {})
        key = (metadata.get("namespace", ""), metadata["name"])
        before = self.objects[kind].get(key)
        self.version += 1
        uid = before["metadata"]["uid"] if before else f"{kind.plural}-{self.version}"
        metadata.update(uid=uid, resourceVersion=str(self.version))
        raw |= {"apiVersion": kind.api_version, "kind": kind.kind}
        self.objects[kind][key] = raw
        self._tell(kind, "MODIFIED" if before else "ADDED", raw)
        return raw

    def delete(self, kind: Kind, namespace: str, name: str, *, silently: bool = False) -> None:
        """Remove an object; silently, no watch hears of it."""
        raw = self.objects[kind].pop((namespace, name))
        self.version += 1
        raw["metadata"]["resourceVersion"] = str(self.version)
        if not silently:
            self._tell(kind, "DELETED", raw)

    def cut(self, kind: Kind) -> None:
        """End every watch of a kind as one is ended that was away for too long: it starts anew with a listing."""
        gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}
        for queue in self._watchers[kind]:
            queue.put_nowait(gone)
            queue.put_nowait(None)

    def connection(self, port: int) -> Connection:
        """How to reach it."""
        return Connection(Configuration(host=f"http://127.0.0.1:{port}"), "default", in_cluster=False)

    def application(self) -> web.Application:
        """The server."""
        app = web.Application()
        groups: dict[tuple[str, str], list[Kind]] = {}
        for kind in (*KINDS, *_NEEDED_BY_KOPF):
            groups.setdefault((kind.group, kind.version), []).append(kind)
        app.router.add_get("/api", _constant({"kind": "APIVersions", "versions": ["v1"]}))
        app.router.add_get("/apis", _constant({"kind": "APIGroupList", "groups": _groups(groups)}))
        for (group, version), kinds in groups.items():
            path = f"/apis/{group}/{version}" if group else f"/api/{version}"
            app.router.add_get(path, _constant({"kind": "APIResourceList", "resources": _resources(kinds)}))
            for kind in kinds:
                if kind in KINDS:
                    self._route(app, path, kind)
        return app

    def _route(self, app: web.Application, path: str, kind: Kind) -> None:
        async def collection(request: web.Request) -> web.StreamResponse:
            if self.namespaced_only and kind.namespaced and "namespace" not in request.match_info:
                return web.json_response({"kind": "Status", "message": "forbidden", "code": 403}, status=403)
            return await (self._watch if request.query.get("watch") else self._list)(request, kind)

        async def one(request: web.Request) -> web.Response:
            key = (request.match_info.get("namespace", ""), request.match_info["name"])
            found = self.objects[kind].get(key)
            self.requests["get" if request.method == "GET" else "write", kind.plural] += 1
            if found is None:
                return web.json_response({"kind": "Status", "message": "not found", "code": 404}, status=404)
            if request.method == "GET":
                return web.json_response(found)
            sent = json.loads(await request.read())
            return web.json_response(self.put(kind, sent if request.method == "PUT" else {**found, **_body(sent)}))

        async def create(request: web.Request) -> web.Response:
            self.requests["write", kind.plural] += 1
            return web.json_response(self.put(kind, json.loads(await request.read())), status=201)

        app.router.add_get(f"{path}/{kind.plural}", collection)
        below = f"{path}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{path}/{kind.plural}"
        if kind.namespaced:
            app.router.add_get(below, collection)
        app.router.add_post(below, create)
        for suffix in ("", "/status"):
            for method in ("GET", "PUT", "PATCH"):
                app.router.add_route(method, f"{below}/{{name}}{suffix}", one)

    async def _list(self, request: web.Request, kind: Kind) -> web.Response:
        start, limit = int(request.query.get("continue", "0")), int(request.query.get("limit", "0"))
        items = [raw for raw in self.objects[kind].values() if _asked_for(request, raw) and _selected(request, raw)]
        page = items[start : start + limit] if limit else items
        metadata: Object = {"resourceVersion": str(self.version)}
        if limit and start + limit < len(items):
            metadata["continue"] = str(start + limit)
        self.requests["page" if start else "list", kind.plural] += 1
        return web.json_response({"kind": f"{kind.kind}List", "metadata": metadata, "items": page})

    async def _watch(self, request: web.Request, kind: Kind) -> web.StreamResponse:
        self.requests["watch", kind.plural] += 1
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue[Object | None] = asyncio.Queue()
        self._watchers[kind].append(queue)
        since = int(request.query.get("resourceVersion", "0"))
        for raw in self.objects[kind].values():
            if int(raw["metadata"]["resourceVersion"]) > since:
                queue.put_nowait({"type": "MODIFIED", "object": raw})
        try:
            while (event := await queue.get()) is not None:
                if event["type"] == "ERROR" or _asked_for(request, event["object"]):
                    await response.write(json.dumps(event).encode() + b"\n")
        except ConnectionError:
            pass  # the other side has gone
        finally:
            self._watchers[kind].remove(queue)
        return response

    def _tell(self, kind: Kind, type_: str, raw: Object) -> None:
        for queue in self._watchers[kind]:
            queue.put_nowait({"type": type_, "object": json.loads(json.dumps(raw))})


@asynccontextmanager
async def serving(api: FakeApi, port: int = 0) -> AsyncIterator[int]:
    """Serve on a port, or on any that is free; gives the port."""
    runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def fleet(nodes: int, pods: int, models: int) -> FakeApi:
    """A fleet: every node with the label of the first EdgeModel, pods on the first nodes."""
    api = FakeApi()
    api.put(DEVICE_PROFILE, profile("box"))
    for number in range(models):
        api.put(EDGE_MODEL, edge_model(f"model-{number}"))
    for number in range(nodes):
        api.put(NODE, node(f"node-{number}"))
    for number in range(pods):
        api.put(POD, pod(f"model-0-{number}", f"node-{number}"))
    return api


def _asked_for(request: web.Request, raw: Object) -> bool:
    """Whether an object is in the namespace that a request names, if it names one."""
    return request.match_info.get("namespace") in (None, raw["metadata"].get("namespace"))


def _selected(request: web.Request, raw: Object) -> bool:
    """Whether an object has the labels that a listing asks for: KEY, KEY=VALUE, KEY in (…), KEY notin (…)."""
    labels: dict[str, str] = raw["metadata"].get("labels", {})
    for key, word, values in _TERM.findall(request.query.get("labelSelector", "")):
        value, among = labels.get(key), values.strip("()").split(",")
        if (value in among) == (word == " notin ") if word else value is None:
            return False
    return True


def _constant(body: Object) -> Any:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(body)

    return answer


def _groups(groups: Iterable[tuple[str, str]]) -> list[Object]:
    found = []
    for group, version in groups:
        if group:
            entry = {"groupVersion": f"{group}/{version}", "version": version}
            found.append({"name": group, "versions": [entry], "preferredVersion": entry})
    return found


def _resources(kinds: Iterable[Kind]) -> list[Object]:
    verbs = ["get", "list", "watch", "patch", "create", "update", "delete"]
    return [
        {
            "name": kind.plural,
            "kind": kind.kind,
            "singularName": kind.kind.lower(),
            "namespaced": kind.namespaced,
            "verbs": verbs,
        }
        for kind in kinds
    ]


def _body(sent: Object) -> Object:
    """What of a patch is kept: a status, as it is applied whole."""
    return {"status": sent["status"]} if "status" in sent else {}


async def _main(port: int, nodes: int, pods: int, models: int) -> None:
    async with serving(fleet(nodes, pods, models), port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*(int(argument) for argument in sys.argv[1:])))
