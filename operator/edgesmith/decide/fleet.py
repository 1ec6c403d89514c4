"""The nouns of a rollout: nodes, revisions, variants and rules, as the planner reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property

from edgesmith.api.units import parse_share
from edgesmith.decide.devices import Shortage
from edgesmith.decide.room import NoRoom
from edgesmith.decide.strategy import Strategy
from edgesmith.decide.window import ANY_TIME, Opening

ABSENT_SHARE = "10%"
"""The share of nodes that may be missing where a step is held or a revision completed."""


class ServerState(StrEnum):
    """How a node does with the revision that its label names."""

    NONE = "None"
    """No label, or one that names no revision that exists."""
    STARTING = "Starting"
    STAGED = "Staged"
    """It is pulled and has passed its self-test beside the old server. In records only; a node's state is Starting."""
    SERVING = "Serving"
    FAILED = "Failed"


_SERVING = ServerState.SERVING
"""Asked of every node, and a member that is looked up in its enumeration takes five times as long."""


class Lent(StrEnum):
    """How it stands with a trial for which a node gave up its server."""

    TRIES = "Tries"
    TRIED = "Tried"
    LOST = "Lost"
    """It did not finish, so it says nothing good of the node."""


class RolloutPhase(StrEnum):
    """Where a variant's rollout stands."""

    NO_NODES = "NoNodes"
    WAITING = "Waiting"
    CANARY = "Canary"
    ROLLING_OUT = "RollingOut"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    NONE_LEFT = "NoneLeft"
    DEGRADED = "Degraded"
    PAUSED = "Paused"
    WAITING_FOR_WINDOW = "WaitingForWindow"
    COMPLETE = "Complete"


@dataclass(frozen=True, slots=True)
class Failure:
    """How a revision failed on a node."""

    attempt: str = ""
    """The retry word that it was an answer to; a later one makes the node eligible again."""
    broken: bool = False
    """Whether the node had failed on the revision before, too: then it says little about this one."""
    note: str = ""
    """The end of a sentence that begins with the node's name."""


@dataclass(slots=True)
class NodeState:
    """One node of a variant. Every time is the hub's: what the operator saw first, never a device's clock.

    Nothing changes one, but a pass makes one for every node of the fleet: a frozen one takes three times as long, and
    so does reading a named tuple.
    """

    name: str
    ready: bool
    """The node's Ready condition is True: its kubelet was heard of within the grace period."""
    label: str | None
    """The revision that it was given, be it ready or not."""
    server: ServerState
    since: datetime | None = None
    """Since when the server is in this state."""
    moved: datetime | None = None
    """When the node got its label, or came back with it."""
    away: datetime | None = None
    """Since when the node is gone; None where it is not."""
    unsteady: datetime | None = None
    """When it went first of all the times that it did with its label, until it has served long enough."""
    late: bool = False
    """Whether that is `progressDeadline` ago, and it is gone or starts still: nobody waits for it any more."""
    note: str = ""
    """What is wrong or awaited: the end of a sentence that begins with the node's name."""
    pull_failed: bool = False
    fetching: bool = False
    """Whether it starts a server and nothing says yet that its image is there."""
    deadline: datetime | None = None
    """When a node that starts counts as failed."""
    taint: str = ""
    """The taint that keeps new pods away, or empty."""
    failures: Mapping[str, Failure] = field(default_factory=dict)
    """Revisions that failed on the node and were not asked for again, with how."""
    previous: str | None = None
    """The revision that the node ran before its label's."""
    foreign: bool = False
    """Whether its label names a revision of another profile."""
    unfinished: bool = False
    """Whether its label names a revision that is not completed."""
    labels: Mapping[str, str] = field(default_factory=dict)
    shortage: Shortage | None = None
    """A device that a server of its profile asks for and the node does not offer."""
    beside: str | None = None
    """The revision that it runs while it makes `label` ready beside that; None where it runs `label` alone."""
    beside_serving: bool = False
    """Whether the server of `beside` is ready, as far as is known."""
    staged: bool = False
    """Whether `label` has passed its self-test beside the old server and waits for that to end."""
    answers: bool = False
    """Whether its server is ready, as far as is known, though the node has failed on it: it was started anew, by the
    device or by itself."""
    shaky: bool = False
    """Whether it went and came back with a revision that is not completed."""
    unmade: str = ""
    """The pod that is to be made anew, since what it was given of its device is gone; empty where there is none."""
    lent: Lent | None = None
    """How it stands with a trial for which it gave up its server; None where it did not, or has run something since."""
    full: NoRoom | None = None
    """The revision that its disk had no room for when it looked last; None where there is none."""
    lacks: str = ""
    """What its disk lacks for the revision that it makes ready, as the end of a sentence; empty where that was not
    found."""
    untried: str = ""
    """What its disk lacks for the candidates that it is to try, as the end of a sentence; empty where it tries none."""
    movable: bool = field(init=False)
    """Whether it can be given another revision."""
    serving: bool = field(init=False)
    """Whether its server is ready, as far as is known."""
    gone: bool = field(init=False)
    """Whether its server cannot be judged for a reason of the node: it is NotReady, or lost the server's device.

    A server that goes on without its device, as far as the node offers it, is judged as any other.
    """
    well: bool = field(init=False)
    """Whether it is movable, serves and has failed on nothing: as most nodes are, so the rest are looked at alone."""

    def __post_init__(self) -> None:
        # Each is looked up once: this runs for every node of the fleet.
        ready, offers, serving = self.ready, self.shortage is None, self.server is _SERVING
        self.movable = movable = ready and offers and not self.taint
        self.serving = serving
        self.gone = not ready or not (offers or serving)
        self.well = movable and serving and self.beside is None and not (self.failures or self.full or self.untried)

    @property
    def bare(self) -> bool:
        """Whether it runs nothing: it has no revision, or makes its first one ready."""
        return not self.beside and (self.beside is not None or self.server is ServerState.NONE)

    @property
    def runs(self) -> str | None:
        """The revision that it runs, whatever it makes ready beside that; None, or empty, where it runs none."""
        return self.label if self.beside is None else self.beside

    def no_room(self, revision: str) -> bool:
        """Whether its disk had no room for a revision, and nothing says that it has now."""
        return bool(self.lack_of_room(revision))

    def lack_of_room(self, revision: str) -> str:
        """What its disk lacked for a revision when it looked last, as the end of a sentence; empty where nothing."""
        if self.lacks and self.label == revision:
            return self.lacks
        return self.full.note if self.full is not None and self.full.revision == revision else ""

    def rests(self, revision: str, now: datetime) -> bool:
        """Whether it is not asked yet again for room for a revision."""
        return self.full is not None and self.full.revision == revision and now < self.full.again

    @property
    def has_server(self) -> bool:
        """Whether a server of `label` is ready, whatever was found against it: with a move it would end."""
        return self.serving or self.answers

    def serves(self, revision: str) -> bool:
        """Whether it runs a revision and nothing beside that, and its server is ready, as far as is known."""
        return self.label == revision and self.serving and self.beside is None


