"""What is sent to the API server, where the shape of the body is what matters."""

from __future__ import annotations

from typing import Any, cast

import pytest

from edgesmith.cluster.client import Client, Object
from edgesmith.cluster.connection import Connection


class Recorder(Client):
    """Sends nothing; keeps what it was asked to send."""

    def __init__(self) -> None:
        self.connection = cast("Connection", None)
        self.sent: list[tuple[str, str, Any]] = []

    async def request(self, method: str, path: str, what: str, **given: Any) -> Object:  # noqa: ARG002 - as in Client
        self.sent.append((method, path, given["body"]))
        return {}


@pytest.mark.parametrize(
    ("given", "metadata"),
    [
        ({"labels": {"k": "r1"}}, {"labels": {"k": "r1"}}),
        ({"labels": {"k": "r1", "next": None}}, {"labels": {"k": "r1", "next": None}}),
        ({"record": "{}"}, {"annotations": {"k": "{}"}}),
        ({"labels": {"k": "r1"}, "record": "{}"}, {"labels": {"k": "r1"}, "annotations": {"k": "{}"}}),
        ({"labels": {"k": None}, "record": None}, {"labels": {"k": None}, "annotations": {"k": None}}),
    ],
)
async def test_a_label_and_its_record_are_one_write(given: dict[str, Any], metadata: Object) -> None:
    client = Recorder()
    await client.mark_node("n", "k", **given)
    assert client.sent == [("PATCH", "/api/v1/nodes/n", {"metadata": metadata})]
