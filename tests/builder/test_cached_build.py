"""What a build that was made before costs: requests to a real registry, counted on the wire."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edgesmith.cluster.images import PROBLEM_SECONDS, Images
from edgesmith.cluster.provenance import Wanted
from edgesmith.decide.snapshot import ForeignImage, Image, UnsignedImage
from edgesmith_builder.build import still_there
from edgesmith_builder.cli import main
from edgesmith_builder.contract import BuildRequest, BuildResult, Gates
from edgesmith_builder.maker import Maker
from edgesmith_builder.oci import Credentials, Reference, Registry
from edgesmith_builder.push import registries_for
from edgesmith_builder.signatures.private import PrivateKey

pytestmark = pytest.mark.usefixtures("patient_lookups")

KEY = PrivateKey(ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every request that leaves this process from now on: its method and path."""
    found: list[str] = []
    whole = httpx.AsyncHTTPTransport.handle_async_request

    async def handle(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        found.append(f"{request.method} {request.url.path}")
        return await whole(self, request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)
    return found


async def test_the_builder_asks_for_the_key_and_for_the_base_it_should_be_over_and_nothing_else(
    world: Any, asked: list[str]
) -> None:
    """Its manifest says all that is checked, so one GET of it does what a HEAD and a GET would."""
    request = world.request()
    built = await world.build(request)
    asked.clear()
    nowhere = world.store.settings.__class__(host="127.0.0.1:1", secure=False, region="us-east-1")
    again = await world.build(request, settings=nowhere)
    assert (again.cached, again.image) == (True, built.image)
    key, *base = asked
    name = Reference.parse(built.image).repository.name
    assert key == f"GET /v2/{name}/manifests/{request.build.key}"
    assert base[0] == f"GET /v2/edgesmith/runtime/manifests/{Reference.parse(world.base).digest}", "an index"
    assert [one.partition("sha256:")[0] for one in base] == ["GET /v2/edgesmith/runtime/manifests/"] * 2


async def test_a_builder_that_is_told_the_digest_asks_by_one_head_and_nothing_else(
    world: Any, asked: list[str]
) -> None:
    request = world.request()
    built = await world.build(request)
    asked.clear()
    digest = built.image.partition("@")[2]
    assert await found_by(request, "sha256:" + "0" * 64, digest) == built.image
    assert asked == [f"HEAD /v2/{request.repository.partition('/')[2]}/manifests/{request.build.key}"]


async def test_what_the_request_does_not_know_or_must_be_read_is_looked_at(world: Any) -> None:
    request = world.request()
    assert await found_by(request, "sha256:" + "0" * 64) is None, "there is no image"
    digest = (await world.build(request)).image.partition("@")[2]
    assert await found_by(request) is None
    assert await found_by(request, "sha256:" + "0" * 64) is None, "there is another one"
    assert await found_by(request.model_copy(update={"gates": Gates(min_accuracy=0.5)}), digest) is None
    assert await found_by(request, digest, maker=Maker(KEY)) is None, "a key takes its own word alone"


async def found_by(request: BuildRequest, *known: str, maker: Maker | None = None) -> str | None:
    """What a builder finds that is told some digests."""
    request = request.model_copy(update={"known": known})
    async with registries_for(request, Credentials()) as registries:
        return await still_there(request, registries, maker or Maker())


def test_the_program_says_that_it_found_what_it_was_told_of_and_fetches_nothing(
    world: Any, asked: list[str], tmp_path: Path
) -> None:
    request = world.request()
    image = asyncio.run(world.build(request)).image
    asked.clear()
    told, log = request.model_copy(update={"known": (image.partition("@")[2],)}), tmp_path / "log"
    (tmp_path / "request.json").write_text(told.to_json())
    assert main(["--request", str(tmp_path / "request.json"), "--termination-log", str(log)]) == 0
    assert BuildResult.model_validate_json(log.read_text()) == BuildResult(image=image, made=False)
    assert [one.partition(" ")[0] for one in asked] == ["HEAD"]


async def test_a_key_that_nothing_is_under_costs_one_request(world: Any, asked: list[str]) -> None:
    request = world.request()
    await world.build(request)
    path = f"/v2/{request.repository.partition('/')[2]}/manifests/{request.build.key}"
    assert asked[0] == f"GET {path}"
    assert [one for one in asked if one.endswith(path)] == [f"GET {path}", f"PUT {path}"]


async def test_the_operator_asks_once_for_a_build_whose_digest_it_knows(world: Any, asked: list[str]) -> None:
    request = world.request()
    built = await world.build(request)
    asked.clear()
    wanted = Wanted(request.build, frozenset({built.image.partition("@")[2]}))
    async with Registry(plain_http=True) as client:
        images = Images(client, time.monotonic)
        for _ in range(3):
            found = await images.look_up(request.repository, [wanted])
            assert isinstance(found[request.build.key], Image)
    assert asked == [f"GET /v2/{request.repository.partition('/')[2]}/manifests/{request.build.key}"]


@pytest.mark.parametrize("signed", [False, True], ids=["another digest", "no signature"])
async def test_the_operator_reads_once_what_may_not_be_rolled_out_and_then_looks_whether_it_is_still_there(
    world: Any, asked: list[str], *, signed: bool
) -> None:
    request = world.request()
    built = await world.build(request)
    asked.clear()
    clock = [0.0]
    ours = built.image.partition("@")[2] if signed else f"sha256:{'0' * 64}"
    wanted = Wanted(request.build, frozenset({ours}))
    asks_for = KEY.public.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() if signed else None
    async with Registry(plain_http=True) as client:
        images = Images(client, lambda: clock[0], asks_for)
        for _ in range(3):
            found = await images.look_up(request.repository, [wanted])
            assert isinstance(found[request.build.key], UnsignedImage if signed else ForeignImage)
            clock[0] += PROBLEM_SECONDS
    of_key = [one for one in asked if one.endswith(f"/manifests/{request.build.key}")]
    assert [one.partition(" ")[0] for one in of_key] == ["GET", "HEAD", "HEAD"]
    others = {one.partition(request.repository.partition("/")[2])[2].split("/")[1] for one in asked} - {"manifests"}
    assert others == ({"referrers"} if signed else set()), "a signature may come any time"
    assert signed or asked == of_key


async def test_a_builder_with_a_key_asks_for_the_signature_and_not_for_the_base(world: Any, asked: list[str]) -> None:
    request, maker = world.request(), Maker(KEY)
    await world.build(request, maker=maker)
    asked.clear()
    assert (await world.build(request, maker=maker)).cached
    assert asked[0].endswith(f"/manifests/{request.build.key}")
    assert not [one for one in asked if "/edgesmith/runtime/" in one]
    assert len(asked) == 5, "its list, which this registry keeps under a tag, and the signature's manifest and content"


async def test_an_operator_that_knows_nothing_looks_at_the_base_and_at_each_finalist_once(
    world: Any, asked: list[str]
) -> None:
    """After a restart without a Job left; many models share one base, which is looked at once for all of them."""
    requests = [world.request(), world.request(precisions=("fp32",))]
    for request in requests:
        await world.build(request)
    asked.clear()
    async with Registry(plain_http=True) as client:
        images = Images(client, time.monotonic)
        for request in requests:
            found = await images.look_up(request.repository, [Wanted(request.build)])
            assert isinstance(found[request.build.key], Image)
    methods = {one.partition(" ")[0] for one in asked}
    of_base = [one for one in asked if "/edgesmith/runtime/" in one]
    assert (methods, len(of_base), len(asked) - len(of_base)) == ({"GET"}, 2, 2 + 1)
