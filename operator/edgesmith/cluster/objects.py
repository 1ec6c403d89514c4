"""What we know of the cluster, in memory, as the nouns that decisions read.

Two fill it: the controller from its watches and from the answers to its own writes, the CLI from one listing. An object
is taken only where it is newer than the one we have, so a pass always sees what the pass before it wrote, however late
the watch is: without that, a rollout could move a second node before it has seen that the first was moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import BUILD_KEY_LABEL, MODEL_LABEL, REVISION_LABEL
from edgesmith.cluster import parse, parse_build
from edgesmith.cluster.fields import Raw, text
from edgesmith.cluster.kinds import DAEMON_SET, DEVICE_PROFILE, EDGE_MODEL, JOB, NODE, POD, Kind
from edgesmith.cluster.parse_build import BuildPod
from edgesmith.decide.snapshot import BuildJob, Node, Pod, Revision

T = TypeVar("T")
Key = tuple[str, str]
"""(namespace, name); the namespace is empty for kinds that have none."""

WATCHED = (EDGE_MODEL, DEVICE_PROFILE, NODE, POD, JOB, DAEMON_SET)
_GRAVES = 4096


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One object."""

    noun: T
    version: int
    """The resourceVersion as a number; 0 where it is none."""
    uid: str
    owner: str
    """UID of its controller."""
    model: str
    """The EdgeModel that its labels name."""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of an object. `old` is None for a new one, `new` for one that is gone."""

    kind: Kind
    key: Key
    model: str
    old: Any
    new: Any


class Table(Generic[T]):
    """The objects of one kind."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry[T]] = {}
        self._by_model: dict[Key, set[str]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, namespace: str, name: str) -> T | None:
        """One object."""
        entry = self._entries.get((namespace, name))
        return entry.noun if entry else None

    def entry(self, key: Key) -> Entry[T] | None:
        """One object with what is known about it."""
        return self._entries.get(key)

    def all(self) -> tuple[T, ...]:
        """Every object, by name."""
        return tuple(self._entries[key].noun for key in sorted(self._entries))

    def keys(self) -> tuple[Key, ...]:
        """The keys of all objects, in order."""
        return tuple(sorted(self._entries))

    def of_model(self, namespace: str, model: str) -> list[tuple[str, Entry[T]]]:
        """The objects whose label names an EdgeModel, with their names, by name."""
        names = sorted(self._by_model.get((namespace, model), ()))
        return [(name, self._entries[namespace, name]) for name in names]

    def set(self, key: Key, entry: Entry[T]) -> None:
        """Take an object in."""
        self.drop(key)
        self._entries[key] = entry
        if entry.model:
            self._by_model.setdefault((key[0], entry.model), set()).add(key[1])

    def drop(self, key: Key) -> Entry[T] | None:
        """Take an object out."""
        entry = self._entries.pop(key, None)
        if entry and entry.model:
            names = self._by_model[key[0], entry.model]
            names.discard(key[1])
            if not names:
                del self._by_model[key[0], entry.model]
        return entry


