"""What hangs on an image, in registries that keep the list themselves and in those that do not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import httpx
import pytest

from edgesmith_builder.oci import (
    Backoff,
    BytesBlob,
    Descriptor,
    Listed,
    Referrer,
    Registry,
    RegistryRefused,
    Repository,
)
from edgesmith_builder.oci.content import INDEX, MANIFEST, canonical

PLACE = Repository.parse("hub.example/team/model")
SUBJECT = Descriptor.of(b"an image", MANIFEST)
TAG = f"/v2/team/model/manifests/{SUBJECT.digest.replace(':', '-')}"
BILL = Referrer("application/vnd.example.bill", BytesBlob(b"what is in it", "text/plain"), {"of": "a test"})
NOTE = Referrer("application/vnd.example.note", BytesBlob(b"more", "text/plain"))
THEIRS = {**Descriptor.of(b"theirs", MANIFEST).to_json(), "artifactType": "theirs", "platform": {"os": "any"}}


@dataclass
class Played:
    """A registry that takes everything."""

    subject: str | None = None
    """What it answers as `OCI-Subject`."""
    unknown: httpx.Response = field(default_factory=lambda: httpx.Response(404))
    """Its answer to an address that it does not know."""
    lists: dict[str, httpx.Response] = field(default_factory=dict)
    put: dict[str, bytes] = field(default_factory=dict)

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if request.method == "PUT" and "/manifests/" in path:
            self.put[path] = request.content
            return httpx.Response(201, headers={"OCI-Subject": self.subject} if self.subject else {})
        if request.method == "GET" and (path == TAG or "/referrers/" in path):
            return self.lists.get(path, self.unknown if "/referrers/" in path else httpx.Response(404))
        return httpx.Response(200 if request.method == "HEAD" else 500)

    def client(self) -> Registry:
        return Registry(backoff=Backoff(1, 0.0, 0.0), transport=httpx.MockTransport(self.answer))


def index(*entries: object) -> httpx.Response:
    body = canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)})
    return httpx.Response(200, headers={"Content-Type": INDEX}, content=body)


def entry(referrer: Referrer) -> Listed:
    return Listed(Descriptor.of(referrer.to_bytes(SUBJECT), MANIFEST), referrer.artifact_type, referrer.annotations)


async def test_a_registry_that_keeps_the_list_gets_no_tag() -> None:
    played = Played(subject=SUBJECT.digest)
    async with played.client() as client:
        await client.attach(PLACE, SUBJECT, [BILL, NOTE])
    assert list(played.put) == [
        f"/v2/team/model/manifests/{entry(referrer).descriptor.digest}" for referrer in (BILL, NOTE)
    ]
    manifest = json.loads(next(iter(played.put.values())))
    assert manifest["subject"] == SUBJECT.to_json()
    assert manifest["artifactType"] == BILL.artifact_type
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert manifest["annotations"] == {"of": "a test"}


@pytest.mark.parametrize("said", [None, f"sha256:{'0' * 64}"])
async def test_for_any_other_the_list_is_kept_under_a_tag_last(said: str | None) -> None:
    played = Played(subject=said)
    async with played.client() as client:
        await client.attach(PLACE, SUBJECT, [BILL, NOTE])
    assert list(played.put)[-1] == TAG
    assert json.loads(played.put[TAG])["manifests"] == [entry(BILL).to_json(), entry(NOTE).to_json()]


async def test_what_others_hung_on_the_image_stays_and_nothing_is_listed_twice() -> None:
    played = Played(lists={TAG: index(THEIRS, entry(BILL).to_json())})
    async with played.client() as client:
        await client.attach(PLACE, SUBJECT, [BILL, NOTE])
        assert json.loads(played.put[TAG])["manifests"] == [THEIRS, entry(BILL).to_json(), entry(NOTE).to_json()]
        played.put.clear()
        await client.attach(PLACE, SUBJECT, [BILL])
    assert TAG not in played.put


async def test_the_registrys_own_list_comes_first() -> None:
    path = f"/v2/team/model/referrers/{SUBJECT.digest}"
    played = Played(lists={path: index(entry(BILL).to_json()), TAG: index(THEIRS)})
    async with played.client() as client:
        assert await client.referrers(PLACE, SUBJECT.digest) == (entry(BILL),)
        played.lists[path] = index()
        assert await client.referrers(PLACE, SUBJECT.digest) == ()


@pytest.mark.parametrize(
    "unknown", [httpx.Response(404), httpx.Response(405), httpx.Response(400), httpx.Response(200, html="<p>hub</p>")]
)
async def test_a_registry_without_one_is_asked_for_the_tag(unknown: httpx.Response) -> None:
    played = Played(unknown=unknown, lists={TAG: index(THEIRS)})
    async with played.client() as client:
        (found,) = await client.referrers(PLACE, SUBJECT.digest)
        assert found.artifact_type == "theirs"
        played.lists.clear()
        assert await client.referrers(PLACE, SUBJECT.digest) == ()


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"manifests": [7]}', b'{"manifests": [{"digest": "x"}]}', b"\xff"])
async def test_a_list_that_is_none_is_refused(body: bytes) -> None:
    played = Played(lists={TAG: httpx.Response(200, headers={"Content-Type": INDEX}, content=body)})
    async with played.client() as client:
        with pytest.raises(RegistryRefused, match="malformed list"):
            await client.referrers(PLACE, SUBJECT.digest)
