"""`edgesmith status --watch` and what is shown of thousands of nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from snapshots import model

from edgesmith.cli import status as showing
from edgesmith.cli import watching
from edgesmith.cluster.errors import ClusterError
from edgesmith.cluster.kinds import EDGE_MODEL, Kind


class SeenEnoughError(Exception):
    """The test has seen enough."""


class Listing:
    """An API server that holds EdgeModels, as the watch reads it; an error in place of a list is raised."""

    def __init__(self, *answers: list[dict[str, Any]] | ClusterError) -> None:
        self.answers, self.kinds = list(answers), list[Kind]()

    async def list(self, kind: Kind, namespace: str, labels: str) -> AsyncIterator[dict[str, Any]]:
        assert (namespace, labels) == ("plant", "")
        self.kinds.append(kind)
        found = self.answers.pop(0)
        if isinstance(found, ClusterError):
            raise found
        for one in found:
            yield one


def raw(serving: int, name: str = "parts") -> dict[str, Any]:
    good = model().model_dump(mode="json", by_alias=True, exclude_none=True)
    counts = {"desired": 5000, "updated": 4500, "ready": serving, "notReady": 500}
    pending = [{"name": f"e{number}", "reason": "NotReady", "message": "It is NotReady."} for number in range(16)]
    status = {"observedGeneration": 1, "nodes": counts, "pending": pending}
    metadata = {"name": name, "namespace": "plant", "uid": name, "resourceVersion": "1", "generation": 1}
    return {"metadata": metadata, "spec": good["spec"], "status": status}


async def followed(server: Listing, name: str | None = "parts") -> list[str]:
    """What is shown until the server has no more answers."""
    shown: list[str] = []

    async def wait(seconds: float) -> None:
        assert seconds == watching.INTERVAL
        if not server.answers:
            raise SeenEnoughError

    with pytest.raises(SeenEnoughError):
        await watching.follow(server, name, "plant", show=shown.append, wait=wait)  # type: ignore[arg-type]  # its list
    return shown


async def test_it_is_shown_again_when_it_changes_and_only_edge_models_are_read() -> None:
    server = Listing([raw(10)], [raw(10)], [raw(4400)])
    first, second = await followed(server)
    assert "5,000 nodes: 4,500 updated, 10 serving, 500 NotReady" in first
    assert "4,400 serving" in second
    assert "e15" in first
    assert set(server.kinds) == {EDGE_MODEL}


async def test_a_look_that_fails_later_is_said_and_the_next_one_is_made() -> None:
    away = ClusterError("the API server is away")
    server = Listing([raw(10)], away, away, [raw(10)], [raw(10)], away, [raw(11)])
    first, second, third, fourth, fifth = await followed(server)
    assert second == fourth == f"{first}\n\nNot read since then: the API server is away"
    assert third == first, "what was said is not true any more"
    assert "11 serving" in fifth


async def test_the_first_look_that_fails_ends_it() -> None:
    with pytest.raises(ClusterError, match="away"):
        await watching.follow(Listing(ClusterError("away")), "parts", "plant")  # type: ignore[arg-type]  # its list


async def test_all_of_a_namespace_have_a_line_each() -> None:
    (shown,) = await followed(Listing([raw(10), raw(20, "screws")]), None)
    assert [line.split()[0] for line in shown.splitlines()] == ["NAME", "parts", "screws"]


def test_of_thousands_of_nodes_those_are_shown_that_do_not_serve() -> None:
    rows = [{"node": f"e{number:04}", "state": "Serving" if number % 100 else "NotReady"} for number in range(5000)]
    shown = showing._first(rows)
    assert len(shown) == showing.NODES_SHOWN
    assert [row["state"] for row in shown] == ["NotReady"] * 50
    assert showing._first(rows[:50]) == rows[:50]