class Objects:
    """Everything we know of the cluster."""

    def __init__(self) -> None:
        self.models: Table[EdgeModel] = Table()
        self.profiles: Table[DeviceProfile] = Table()
        self.nodes: Table[Node] = Table()
        self.pods: Table[Pod] = Table()
        self.build_pods: Table[BuildPod] = Table()
        self.jobs: Table[BuildJob] = Table()
        self.revisions: Table[Revision] = Table()
        self._graves: dict[str, None] = {}

    def put(self, kind: Kind, raw: Raw) -> Change | None:
        """Take in an object as it was read; None where it says nothing new."""
        table, reader = self._place(kind, raw)
        metadata = raw.get("metadata") or {}
        uid = text(metadata, "uid")
        if table is None or uid in self._graves:
            return None
        key = (text(metadata, "namespace"), text(metadata, "name"))
        version = _version(metadata.get("resourceVersion"))
        had = table.entry(key)
        if had and had.uid == uid and version and had.version >= version:
            return None
        noun = reader(raw)
        if noun is None:
            return None
        model = parse.labels_of(raw).get(MODEL_LABEL, "") if kind.namespaced else ""
        table.set(key, Entry(noun, version, uid, parse.owner_of(raw), model))
        old = had.noun if had else None
        return None if old == noun else Change(kind, key, model, old, noun)

    def suppose(self, kind: Kind, raw: Raw) -> None:
        """Take in an object that is not there: as a dry run says that it would be."""
        table, reader = self._place(kind, raw)
        noun = reader(raw)
        if table is not None and noun is not None:
            key = (text(raw, "metadata", "namespace"), text(raw, "metadata", "name"))
            table.set(key, Entry(noun, 0, text(raw, "metadata", "uid"), "", ""))

    def remove(self, kind: Kind, raw: Raw) -> Change | None:
        """Forget an object that is gone; None where we did not know it, or know its successor."""
        metadata = raw.get("metadata") or {}
        uid = text(metadata, "uid")
        self._bury(uid)
        key = (text(metadata, "namespace"), text(metadata, "name"))
        return self._remove(kind, key, uid)

    def retain(self, kind: Kind, uids: Iterable[str], version: str) -> list[Change]:
        """Forget the objects that a listing did not hold.

        A watch that was cut for longer than the API server remembers starts anew with a listing, and what was deleted
        in between is never reported.

        Args:
            kind: What was listed.
            uids: What the listing held.
            version: The listing's own resourceVersion: what we know to be newer is kept.
        """
        listed, newest = set(uids), _version(version)
        changes = []
        for table in self._tables(kind):
            known = table.keys()
            for key in known:
                entry = table.entry(key)
                if entry and entry.uid not in listed and entry.version <= newest:
                    change = self._remove(kind, key, entry.uid)
                    changes += [change] if change else []
        return changes

    def _remove(self, kind: Kind, key: Key, uid: str) -> Change | None:
        for table in self._tables(kind):
            entry = table.entry(key)
            if entry and entry.uid == uid:
                table.drop(key)
                return Change(kind, key, entry.model, entry.noun, None)
        return None

    def _bury(self, uid: str) -> None:
        """Remember a deletion for a while: the answer to a write from before it may still be on its way."""
        if uid:
            self._graves[uid] = None
            if len(self._graves) > _GRAVES:
                del self._graves[next(iter(self._graves))]

    def _tables(self, kind: Kind) -> tuple[Table[Any], ...]:
        tables: dict[Kind, tuple[Table[Any], ...]] = {
            EDGE_MODEL: (self.models,),
            DEVICE_PROFILE: (self.profiles,),
            NODE: (self.nodes,),
            POD: (self.pods, self.build_pods),
            JOB: (self.jobs,),
            DAEMON_SET: (self.revisions,),
        }
        return tables[kind]

    def _place(self, kind: Kind, raw: Raw) -> tuple[Table[Any] | None, Callable[[Raw], Any]]:
        """Where an object belongs and who reads it."""
        labels = parse.labels_of(raw)
        if kind is POD:
            if labels.get(REVISION_LABEL):
                return self.pods, parse.pod
            build = BUILD_KEY_LABEL in labels or parse_build.JOB_NAME_LABEL in labels
            return (self.build_pods if build else None), parse_build.build_pod
        readers: dict[Kind, tuple[Table[Any], Callable[[Raw], Any]]] = {
            EDGE_MODEL: (self.models, parse.edge_model),
            DEVICE_PROFILE: (self.profiles, parse.device_profile),
            NODE: (self.nodes, parse.node),
            JOB: (self.jobs, parse_build.job),
            DAEMON_SET: (self.revisions, parse.revision),
        }
        return readers[kind]


def _version(value: Any) -> int:
    """A resourceVersion as a number. They can be compared as such (Kubernetes API concepts, resource versions)."""
    return int(value) if isinstance(value, str) and value.isdigit() else 0
