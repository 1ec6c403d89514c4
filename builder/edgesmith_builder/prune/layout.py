"""Which channels a tensor has, and which channels of a graph can only be removed together.

A *group* is a set of channels that several tensors share, position by position: what a convolution gives, what a ReLU
or a depthwise convolution makes of it, and whatever is added to it. A channel is removed from all of them or from none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Layout:
    """The channels of one tensor."""

    axis: int
    """Where they lie."""
    groups: tuple[int, ...]
    """The groups that lie behind one another along it: one, or those that were concatenated."""
    repeat: int = 1
    """Values along the axis for each channel: a flattened picture has one for each of its pixels."""

    def moved(self, axis: int) -> Layout:
        """The same channels along another axis."""
        return Layout(axis, self.groups, self.repeat)

    def flat(self) -> Layout:
        """The channels themselves, one value each."""
        return Layout(self.axis, self.groups)


@dataclass(slots=True)
class Groups:
    """All groups of a graph: sets that are joined as the graph is read."""

    sizes: list[int] = field(default_factory=list)
    """Channels of each, by its number."""
    _leader: list[int] = field(default_factory=list)
    _pinned: set[int] = field(default_factory=set)

    def new(self, size: int) -> int:
        """A group of its own."""
        self.sizes.append(size)
        self._leader.append(len(self._leader))
        return len(self._leader) - 1

    def find(self, group: int) -> int:
        """The number that a group goes by, after all that was joined."""
        while self._leader[group] != group:
            group = self._leader[group]
        return group

    def join(self, one: Layout, other: Layout) -> bool:
        """Make two tensors' channels the same, one by one; False where they do not match."""
        if (one.axis, one.repeat) != (other.axis, other.repeat):
            return False
        if [self.sizes[group] for group in one.groups] != [self.sizes[group] for group in other.groups]:
            return False
        for a, b in zip(one.groups, other.groups, strict=True):
            first, second = sorted((self.find(a), self.find(b)))
            self._leader[second] = first
            if second in self._pinned:
                self._pinned.add(first)
        return True

    def pin(self, layouts: Iterable[Layout | None]) -> None:
        """Keep all channels of some tensors."""
        for layout in layouts:
            self._pinned.update(self.find(group) for group in (layout.groups if layout else ()))

    def free(self, group: int) -> bool:
        """Whether channels of a group may be removed."""
        return self.find(group) not in self._pinned

    def width(self, layout: Layout) -> int:
        """Channels of a tensor; times `repeat` it is the size of the axis."""
        return sum(self.sizes[group] for group in layout.groups)
