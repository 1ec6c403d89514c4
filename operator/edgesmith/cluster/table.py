"""The objects of one kind, by name and by the EdgeModel that their labels name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from edgesmith.cluster.kinds import Kind

T = TypeVar("T")
ObjectKey = tuple[str, str]
"""(namespace, name); the namespace is empty for kinds that have none."""
_Index = dict[ObjectKey, set[str]]
"""Names by namespace and what they are found by."""


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
class ObjectChange:
    """What became of an object. `old` is None for a new one, `new` for one that is gone."""

    kind: Kind
    key: ObjectKey
    model: str
    old: Any
    new: Any


class Table(Generic[T]):
    """The objects of one kind."""

    def __init__(self, group: Callable[[T], str] | None = None) -> None:
        """Make an empty one.

        Args:
            group: What else objects are found by, besides their EdgeModel; None: nothing.
        """
        self._entries: dict[ObjectKey, Entry[T]] = {}
        self._by_model: _Index = {}
        self._by_group: _Index = {}
        self._group = group

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, namespace: str, name: str) -> T | None:
        """One object."""
        entry = self._entries.get((namespace, name))
        return entry.noun if entry else None

    def entry(self, key: ObjectKey) -> Entry[T] | None:
        """One object with what is known about it."""
        return self._entries.get(key)

    def all(self) -> tuple[T, ...]:
        """Every object, by name."""
        return tuple(self._entries[key].noun for key in sorted(self._entries))

    def items(self) -> Iterator[tuple[ObjectKey, T]]:
        """Every object with its key, in no order."""
        return ((key, entry.noun) for key, entry in self._entries.items())

    def keys(self) -> tuple[ObjectKey, ...]:
        """The keys of all objects, in order."""
        return tuple(sorted(self._entries))

    def uids(self) -> set[str]:
        """The UIDs of all objects."""
        return {entry.uid for entry in self._entries.values()}

    def newest(self) -> int:
        """The highest resourceVersion of any object; 0 where there is none."""
        return max((entry.version for entry in self._entries.values()), default=0)

    def of_model(self, namespace: str, model: str) -> list[tuple[str, Entry[T]]]:
        """The objects whose label names an EdgeModel, with their names, by name."""
        names = sorted(self._by_model.get((namespace, model), ()))
        return [(name, self._entries[namespace, name]) for name in names]

    def of_group(self, namespace: str, group: str) -> list[tuple[str, Entry[T]]]:
        """The objects of a group, with their names, by name."""
        names = sorted(self._by_group.get((namespace, group), ()))
        return [(name, self._entries[namespace, name]) for name in names]

    def set(self, key: ObjectKey, entry: Entry[T]) -> None:
        """Take an object in."""
        self.drop(key)
        self._entries[key] = entry
        for index, place in self._places(key[0], entry):
            index.setdefault(place, set()).add(key[1])

    def drop(self, key: ObjectKey) -> Entry[T] | None:
        """Take an object out."""
        entry = self._entries.pop(key, None)
        for index, place in self._places(key[0], entry) if entry else ():
            names = index[place]
            names.discard(key[1])
            if not names:
                del index[place]
        return entry

    def _places(self, namespace: str, entry: Entry[T]) -> Iterator[tuple[_Index, ObjectKey]]:
        """Where an object is found besides by its name."""
        if entry.model:
            yield self._by_model, (namespace, entry.model)
        if self._group is not None:
            yield self._by_group, (namespace, self._group(entry.noun))
