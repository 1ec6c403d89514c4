"""Which bytes lie in a bucket where nobody gave a digest: a real store."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from looker import NEW, OLD, Looker, make_work, sha256
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from edgesmith_builder import resolve as resolving
from edgesmith_builder.contract import (
    ResolvedFile,
)
from edgesmith_builder.errors import (
    ModelInvalid,
    SourceForbidden,
    SourceNotFound,
    SourceUnreachable,
)
from edgesmith_builder.source import Bucket, Limit, Sources, StoreSettings
from edgesmith_builder.source.s3.validator import checksum_of

work = pytest.fixture(make_work)


@pytest.fixture
def look(store: Any, work: Path) -> Looker:
    return Looker(Sources({"s3": Bucket(store.settings, attempts=2, first_delay=0.01)}), work)


def test_an_object_is_read_once_and_then_only_asked_about(store: Any, look: Looker, monkeypatch: Any) -> None:
    uri = store.put("resolve/plain", OLD)
    first = look(uri)
    assert first.sha256 == sha256(OLD)
    monkeypatch.setattr(Bucket, "fetch", None)
    assert look(uri, first) == first


def test_an_object_s_bytes_are_counted_when_it_is_read_and_known_without(store: Any, look: Looker) -> None:
    uri = store.put("resolve/counted", OLD)
    first = look(uri)
    assert (first.bytes, look(uri, first).bytes) == (len(OLD), len(OLD))
    where = {"bucket_name": "models", "object_name": "resolve/kept-and-counted"}
    metadata = {"x-amz-checksum-sha256": KEPT}
    store.client.put_object(**where, data=io.BytesIO(OLD), length=len(OLD), metadata=metadata)
    assert look("s3://models/resolve/kept-and-counted").bytes == len(OLD)


def test_an_object_that_was_overwritten_has_another_digest(store: Any, look: Looker) -> None:
    first = look(store.put("resolve/changes", OLD))
    second = look(store.put("resolve/changes", NEW), first)
    assert (first.sha256, second.sha256) == (sha256(OLD), sha256(NEW))
    assert first.validator != second.validator


KEPT = base64.b64encode(hashlib.sha256(OLD).digest()).decode()


def test_a_digest_that_the_store_kept_is_taken(store: Any, look: Looker, monkeypatch: Any) -> None:
    where = {"bucket_name": "models", "object_name": "resolve/kept"}
    metadata = {"x-amz-checksum-sha256": KEPT}
    store.client.put_object(**where, data=io.BytesIO(OLD), length=len(OLD), metadata=metadata)
    monkeypatch.setattr(Bucket, "fetch", None)
    assert look("s3://models/resolve/kept").sha256 == sha256(OLD)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-amz-checksum-sha256": f"{KEPT}-2"},
        {"x-amz-checksum-sha256": KEPT, "x-amz-checksum-type": "COMPOSITE"},
        {"x-amz-checksum-sha256": KEPT[:20]},
        {"x-amz-checksum-crc32": "AAAAAA=="},
    ],
)
def test_a_checksum_of_parts_is_no_digest(headers: dict[str, str]) -> None:
    assert checksum_of(headers) is None


def test_a_version_is_part_of_what_a_store_says(store: Any, work: Path) -> None:
    store.client.make_bucket(bucket_name="versions")
    store.client.set_bucket_versioning(bucket_name="versions", config=VersioningConfig(ENABLED))
    look, found = Looker(Sources({"s3": Bucket(store.settings)}), work), list[ResolvedFile]()
    for data in (OLD, OLD):
        store.client.put_object(bucket_name="versions", object_name="a", data=io.BytesIO(data), length=len(data))
        found.append(look("s3://versions/a", found[-1] if found else None))
    assert [one.sha256 for one in found] == [sha256(OLD)] * 2
    assert found[0].validator != found[1].validator


def test_an_object_that_is_not_there_or_not_ours(store: Any, look: Looker, work: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"spec\.source\.uri s3://models/resolve/none .* does not exist"):
        look("s3://models/resolve/none")
    uri = store.put("resolve/locked", OLD)
    variables = {"AWS_ENDPOINT_URL": store.settings.endpoint}
    nobody = Looker(Sources({"s3": Bucket(StoreSettings.read(None, variables), attempts=1)}), work)
    with pytest.raises(SourceForbidden, match=r"spec\.source\.uri .* may not be read"):
        nobody(uri)


def test_an_object_that_is_too_large_is_not_read(store: Any, look: Looker, monkeypatch: Any) -> None:
    uri = store.put("resolve/large", OLD)
    monkeypatch.setattr(resolving, "largest_model", lambda _: Limit(len(OLD) - 1, ModelInvalid))
    monkeypatch.setattr(Bucket, "fetch", None)
    with pytest.raises(ModelInvalid, match=r"spec\.source\.uri .* is larger than 300\.0 kB"):
        look(uri)


def test_a_store_that_is_down_is_said_so(work: Path) -> None:
    settings = StoreSettings.read(None, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    with pytest.raises(SourceUnreachable, match="gives no answer"):
        Looker(Sources({"s3": Bucket(settings, attempts=2, first_delay=0.01)}), work)("s3://models/a")
