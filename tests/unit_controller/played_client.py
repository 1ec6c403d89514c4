"""An API server's answers to writes, from memory, with a list of what was asked and a say in what is refused."""

from __future__ import annotations

import asyncio
import copy
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from edgesmith.cluster.errors import ClusterError, Missing
from edgesmith.cluster.kinds import EDGE_MODEL, NODE, Kind, kind_of

Object = dict[str, Any]


class PlayedClient:
    """What the applier needs of a client."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        """What was asked, in order: `apply DaemonSet parts-r1`, `status`, `mark n0`, `create Job j`, `delete Job j`."""
        self.refuse: dict[str, ClusterError] = {}
        """What to answer instead, by call."""
        self.objects: dict[tuple[str, str], Object] = {}
        """By kind and name."""
        self.statuses: list[Object] = []
        """Every status that was written."""
        self.marks: dict[str, Mapping[str, Any]] = {}
        """Node to the last marks written."""
        self.slow: dict[str, str] = {}
        """By call: the one that has to begin before it is answered."""
        self.meanwhile: dict[str, Callable[[], object]] = {}
        """By call: what somebody else does before it is answered."""
        self._begun: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.most_at_once = 0
        self._running = 0
        self._version = 100

    async def apply(self, manifest: Mapping[str, Any]) -> Object:
        name = manifest["metadata"]["name"]
        await self._asked(f"apply {manifest['kind']} {name}")
        return self._stored(manifest)

    async def create(self, manifest: Mapping[str, Any], kind: Kind | None = None) -> Object:
        kind = kind or kind_of(dict(manifest))
        name = manifest["metadata"]["name"]
        await self._asked("event" if kind.kind == "Event" else f"create {kind.kind} {name}")
        return self._stored(manifest)

    async def apply_status(self, kind: Kind, namespace: str, name: str, status: Mapping[str, Any]) -> Object:
        assert (kind, namespace) == (EDGE_MODEL, "plant")
        await self._asked("status")
        self.statuses.append(dict(status))
        live = self.objects["EdgeModel", name]
        return self._stored(live | {"status": dict(status)})

    async def mark_node(self, name: str, key: str, **marks: Any) -> Object:
        await self._asked(f"mark {name}")
        if (NODE.kind, name) not in self.objects:
            raise Missing(f"labelling Node {name} failed: it is not there")
        self.marks[name] = marks
        live = copy.deepcopy(self.objects[NODE.kind, name])
        live["metadata"].setdefault("labels", {}).update(marks.get("labels") or {})
        if "record" in marks:
            live["metadata"].setdefault("annotations", {})[key] = marks["record"]
        return self._stored(live)

    async def get(self, kind: Kind, _namespace: str, name: str) -> Object | None:
        await self._asked(f"get {kind.kind} {name}")
        return self.objects.get((kind.kind, name))

    async def delete(self, kind: Kind, _namespace: str, name: str) -> None:
        await self._asked(f"delete {kind.kind} {name}")
        self.objects.pop((kind.kind, name), None)

    def put(self, kind: Kind, raw: Mapping[str, Any]) -> Object:
        """An object that somebody else made."""
        return self._stored({"kind": kind.kind, **raw})

    async def _asked(self, call: str) -> None:
        self.calls.append(call)
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        await asyncio.sleep(0)
        self._begun[call].set()
        if call in self.slow:
            await self._begun[self.slow[call]].wait()
        self._running -= 1
        if call in self.meanwhile:
            self.meanwhile.pop(call)()
        if call in self.refuse:
            raise self.refuse[call]

    def _stored(self, manifest: Mapping[str, Any]) -> Object:
        """What the API server makes of an object: a UID, a version, and a default that nobody asked for."""
        self._version += 1
        found = copy.deepcopy(dict(manifest))
        found["metadata"] = {"uid": f"uid-{found['metadata']['name']}"} | found["metadata"]
        found["metadata"]["resourceVersion"] = str(self._version)
        found["spec"] = {"default": "set"} | found.get("spec", {})
        self.objects[found["kind"], found["metadata"]["name"]] = found
        return copy.deepcopy(found)
