"""JSON from registries and files of logins, nested as deep as a megabyte allows: refused as any that is malformed."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from edgesmith_builder.errors import failure_of
from edgesmith_builder.oci import Credentials, Index, Manifest, RegistryRefused, Repository
from edgesmith_builder.oci.answers import refusal
from edgesmith_builder.oci.content import parsed
from edgesmith_builder.oci.referrers import listed, with_entries

DEEP = b"[" * 500_000


@pytest.mark.parametrize(
    "read", [parsed, Manifest.from_bytes, Index.from_bytes, listed, lambda raw: with_entries(raw, ())]
)
def test_a_document_of_any_depth_is_malformed(read: Callable[[bytes], object]) -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        read(DEEP)


def test_logins_of_any_depth_are_none() -> None:
    with pytest.raises(ValueError, match=r"logins is not a \.dockerconfigjson"):
        Credentials.from_json(DEEP, "logins")


def test_words_of_any_depth_are_not_passed_on() -> None:
    answer = httpx.Response(404, content=DEEP)
    said = refusal(Repository.parse("hub.example/a"), "reading", answer, DEEP)
    assert isinstance(said, RegistryRefused)
    assert not failure_of(said).retry
    assert "[[" not in str(said)
