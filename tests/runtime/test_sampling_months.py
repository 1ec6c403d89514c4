"""Months of a node in virtual time, with everything that can go wrong; the checker makes no exception.

The link is cut for hours, answers are lost, the bucket refuses, the process is killed and the power goes at any byte,
the disk is full, clocks are wrong by years. Nothing is in the bucket twice, no day has more than its bytes, and what
was kept is in the bucket, in the spool, or went for something that is worth more when there was no room.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from power import PowerCut, PowerDisk, chances

from edgesmith_runtime.metrics import Metrics
from edgesmith_runtime.observing import Run
from edgesmith_runtime.sampling.choosing import Chooser
from edgesmith_runtime.sampling.likeness import Likeness
from edgesmith_runtime.sampling.recorder import Keeping, Recorder, Subject
from edgesmith_runtime.sampling.redaction import Redaction
from edgesmith_runtime.spool.budget import DAY, DayBudget
from edgesmith_runtime.spool.elapsed import Instant
from edgesmith_runtime.spool.kept import Kept
from edgesmith_runtime.spool.spool import Put, Spool, Waiting
from edgesmith_runtime.uplink.answers import Outcome
from edgesmith_runtime.uplink.sending import Sending

FOLDER = Path("/spool")
OBJECTS = FOLDER / "objects"
DAY_BYTES = 80_000
LIMIT = 40 * 4096
STEP = 1200.0
HOUR = 3600.0


@dataclass
class Bucket:
    """Holds what arrived; what is there already is refused, as `If-None-Match` has it."""

    objects: dict[str, bytes] = field(default_factory=dict)
    written: int = 0

    def put(self, digest: str, data: bytes) -> Outcome:
        if digest in self.objects:
            assert self.objects[digest] == data
            return Outcome("AlreadyThere")
        self.objects[digest] = data
        self.written += 1
        return Outcome("Sent", sent=len(data))


class Watched(Spool):
    """A spool that tells the checker what goes in and out of it."""

    def __init__(self, disk: PowerDisk, node: Node) -> None:
        super().__init__(disk, OBJECTS, LIMIT)
        self._node = node

    def put(self, data: bytes, *, value: int, random: bool = False) -> Put:
        digest, before = hashlib.sha256(data).hexdigest(), self.kept()
        self._node.doing = (digest, sum(one.room for one in before), len(data))
        put = super().put(data, value=value, random=random)
        over = sum(one.room for one in before) + Kept("", len(data)).room > LIMIT
        assert not put.dropped or over or self._node.disk.room is not None
        for one in put.dropped:
            self._node.kept.pop(one.digest, None)
        if put.kept:
            self._node.kept[digest] = len(data)
            self._node.taken.append((self._node.real, len(data)))
        self._node.doing = None
        return put

    def give_room(self, size: int, *, value: int, random: bool = False) -> tuple[Kept, ...]:
        gone = super().give_room(size, value=value, random=random)
        assert not gone or self._node.disk.room is not None, "something went though there was room"
        for one in gone:
            self._node.kept.pop(one.digest, None)
        return gone


class Node:
    """A node, and what it must not lose."""

    def __init__(self, seed: int) -> None:
        self.chance = chances(seed)
        self.numbers = np.random.default_rng(seed)
        self.disk = PowerDisk()
        self.bucket = Bucket()
        self.real = 0.0
        self.boot, self.up = 0, 0.0
        self.kept = dict[str, int]()
        """What the spool took and has not let go: by digest, its bytes."""
        self.taken = list[tuple[float, int]]()
        self.doing: tuple[str, int, int] | None = None
        """What is being put now, with the room that was taken before."""
        self.link, self.refusing, self.deaf = True, False, False
        self.wall = 1.8e9
        self.next_try = 0.0
        self.starts = 0
        self.start()

    def instant(self) -> Instant:
        return Instant(str(self.boot), self.up)

    def start(self) -> None:
        """The processes start; the power may go meanwhile too."""
        self.starts += 1
        spool = Watched(self.disk, self)
        for one in spool.recover():
            self.kept.pop(one.digest, None)
        budget = DayBudget(self.disk, FOLDER, DAY_BYTES, self.instant())
        chooser = Chooser(
            {"Uncertain": 0.7 * DAY_BYTES / DAY, "Random": 0.3 * DAY_BYTES / DAY},
            Likeness([{"x": self.numbers.normal(size=(1, 8)).astype(np.float32)} for _ in range(4)]),
            seed=self.starts,
            now=budget.time,
        )
        subject = Subject("m", "d", "int8", "n1", frozenset({"x", "y"}), "y")
        keeping = Keeping(spool, budget, FOLDER / "uplink.json")
        self.recorder = Recorder(subject, chooser, Redaction(), keeping, Metrics(), now=self.instant)
        self.waiting = Waiting(self.disk, OBJECTS)
        self.sending = Sending(self.chance)
        self.next_try = 0.0

    def ends(self, *, power: bool) -> None:
        """The process is killed, or the power goes: what is found afterwards is held against what was kept."""
        if power:
            self.disk = self.disk.after_cut(self.chance)
            self.boot, self.up = self.boot + 1, self.chance.uniform(5, 60)
            self.real += self.chance.choice([60.0, HOUR, 3 * DAY])
        self.disk.cut_at = None
        self.wall += self.chance.choice([0, 0, -50, 70]) * 365.25 * DAY
        doing, self.doing = self.doing, None
        there = {one.digest: one for one in Waiting(self.disk, OBJECTS).kept()}
        lost = set(self.kept) - set(there) - set(self.bucket.objects)
        if doing is not None and lost:
            digest, room, size = doing
            full = room + Kept("", size).room > LIMIT or self.disk.room is not None
            assert full, "something went though there was room"
            assert digest in there or self.disk.room is not None, "something went for nothing"
            for one in lost:
                del self.kept[one]
        elif lost:
            raise AssertionError(f"lost for nothing: {lost}")
        if doing is not None and doing[0] in there:
            self.kept[doing[0]] = doing[2]
            self.taken.append((self.real, doing[2]))
        self.start()

    def serve(self) -> None:
        """Requests of twenty minutes."""
        for _ in range(3):
            x = self.numbers.normal(size=(1, 8)).astype(np.float32)
            y = self.numbers.dirichlet([0.3] * 3, size=1).astype(np.float32)
            self.recorder.observe(Run({"x": x}, {"y": y}, self.wall))
            self.recorder.idle(self.wall)

    def send(self) -> None:
        """What the uplink does in twenty minutes."""
        end = self.real + STEP
        now = max(self.real, self.next_try)
        while now < end:
            one = self.sending.next(self.waiting.kept())
            if one is None:
                break
            data = self.waiting.read(one)
            assert data is not None, "an object is torn"
            outcome = self.try_to_send(one, data)
            if outcome.stored:
                self.waiting.remove(one)
            now += 1 + self.sending.after(one, outcome)
        self.next_try = now

    def try_to_send(self, one: Kept, data: bytes) -> Outcome:
        if not self.link:
            return Outcome("Unreachable")
        if self.refusing:
            return Outcome(self.chance.choice(["Forbidden", "Full", "SlowDown", "ClockWrong"]))
        found = self.bucket.put(one.digest, data)
        return Outcome("Unreachable") if self.deaf and self.chance.random() < 0.5 else found

    def step(self) -> None:
        """Twenty minutes."""
        chance = self.chance
        if chance.random() < 1 / 40:  # for half a day as a rule
            self.link = chance.random() < 0.5
        if chance.random() < 1 / 200:
            self.refusing, self.deaf = chance.random() < 0.3, chance.random() < 0.5
        if chance.random() < 1 / 300:
            self.disk.room = self.disk.used + chance.randint(0, 6000) if chance.random() < 0.3 else None
        cut = chance.random() < 1 / 100
        if cut:
            self.disk.cut_at = self.disk.steps + chance.randint(0, 4000)
        try:
            self.serve()
            self.send()
        except PowerCut:
            self.ends(power=chance.random() < 0.5)
        self.real, self.up, self.wall = self.real + STEP, self.up + STEP, self.wall + STEP

    def check(self) -> None:
        """Nothing twice, nothing lost, no day above its bytes."""
        there = {one.digest for one in self.waiting.kept()}
        self.kept = {digest: size for digest, size in self.kept.items() if digest not in self.bucket.objects}
        assert set(self.kept) <= there
        assert self.bucket.written == len(self.bucket.objects)
        assert sum(one.room for one in self.waiting.kept()) <= LIMIT
        while self.taken and self.taken[0][0] <= self.real - DAY:
            self.taken.pop(0)
        assert sum(size for _, size in self.taken) <= DAY_BYTES


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_a_month(seed: int) -> None:
    node, sent = Node(seed), 0
    while node.real < 30 * DAY:
        node.step()
        node.check()
    sent = len(node.bucket.objects)
    assert node.starts > 10
    node.link, node.refusing, node.deaf, node.disk.room, node.disk.cut_at = True, False, False, None, None
    for _ in range(20):  # the link is back, and stays
        node.real += STEP
        node.send()
    assert node.waiting.kept() == []
    node.check()
    assert node.kept == {}
    assert all(hashlib.sha256(data).hexdigest() == digest for digest, data in node.bucket.objects.items())
    assert sent * 1500 > 0.3 * 30 * DAY_BYTES, "the budget is used"
    assert reasons(node) == {"Uncertain", "Random"}


def reasons(node: Node) -> set[Any]:
    import io  # noqa: PLC0415
    import json  # noqa: PLC0415

    found = set()
    for data in node.bucket.objects.values():
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found.add(json.loads(bytes(arrays["sample"]))["reason"])
    return found
