"""Which bytes lie in a registry where nobody gave a digest: a real one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from artifacts import TITLE, pushed
from looker import NEW, OLD, QUICK, Looker, make_work, sha256, tag

from edgesmith_builder import resolve as resolving
from edgesmith_builder.contract import (
    VALIDATOR_LIMIT,
)
from edgesmith_builder.errors import (
    ModelInvalid,
    RequestInvalid,
    SourceNotFound,
)
from edgesmith_builder.oci import Credentials, Registry
from edgesmith_builder.oci.content import INDEX, LAYER, canonical
from edgesmith_builder.source import Artifacts, Limit, Sources

work = pytest.fixture(make_work)


def test_a_layer_s_bytes_are_known_from_its_manifest(registry: str, work: Path) -> None:
    artifact = pushed(registry, (NEW[:1000], LAYER, {TITLE: "model.onnx"}))
    found = Looker(Sources({"oci": Artifacts(Credentials(), plain=[registry])}), work)(f"oci://{artifact}:1")
    assert found.bytes == 1000


@pytest.fixture
def find(registry: str, work: Path) -> Looker:
    return Looker(Sources({"oci": Artifacts(Credentials(), plain=(registry,), patience=QUICK)}), work)


def test_a_tag_is_looked_up_in_its_manifest_and_nothing_is_fetched(
    registry: str, find: Looker, monkeypatch: Any
) -> None:
    monkeypatch.setattr(Artifacts, "fetch", None)
    repository = pushed(registry, (OLD, LAYER, {TITLE: "model.onnx"}))
    first = find(f"oci://{repository}:1")
    assert first.sha256 == sha256(OLD)
    assert (first.validator or "").startswith("sha256:") or len(first.validator or "") == VALIDATOR_LIMIT
    assert find(f"oci://{repository}:1", first) == first
    tag(repository, NEW, "1")
    assert find(f"oci://{repository}:1", first).sha256 == sha256(NEW)


def test_a_tag_that_was_deleted_is_not_found(registry: str, find: Looker) -> None:
    repository = pushed(registry, (OLD, LAYER, {}))
    first = find(f"oci://{repository}:1")

    async def digest() -> str:
        async with Registry(plain_http=True) as client:
            manifest = await client.manifest(repository.tagged("1"))
        assert manifest is not None
        return manifest.digest

    where = f"http://{registry}/v2/{repository.name}/manifests/{asyncio.run(digest())}"
    assert httpx.delete(where).status_code == 202
    with pytest.raises(SourceNotFound, match="does not exist"):
        find(f"oci://{repository}:1", first)


def test_a_layer_that_is_too_large_is_said_by_its_manifest(registry: str, find: Looker, monkeypatch: Any) -> None:
    repository = pushed(registry, (OLD, LAYER, {}))
    monkeypatch.setattr(resolving, "largest_model", lambda _: Limit(len(OLD) - 1, ModelInvalid))
    with pytest.raises(ModelInvalid, match=r"spec\.source\.uri .* is larger than 300\.0 kB"):
        find(f"oci://{repository}:1")


def test_an_index_is_no_file(registry: str, find: Looker) -> None:
    repository = pushed(registry, (OLD, LAYER, {}))

    async def push() -> None:
        async with Registry(plain_http=True) as client:
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
            await client.push_manifest(repository.tagged("index"), canonical(index), INDEX)

    asyncio.run(push())
    with pytest.raises(RequestInvalid, match="is an index of images"):
        find(f"oci://{repository}:index")
