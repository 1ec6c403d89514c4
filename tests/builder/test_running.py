"""A build that a signal's handler stops has a way out that ends."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from edgesmith_builder import running


class StoppedError(SystemExit):
    """What a signal's handler raises."""


async def _until_stopped() -> None:
    await asyncio.Event().wait()


def _stop() -> None:
    raise StoppedError


async def _answer() -> int:
    await asyncio.sleep(0)
    return 7


def test_what_the_work_returns_is_returned() -> None:
    assert running.run(_answer()) == 7


def test_what_runs_beside_is_cancelled_and_ends_itself(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []

    async def beside(what: str, *, fails: bool) -> None:
        try:
            await _until_stopped()
        finally:
            await asyncio.sleep(0)
            ended.append(what)
            if fails:
                raise ValueError(what)

    async def work() -> None:
        tasks = [asyncio.create_task(beside(what, fails=what == "two")) for what in ("one", "two")]
        asyncio.get_running_loop().call_soon(_stop)
        await asyncio.wait(tasks)

    with pytest.raises(StoppedError):
        running.run(work())
    assert sorted(ended) == ["one", "two"]
    assert not caplog.records


def test_what_is_cancelled_again_in_every_round_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a cancel scope of anyio does that was left in the middle of its own end."""
    monkeypatch.setattr(running, "WAY_OUT", 0.2)

    async def never_ends() -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await _until_stopped()

    async def work() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.create_task(never_ends())
        for one in asyncio.all_tasks():
            one._log_destroy_pending = False  # type: ignore[attr-defined]  # they are left in the middle on purpose
        await asyncio.sleep(0)

        def again() -> None:
            task.cancel()
            loop.call_soon(again)

        again()
        loop.call_later(0.05, _stop)
        await task

    with pytest.raises(StoppedError):
        running.run(work())
