"""What a registry has that belongs to an image: its bill of materials, its provenance, its signatures."""

from __future__ import annotations

import json
from typing import Any

from edgesmith_builder.oci import Reference, Registry

BILL, STATEMENT = "application/vnd.cyclonedx+json", "application/vnd.in-toto+json"
Object = dict[str, Any]


async def hanging(image: str) -> dict[tuple[str, str], tuple[str, Object]]:
    """What hangs on an image: digest and content, by artifact type and, of bundles, predicate type."""
    reference = Reference.parse(image)
    found: dict[tuple[str, str], tuple[str, Object]] = {}
    async with Registry(plain_http=True) as client:
        for entry in await client.referrers(reference.repository, reference.target):
            manifest = await client.manifest(reference.repository.pinned(entry.descriptor.digest))
            assert manifest is not None
            content = json.loads(await client.read_blob(reference.repository, manifest.layers[0]))
            kind = entry.annotations.get("dev.sigstore.bundle.predicateType", "")
            assert (entry.artifact_type, kind) not in found
            found[entry.artifact_type, kind] = entry.descriptor.digest, content
    return found