@dataclass(frozen=True, slots=True)
class RevisionState:
    """One revision of a variant, with what has been found out about it."""

    revision: str
    created: datetime
    steps: int = 0
    """How many steps of `spec.rollout.steps` it has held."""
    proven: datetime | None = None
    """When it had held all of them."""
    completed: datetime | None = None
    """When it first served on enough of the desired nodes."""
    rolled_back: str | None = None
    """Why it was rolled back, in one sentence."""
    reason: str = ""
    """The same in one CamelCase word."""
    lost: tuple[str, ...] = ()
    """Nodes that went while they tried it as canaries."""
    promoted: int = 0
    """How many of its steps it held before their bakes were over, since it was promoted."""
    partition: str | None = None
    """The partition that was opened last for it; None where none was."""
    opened: datetime | None = None
    """When that was."""
    served: datetime | None = None
    """When every reachable node of that partition that is to run it first served it."""


def _never(_: str) -> str:
    return ""


@dataclass(frozen=True)
class Variant:
    """One variant: its nodes, its revisions, and the one that the spec asks for."""

    profile: str
    target: str | None
    """None while its image is not known."""
    revisions: tuple[RevisionState, ...]
    """The target among them."""
    nodes: tuple[NodeState, ...]
    usable: frozenset[str] = frozenset()
    """Revisions of other profiles that nodes of this one run and may go back to."""
    promoted: int = 0
    """How many of the first steps of the target need not wait for their bakes."""
    overridden: bool = False
    """Whether windows do not hold the target up; without one, the trial that chooses it."""
    left: str | None = None
    """The revision that the spec asks for, where `spec.rollout.rollbackTo` puts the target in its place."""
    strategy: Strategy | None = None
    """How its nodes go from one revision to the next; None where that cannot be known."""
    stageable: frozenset[str] = frozenset()
    """Revisions that have a DaemonSet which stages them, and whose pods look for no room."""
    looking: frozenset[str] = frozenset()
    """Revisions that have a DaemonSet which stages them, and whose pods look for room."""
    large: bool = False
    """Whether nodes look for room before they pull the image of the target."""
    images: Mapping[str, str] = field(default_factory=dict)
    """Revisions, those of other variants too, with their images by digest."""
    tried: str | None = None
    """The node that tried the candidates of which the target is one, so that it has the image."""
    trying: str | None = None
    """The node that is to have no server, since a trial needs the device that this holds."""
    busy: Callable[[str], str] = _never
    """Why a node, by its name, is not to be changed now for another EdgeModel's sake; empty where it may be."""

    @cached_property
    def unwell(self) -> tuple[NodeState, ...]:
        """The nodes that are not `well`."""
        return tuple(node for node in self.nodes if not node.well)

    @cached_property
    def carriers(self) -> Mapping[str, tuple[NodeState, ...]]:
        """Nodes by the revision that their label names."""
        table: dict[str, list[NodeState]] = defaultdict(list)
        for node in self.nodes:
            if node.label is not None:
                table[node.label].append(node)
        return {label: tuple(nodes) for label, nodes in table.items()}

    def on(self, revision: str) -> tuple[NodeState, ...]:
        """The nodes whose label names a revision."""
        return self.carriers.get(revision, ())


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of `spec.rollout.steps`."""

    nodes: int | str
    """How many nodes run the revision in this step, those of earlier steps included; a percentage is of `scope`."""
    bake: timedelta
    selector: Mapping[str, str] = field(default_factory=dict)
    promoted: bool = False
    """Whether nodes hold it as soon as they serve."""

    def count(self, scope: int) -> int:
        """`nodes` as a count, of so many nodes in scope."""
        return parse_share(self.nodes, scope)

    def scope(self, nodes: tuple[NodeState, ...]) -> tuple[NodeState, ...]:
        """The nodes that the step is about."""
        if not self.selector:
            return nodes
        wanted = self.selector.items()
        return tuple(node for node in nodes if all(node.labels.get(key) == value for key, value in wanted))


@dataclass(frozen=True, slots=True)
class Partitions:
    """`spec.rollout.partitions`."""

    label: str
    order: tuple[str, ...]
    bake: timedelta

    def of(self, labels: Mapping[str, str]) -> str:
        """A node's partition; empty where it has no such label."""
        return labels.get(self.label, "")

    def place(self, name: str) -> tuple[int, int, str]:
        """Where a partition comes: those of `order` first, nodes without the label last."""
        if name in self.order:
            return 0, self.order.index(name), name
        return (1, 0, name) if name else (2, 0, name)

    def called(self, name: str) -> str:
        """A partition as part of a sentence."""
        return f"partition {name}" if name else f"the nodes without label {self.label}"


