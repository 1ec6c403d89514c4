"""Fetching from a real object store over a bad line."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from edgesmith_builder.contract import Artifact
from edgesmith_builder.errors import DatasetInvalid, ModelInvalid, RequestInvalid, SourceUnreachable
from edgesmith_builder.source import Bucket, Limit, Sources

MIB = 1 << 20
DATA = hashlib.shake_256(b"source").digest(8 * MIB)


def bucket(store: Any, host: str, attempts: int = 3) -> Bucket:
    return Bucket(dataclasses.replace(store.settings, host=host), attempts=attempts, first_delay=0.01)


async def test_a_download_goes_on_where_the_connection_broke(store: Any, cutting_proxy: Any, tmp_path: Path) -> None:
    artifact = Artifact(uri=store.put("source/large", DATA), sha256=hashlib.sha256(DATA).hexdigest())
    async with cutting_proxy(store.settings.host, [], [3 * MIB, 2 * MIB]) as proxy:
        fetched = await asyncio.to_thread(
            bucket(store, proxy.address).fetch,
            "spec.source", artifact, tmp_path / "large", Limit(len(DATA), DatasetInvalid),
        )  # fmt: skip
        assert proxy.cuts == 2
        assert proxy.received < 8 * MIB + 2 * MIB
    assert fetched.size == len(DATA)
    assert (tmp_path / "large").read_bytes() == DATA


async def test_a_download_that_never_moves_ends(store: Any, cutting_proxy: Any, tmp_path: Path) -> None:
    artifact = Artifact(uri=store.put("source/large", DATA))
    async with cutting_proxy(store.settings.host, [], [10] * 20) as proxy:
        with pytest.raises(SourceUnreachable, match="gives no answer"):
            await asyncio.to_thread(
                bucket(store, proxy.address).fetch,
                "spec.source", artifact, tmp_path / "large", Limit(len(DATA), DatasetInvalid),
            )  # fmt: skip
        assert proxy.cuts == 3


def test_an_object_over_its_limit_is_not_fetched(store: Any, tmp_path: Path) -> None:
    artifact = Artifact(uri=store.put("source/large", DATA))
    with pytest.raises(DatasetInvalid, match=r"spec\.evaluation\.uri s3://models/source/large .* larger than 1\.0 MB"):
        bucket(store, store.settings.host).fetch(
            "spec.evaluation", artifact, tmp_path / "large", Limit(1_000_000, DatasetInvalid)
        )
    assert (tmp_path / "large").stat().st_size == 0


@pytest.mark.parametrize("uri", ["gs://models/a", "models/a", "S3://models/a", "", "file:///etc/passwd"])
def test_a_scheme_that_is_none_of_ours_is_refused(store: Any, tmp_path: Path, uri: str) -> None:
    sources = Sources({"s3": Bucket(store.settings)})
    with pytest.raises(RequestInvalid, match=r"spec\.source\.uri is .*; s3://BUCKET/KEY was expected"):
        sources.fetch("spec.source", Artifact(uri=uri), tmp_path / "file", Limit(10, ModelInvalid))


def test_a_scheme_leads_to_its_place(store: Any, tmp_path: Path) -> None:
    uri = store.put("few", b"bytes")
    sources = Sources({"s3": Bucket(store.settings)})
    found = sources.fetch("spec.source", Artifact(uri=uri), tmp_path / "file", Limit(10, ModelInvalid))
    assert found.path.read_bytes() == b"bytes"
    assert sources.digests == {"spec.source": hashlib.sha256(b"bytes").hexdigest()}
