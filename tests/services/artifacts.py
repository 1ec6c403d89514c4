"""Artifacts in a registry, pushed by our own client, as `oras push` makes them."""

from __future__ import annotations

import asyncio
import uuid

from edgesmith_builder.oci import BytesBlob, Credentials, Registry, Repository
from edgesmith_builder.oci.content import MANIFEST, canonical

TITLE = "org.opencontainers.image.title"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"

Layer = tuple[bytes, str, dict[str, str]]


def pushed(
    address: str, *layers: Layer, credentials: Credentials | None = None, authorities: str | None = None
) -> Repository:
    """An artifact under the tag `1`, as `oras push` makes one."""
    repository = Repository.parse(f"{address}/artifacts/{uuid.uuid4().hex[:12]}")

    async def push() -> None:
        async with Registry(authorities is None, credentials, authorities=authorities) as client:
            empty = BytesBlob(b"{}", EMPTY_TYPE)
            await client.push_blob(repository, empty)
            listed = []
            for data, media_type, annotations in layers:
                blob = BytesBlob(data, media_type)
                await client.push_blob(repository, blob)
                listed.append({**blob.descriptor.to_json(), "annotations": annotations})
            manifest = {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": "application/vnd.unknown.artifact.v1",
                "config": empty.descriptor.to_json(),
                "layers": listed,
            }
            await client.push_manifest(repository.tagged("1"), canonical(manifest))

    asyncio.run(push())
    return repository
