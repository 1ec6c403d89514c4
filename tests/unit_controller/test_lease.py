"""One operator at a time, on an API server in memory that knows conflicts."""

from __future__ import annotations

import asyncio
import copy
import time
from typing import Any, cast

import pytest

from edgesmith.cluster.client import Client, Object
from edgesmith.cluster.errors import Conflict, Unreachable
from edgesmith.cluster.kinds import Kind
from edgesmith.cluster.lease import Lease, LeaseLost, Times

QUICK = Times(duration=0.3, renew=0.02, deadline=0.2, retry=0.02)


class Memory:
    """One Lease."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self.version = 0
        self.down = False

    def _check(self) -> None:
        if self.down:
            raise Unreachable("reading the Lease failed")

    async def get(self, _kind: Kind, _namespace: str, _name: str) -> Object | None:
        self._check()
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
        self.lease = copy.deepcopy(manifest)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return self.lease

    @property
    def holder(self) -> Any:
        return self.lease and self.lease["spec"]["holderIdentity"]


def lease(memory: Memory, holder: str) -> Lease:
    return Lease(cast("Client", memory), "ns", holder, time.monotonic, QUICK)


async def test_the_first_gets_it_and_the_second_waits_until_it_is_given_back() -> None:
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


async def test_one_that_is_not_renewed_is_taken_over() -> None:
    memory = Memory()
    await lease(memory, "dead").acquire()
    second = lease(memory, "two")
    # A holder says itself how long it may be silent, in whole seconds.
    await asyncio.wait_for(second.acquire(), 5)
    assert second.held


async def test_a_holder_that_cannot_renew_gives_up_before_others_may_take_it() -> None:
    memory = Memory()
    first = lease(memory, "one")
    await first.acquire()
    memory.down = True
    started = time.monotonic()
    with pytest.raises(LeaseLost, match=r"was not renewed for 0\.2 s"):
        await asyncio.wait_for(first.keep(), 5)
    assert not first.held
    assert time.monotonic() - started < 1


async def test_a_holder_that_was_replaced_notices() -> None:
    memory = Memory()
    first = lease(memory, "one")
    await first.acquire()
    assert memory.lease is not None
    memory.lease["spec"]["holderIdentity"] = "two"
    with pytest.raises(LeaseLost, match="two has taken the lease"):
        await asyncio.wait_for(first.keep(), 5)


async def test_what_is_not_ours_is_not_given_back() -> None:
    memory = Memory()
    first = lease(memory, "one")
    await first.acquire()
    assert memory.lease is not None
    memory.lease["spec"]["holderIdentity"] = "two"
    await first.release()
    assert memory.holder == "two"
