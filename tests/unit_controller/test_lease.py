"""One operator at a time, on an API server in memory that knows conflicts."""

from __future__ import annotations

import asyncio
import copy
from typing import Any, cast

import pytest
import virtual_time
from virtual_time import now

from edgesmith.cluster.client import Client, Object
from edgesmith.cluster.errors import Conflict, Unreachable
from edgesmith.cluster.kinds import Kind
from edgesmith.cluster.lease import ATTEMPT, DEADLINE, DURATION, RENEW, Lease, LeaseLost, Times
from edgesmith.controller.run import STOP_SECONDS

TERMINATION = 30.0
"""Seconds that the chart gives the operator to end."""
QUICK = Times(duration=0.3, renew=0.02, deadline=0.2, attempt=0.1, retry=0.02)


class Memory:
    """One Lease."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self.version = 0
        self.down = False
        self.delay = 0.0
        self.renewed_at = 0.0

    def _check(self) -> None:
        if self.down:
            raise Unreachable("reading the Lease failed")

    async def get(self, _kind: Kind, _namespace: str, _name: str) -> Object | None:
        self._check()
        await asyncio.sleep(self.delay)
        return copy.deepcopy(self.lease)

    async def create(self, manifest: Object, _kind: Kind) -> Object:
        self._check()
        if self.lease is not None:
            raise Conflict("it is there already")
        return self._keep(manifest)

    async def replace(self, _kind: Kind, manifest: Object) -> Object:
        self._check()
        if manifest["metadata"].get("resourceVersion") != str(self.version):
            raise Conflict("somebody was quicker")
        return self._keep(manifest)

    def _keep(self, manifest: Object) -> Object:
        self.version += 1
        self.renewed_at = now()
        self.lease = copy.deepcopy(manifest)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return self.lease

    @property
    def holder(self) -> Any:
        return self.lease and self.lease["spec"]["holderIdentity"]


def lease(memory: Memory, holder: str) -> Lease:
    """A Lease with times of tenths of seconds, for virtual time."""
    return normal(memory, holder, times=QUICK)


def test_the_first_gets_it_and_the_second_waits_until_it_is_given_back() -> None:
    async def wait() -> None:
        memory = Memory()
        first, second = lease(memory, "one"), lease(memory, "two")
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        keeping = asyncio.create_task(first.keep())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.6)
        assert memory.holder == "one"
        keeping.cancel()
        await first.release()
        await asyncio.wait_for(waiting, 5)
        assert memory.holder == "two"
        assert memory.lease is not None
        assert memory.lease["spec"]["leaseTransitions"] == 1

    virtual_time.run(wait())


def test_one_that_is_not_renewed_is_taken_over() -> None:
    async def take_over() -> None:
        memory = Memory()
        await lease(memory, "dead").acquire()
        second = lease(memory, "two")
        # A holder says itself how long it may be silent, in whole seconds.
        await asyncio.wait_for(second.acquire(), 5)
        assert second.held

    virtual_time.run(take_over())


def test_a_holder_that_cannot_renew_gives_up_before_others_may_take_it() -> None:
    async def give_up() -> None:
        memory = Memory()
        first = lease(memory, "one")
        await first.acquire()
        memory.down, started = True, now()
        with pytest.raises(LeaseLost, match=r"was not renewed for 0\.2 s"):
            await first.keep()
        assert not first.held
        assert now() - started < QUICK.duration

    virtual_time.run(give_up())


def test_an_api_server_that_does_not_answer_is_said_not_to(caplog: pytest.LogCaptureFixture) -> None:
    async def hang() -> None:
        memory = Memory()
        first = lease(memory, "one")
        await first.acquire()
        memory.delay = 60.0
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(first.keep(), 5)

    virtual_time.run(hang())
    assert "the lease could not be renewed: no answer in time" in caplog.messages


def test_a_holder_that_was_replaced_notices() -> None:
    async def replace() -> None:
        memory = Memory()
        first = lease(memory, "one")
        await first.acquire()
        assert memory.lease is not None
        memory.lease["spec"]["holderIdentity"] = "two"
        with pytest.raises(LeaseLost, match="two has taken the lease"):
            await asyncio.wait_for(first.keep(), 5)

    virtual_time.run(replace())


def test_what_is_not_ours_is_not_given_back() -> None:
    async def give_back() -> None:
        memory = Memory()
        first = lease(memory, "one")
        await first.acquire()
        assert memory.lease is not None
        memory.lease["spec"]["holderIdentity"] = "two"
        await first.release()
        assert memory.holder == "two"

    virtual_time.run(give_back())


def normal(memory: Memory, holder: str, **more: Any) -> Lease:
    """A Lease with the times of a real one, for virtual time."""
    return Lease(cast("Client", memory), "ns", holder, now, **more)


def test_a_holder_whose_attempts_hang_gives_up_before_another_may_take_it() -> None:
    async def hang(after: float) -> tuple[float, float]:
        """How long after the last renewal the holder gives up, and how long before another one is in."""
        memory = Memory()
        first, second = normal(memory, "one"), normal(memory, "two")
        await first.acquire()
        keeping = asyncio.create_task(first.keep())
        taking = asyncio.create_task(second.acquire())
        await asyncio.sleep(after)
        memory.delay = 1000.0
        with pytest.raises(LeaseLost, match="was not renewed for 45 s"):
            await keeping
        assert not first.held
        lost, renewed = now(), memory.renewed_at
        memory.delay = 0.0
        await taking
        return lost - renewed, now() - lost

    for after in (0.0, RENEW - 0.1, RENEW + 0.1, 27.3):
        lost, alone = virtual_time.run(hang(after))
        assert lost <= DEADLINE
        assert alone > 0


def test_the_deadline_runs_from_before_an_attempt_was_sent() -> None:
    async def slow() -> None:
        memory = Memory()
        first = normal(memory, "one")
        memory.delay = 6.0
        await first.acquire()
        assert first.age == 6.0
        memory.down = True
        started = now()
        with pytest.raises(LeaseLost):
            await first.keep()
        assert now() - started == DEADLINE - 6.0

    virtual_time.run(slow())


def test_an_answer_to_the_first_attempt_that_comes_too_late_is_no_lease() -> None:
    async def late() -> None:
        memory = Memory()
        memory.delay = DURATION
        first = normal(memory, "one")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(first.acquire(), 3600)
        assert not first.held

    virtual_time.run(late())


def test_stopping_does_not_wait_for_an_api_server_that_hangs() -> None:
    async def stop() -> None:
        memory = Memory()
        first = normal(memory, "one")
        await first.acquire()
        memory.delay, started = 1000.0, now()
        with pytest.raises(TimeoutError):
            await first.release()
        assert now() - started == ATTEMPT < TERMINATION - STOP_SECONDS

    virtual_time.run(stop())


def test_a_connection_that_hangs_is_not_the_end() -> None:
    """An API server that stands still for half a minute, as on a board whose disk is busy, finds the holder alive."""

    async def stall() -> None:
        memory = Memory()
        first = normal(memory, "one")
        await first.acquire()
        keeping = asyncio.create_task(first.keep())
        await asyncio.sleep(RENEW - 0.1)
        memory.delay = 1000.0
        await asyncio.sleep(30)
        memory.delay = 0.0
        await asyncio.sleep(ATTEMPT + RENEW)
        assert first.held
        assert first.age is not None
        assert first.age <= RENEW
        keeping.cancel()

    virtual_time.run(stall())


def test_a_resource_version_that_goes_down_is_noticed() -> None:
    async def restore() -> None:
        said: list[str] = []
        memory = Memory()
        first = normal(memory, "one", restored=said.append)
        await first.acquire()
        keeping = asyncio.create_task(first.keep())
        await asyncio.sleep(60)
        assert said == []
        backup = copy.deepcopy(memory.lease)
        await asyncio.sleep(60)
        assert backup is not None
        memory.lease, memory.version = backup, int(backup["metadata"]["resourceVersion"])
        await asyncio.sleep(RENEW)
        assert said == ["the Lease is of resourceVersion 12, and 24 is known"]
        await asyncio.sleep(60)
        assert len(said) == 1
        keeping.cancel()

    virtual_time.run(restore())
