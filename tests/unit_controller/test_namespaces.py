"""An operator that works in some namespaces only asks for nothing outside them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes.aio.client.configuration import Configuration

from edgesmith.cluster.client import Client, Object
from edgesmith.cluster.configuration import SettingsError
from edgesmith.cluster.connection import Connection
from edgesmith.cluster.kinds import EDGE_MODEL, NODE, POD
from edgesmith.cluster.listing import load
from edgesmith.cluster.node_turns import NodeTurns
from edgesmith.controller.metrics import Numbers
from edgesmith.controller.options import options_from
from edgesmith.controller.passes import Passes
from edgesmith.controller.queue import Outcome


class Recorder(Client):
    """A client that sends nothing, and answers every listing with one object of the place asked for."""

    def __init__(self, *namespaces: str) -> None:
        super().__init__(Connection(Configuration(), "default", in_cluster=False), namespaces=namespaces)
        self.paths: list[str] = []

    async def request(self, method: str, path: str, what: str, **_: Any) -> Object:  # noqa: ARG002 -- as the client's
        """Note the path."""
        self.paths.append(path)
        number = len(self.paths)
        metadata = {"uid": f"uid-{number}", "name": f"n-{number}", "resourceVersion": str(number)}
        return {"metadata": {"resourceVersion": str(100 + number)}, "items": [{"metadata": metadata}]}


@pytest.mark.parametrize(
    ("names", "expected"),
    [("", ()), (" , ", ()), ("b,a", ("a", "b", "own")), ("own", ("own",)), (" a , a", ("a", "own"))],
)
def test_the_operators_own_namespace_is_among_those_that_it_works_in(names: str, expected: tuple[str, ...]) -> None:
    found = options_from([], {"EDGESMITH_NAMESPACE": "own", "EDGESMITH_NAMESPACES": names})
    assert found.namespaces == expected


@pytest.mark.parametrize("names", ["Plant", "a b", "*", "a,-b", "x" * 64])
def test_what_is_no_namespace_is_refused(names: str) -> None:
    with pytest.raises(SettingsError, match=r"EDGESMITH_NAMESPACES is .* were expected"):
        options_from([], {"EDGESMITH_NAMESPACES": names})


async def test_a_listing_of_everything_asks_in_each_namespace() -> None:
    async with Recorder("a", "b") as client:
        assert [one["metadata"]["name"] async for one in client.list(POD)] == ["n-1", "n-2"]
        assert client.paths == ["/api/v1/namespaces/a/pods", "/api/v1/namespaces/b/pods"]


async def test_the_version_of_two_listings_is_the_earlier_one() -> None:
    """What was made between the two is newer than it, and must not be taken for gone."""
    async with Recorder("a", "b") as client:
        assert await client.list_uids(POD) == ({"uid-1", "uid-2"}, "101")


async def test_no_path_leaves_the_namespaces() -> None:
    async with Recorder("a", "b") as client:
        assert await client.serves(EDGE_MODEL)
        await load(client, "")
        spaces = {path.split("/namespaces/")[1].split("/")[0] for path in client.paths if "/namespaces/" in path}
        assert spaces == {"a", "b"}
        everywhere = [path for path in client.paths if "/namespaces/" not in path]
        assert sorted(everywhere) == ["/api/v1/nodes", "/apis/edgesmith.dev/v1alpha1/deviceprofiles"]


async def test_a_namespace_that_is_named_and_a_kind_without_one_are_listed_once() -> None:
    async with Recorder("a", "b") as client:
        _ = [one async for one in client.list(POD, namespace="c")]
        _ = [one async for one in client.list(NODE)]
        assert client.paths == ["/api/v1/namespaces/c/pods", "/api/v1/nodes"]


async def test_an_edge_model_of_another_namespace_is_not_looked_at() -> None:
    """A node that carries another operator's label asks for a pass; taking the label for left over would remove it."""
    nothing: Any = None
    passes = Passes(
        nothing,
        nothing,
        Numbers(),
        client=nothing,
        slots=nothing,
        turns=NodeTurns(),
        ask=nothing,
        rest=lambda _: None,
        clock=lambda: 0.0,
        now=lambda: datetime.now(UTC),
        namespaces=("a",),
    )
    assert await passes.run(("other", "m")) == Outcome()
    assert (await passes.run(("a", "m"))).failed