@dataclass(frozen=True, slots=True)
class Rules:
    """`spec.rollout`."""

    steps: tuple[Step, ...]
    max_unavailable: int | str
    """Most desired nodes that may be without a ready server at once, over all variants."""
    max_failed: int | str
    """Most nodes of a variant that may fail on a revision after its first step."""
    deadline: timedelta
    """`progressDeadline`."""
    grace: timedelta = timedelta(0)
    """How long the API server takes a node for ready after it was last heard of."""
    paused: bool = False
    opening: Opening = ANY_TIME
    """What the windows say now."""
    max_pulling: int | str | None = None
    """Most nodes that may pull at once, over all variants; None: as many as may be unavailable."""
    jitter: timedelta = timedelta(0)
    """Within how long the nodes' turns begin once the steps are held."""
    partitions: Partitions | None = None
    """Which nodes come first once the steps are held; None: all at once."""

    def soon(self, node: NodeState) -> bool:
        """Whether a node went soon after it got its revision: within the deadline and the longest bake."""
        if node.away is None or node.moved is None:
            return False
        longest = max((step.bake for step in self.steps), default=timedelta(0))
        return node.away - node.moved < self.deadline + longest

    def unavailable(self, desired: int) -> int:
        """`maxUnavailable` as a count."""
        return parse_share(self.max_unavailable, desired)

    def pulling(self, desired: int) -> int | None:
        """`maxPulling` as a count."""
        return None if self.max_pulling is None else parse_share(self.max_pulling, desired)

    def absent(self, desired: int) -> int:
        """How many nodes may be missing where a step is held or a revision completed.

        Edge nodes are away all the time: as many as may be unavailable, and a tenth of them in any case.
        """
        return max(self.unavailable(desired), parse_share(ABSENT_SHARE, desired))

    def failed(self, desired: int) -> int:
        """`maxFailed` as a count; zero is one."""
        return self.max_failed if isinstance(self.max_failed, int) else parse_share(self.max_failed, desired)
