"""Whether an image in a registry is signed by a key."""

from __future__ import annotations

from typing import Literal

from edgesmith_builder.oci import Listed, Registry, RegistryForbidden, RegistryRefused, Repository
from edgesmith_builder.signatures.bundle import (
    BUNDLE,
    PREDICATE_TYPE,
    SIGNED,
    STATEMENT,
    envelope_in,
    says_signed,
    to_be_signed,
)
from edgesmith_builder.signatures.public import PublicKey

Finding = Literal["Signed", "Missing", "Invalid"]
"""Signed by the key; not signed at all; signed, but not by the key, or about something else."""

MOST = 32
"""Signatures of one image that are looked at: whoever may push can hang any number on it."""


async def look_for(registry: Registry, repository: Repository, digest: str, key: PublicKey) -> Finding:
    """Look for a key's signature on an image.

    Args:
        registry: Where to ask; open.
        repository: The image's.
        digest: `sha256:HEX` of its manifest.
        key: Whose signature is wanted.

    Raises:
        RegistryError: The registry cannot be asked.
    """
    found = [entry for entry in await registry.referrers(repository, digest) if _may_sign(entry)][:MOST]
    for entry in found:
        try:
            manifest = await registry.manifest(repository.pinned(entry.descriptor.digest))
            raw = await registry.read_blob(repository, manifest.layers[0]) if manifest and manifest.layers else b""
        except RegistryForbidden:
            raise
        except RegistryRefused:
            continue  # listed and not there, too large, or not what its digest says: no signature
        if _holds(raw, digest, key):
            return "Signed"
    return "Invalid" if found else "Missing"


def _may_sign(entry: Listed) -> bool:
    """Whether an entry may be a signature; one that says what else it is need not be read."""
    return entry.artifact_type == BUNDLE and entry.annotations.get(PREDICATE_TYPE, SIGNED) == SIGNED


def _holds(raw: bytes, digest: str, key: PublicKey) -> bool:
    try:
        envelope = envelope_in(raw)
    except ValueError:
        return False
    if envelope.payload_type != STATEMENT:
        return False
    data = to_be_signed(STATEMENT, envelope.payload)
    return any(key.made(signature, data) for signature in envelope.signatures) and says_signed(envelope.payload, digest)
