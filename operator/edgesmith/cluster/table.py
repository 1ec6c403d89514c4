"""The objects of one kind, by name and by the EdgeModel that their labels name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from edgesmith.cluster.kinds import Kind

T = TypeVar("T")
ObjectKey = tuple[str, str]
"""(namespace, name); the namespace is empty for kinds that have none."""


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

    def __init__(self) -> None:
        self._entries: dict[ObjectKey, Entry[T]] = {}
        self._by_model: dict[ObjectKey, set[str]] = {}

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

    def newest(self) -> int:
        """The highest resourceVersion of any object; 0 where there is none."""
        return max((entry.version for entry in self._entries.values()), default=0)

    def of_model(self, namespace: str, model: str) -> list[tuple[str, Entry[T]]]:
        """The objects whose label names an EdgeModel, with their names, by name."""
        names = sorted(self._by_model.get((namespace, model), ()))
        return [(name, self._entries[namespace, name]) for name in names]

    def set(self, key: ObjectKey, entry: Entry[T]) -> None:
        """Take an object in."""
        self.drop(key)
        self._entries[key] = entry
        if entry.model:
            self._by_model.setdefault((key[0], entry.model), set()).add(key[1])

    def drop(self, key: ObjectKey) -> Entry[T] | None:
        """Take an object out."""
        entry = self._entries.pop(key, None)
        if entry and entry.model:
            names = self._by_model[key[0], entry.model]
            names.discard(key[1])
            if not names:
                del self._by_model[key[0], entry.model]
        return entry
