"""Chooses the channels: again and again those that cost least for the multiplications that they save.

A step takes some channels of one group, so that what is left is a number that processors are quick with: sixteen values
at a time, or eight, as the group had before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgesmith_builder.prune.reading import Mixer, Reading
from edgesmith_builder.prune.surgeon import Surgeon

_STEPS = (16, 8, 4, 2, 1)


@dataclass(frozen=True, slots=True)
class Step:
    """What the next step in one group would be."""

    channels: tuple[int, ...]
    cost: float
    """Lost, as shares of the variance of the layers that read it, added up."""
    after: Mapping[int, Surgeon]
    """Layers as they would be, by number."""


@dataclass(slots=True)
class Choice:
    """A graph on its way to fewer channels."""

    reading: Reading
    surgeons: dict[int, Surgeon]
    """By the number of the mixer, for those whose input may lose channels."""
    removed: dict[int, list[int]] = field(default_factory=dict)
    """By group."""
    _steps: dict[int, Step] = field(default_factory=dict)

    def __post_init__(self) -> None:
        groups = self.reading.groups
        made = (groups.find(mixer.out) for mixer in self.reading.mixers)
        self.removed = {group: [] for group in dict.fromkeys(made) if groups.free(group)}

    def work(self) -> int:
        """Multiplications of one sample."""
        total = self.reading.other
        for mixer in self.reading.mixers:
            total += round(mixer.multiplications * self._share(mixer.out) * self._read(mixer))
        for one in self.reading.depthwise:
            left = sum(self._left(group) for group in one.layout.groups)
            total += one.multiplications * left // self.reading.groups.width(one.layout)
        return total

    def run(self, most: int) -> int:
        """Remove channels until so many multiplications are left at most, or nothing more can go.

        Returns:
            Multiplications that are left.
        """
        left = self.work()
        while left > most:
            best, saves = self._best(left)
            if best is None:
                break
            self._take(best)
            left -= saves
        return left

    def _best(self, now: int) -> tuple[int | None, int]:
        """The group whose next step costs least for each multiplication that it saves, and how many it saves."""
        found: tuple[float, int, int] | None = None
        for group in self.removed:
            step = self._step(group)
            if step is None:
                continue
            self.removed[group].extend(step.channels)
            saves = now - self.work()
            del self.removed[group][-len(step.channels) :]
            rate = step.cost / saves if saves else float("inf")
            if found is None or rate < found[0]:
                found = (rate, group, saves)
        return (None, 0) if found is None else found[1:]

    def _step(self, group: int) -> Step | None:
        """The next step in a group; None where it has as few channels as it may."""
        size = self.reading.groups.sizes[group]
        count = next(step for step in _STEPS if size % step == 0 and (step * 2 <= size or step == 1))
        if size - len(self.removed[group]) <= count:
            return None
        if group not in self._steps:
            self._steps[group] = self._tried(group, count)
        return self._steps[group]

    def _tried(self, group: int, count: int) -> Step:
        readers = {number: self.surgeons[number].copy() for number in self._readers(group)}
        gone = set(self.removed[group])
        channels: list[int] = []
        total = 0.0
        for _ in range(count):
            costs = [0.0] * self.reading.groups.sizes[group]
            for number, surgeon in readers.items():
                own = surgeon.costs().tolist()
                for first in self.offsets(self.reading.mixers[number], group):
                    costs = [cost + own[first + at] for at, cost in enumerate(costs)]
            chosen = min((at for at in range(len(costs)) if at not in gone), key=costs.__getitem__)
            total += costs[chosen]
            for number, surgeon in readers.items():
                for first in self.offsets(self.reading.mixers[number], group):
                    surgeon.remove(first + chosen)
            gone.add(chosen)
            channels.append(chosen)
        return Step(tuple(channels), total, readers)

    def _take(self, group: int) -> None:
        step = self._steps[group]
        self.removed[group].extend(step.channels)
        self.surgeons.update(step.after)
        stale = {group} | {other for number in step.after for other in self._read_by(number)}
        for number, mixer in enumerate(self.reading.mixers):
            if self.reading.groups.find(mixer.out) == group and number in self.surgeons:
                self.surgeons[number].forget(list(step.channels), self.reading.groups.sizes[mixer.out])
                stale |= self._read_by(number)
        for one in stale:
            self._steps.pop(one, None)

    def offsets(self, mixer: Mixer, group: int) -> list[int]:
        """Where a group's channels begin among those that a mixer reads."""
        found, at = [], 0
        for one in mixer.into.groups if mixer.into else ():
            if self.reading.groups.find(one) == group:
                found.append(at)
            at += self.reading.groups.sizes[one]
        return found

    def _readers(self, group: int) -> list[int]:
        return [number for number in self.surgeons if self.offsets(self.reading.mixers[number], group)]

    def _read_by(self, number: int) -> set[int]:
        into = self.reading.mixers[number].into
        return {self.reading.groups.find(group) for group in into.groups} if into else set()

    def _left(self, group: int) -> int:
        leader = self.reading.groups.find(group)
        return self.reading.groups.sizes[leader] - len(self.removed.get(leader, ()))

    def _share(self, group: int) -> float:
        return self._left(group) / self.reading.groups.sizes[group]

    def _read(self, mixer: Mixer) -> float:
        """The share of its input channels that a mixer still reads."""
        if mixer.into is None:
            return 1.0
        return sum(self._left(group) for group in mixer.into.groups) / self.reading.groups.width(mixer.into)
