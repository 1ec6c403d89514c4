"""Whether an image in a registry is signed by a key, and what the key says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from edgesmith_builder.oci import Listed, Registry, RegistryForbidden, RegistryRefused, Repository
from edgesmith_builder.signatures.bundle import (
    BUNDLE,
    PREDICATE_TYPE,
    SIGNED,
    STATEMENT,
    envelope_in,
    predicate_in,
    to_be_signed,
)

if TYPE_CHECKING:
    from edgesmith_builder.signatures.public import PublicKey

Finding = Literal["Signed", "Missing", "Invalid"]
"""Signed by the key; not signed at all; signed, but not by the key, or about something else."""

MOST = 32
"""Signed statements of one kind about one image that are looked at: whoever may push can hang any number on it."""


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
    found = await _listed(registry, repository, digest, SIGNED)
    for entry in found:
        if await _signed(registry, repository, entry, digest=digest, key=key, kind=SIGNED) is not None:
            return "Signed"
    return "Invalid" if found else "Missing"


async def attested(
    registry: Registry, repository: Repository, digest: str, key: PublicKey, kind: str
) -> Mapping[str, Any] | None:
    """What a key says of an image, as a predicate; None where it says no such thing.

    Args:
        registry: Where to ask; open.
        repository: The image's.
        digest: `sha256:HEX` of its manifest.
        key: Whose word is wanted.
        kind: The predicate type.

    Raises:
        RegistryError: The registry cannot be asked.
    """
    for entry in await _listed(registry, repository, digest, kind):
        said = await _signed(registry, repository, entry, digest=digest, key=key, kind=kind)
        if said is not None:
            return said
    return None


async def _listed(registry: Registry, repository: Repository, digest: str, kind: str) -> list[Listed]:
    """What may be a signed statement of a kind; what says that it is another need not be read."""
    return [
        entry
        for entry in await registry.referrers(repository, digest)
        if entry.artifact_type == BUNDLE and entry.annotations.get(PREDICATE_TYPE, kind) == kind
    ][:MOST]


async def _signed(
    registry: Registry, repository: Repository, entry: Listed, *, digest: str, key: PublicKey, kind: str
) -> Mapping[str, Any] | None:
    """The predicate of a statement about an image, where the key signed it; None where it did not."""
    try:
        manifest = await registry.manifest(repository.pinned(entry.descriptor.digest))
        raw = await registry.read_blob(repository, manifest.layers[0]) if manifest and manifest.layers else b""
    except RegistryForbidden:
        raise
    except RegistryRefused:
        return None  # listed and not there, too large, or not what its digest says: no signature
    try:
        envelope = envelope_in(raw)
    except ValueError:
        return None
    data = to_be_signed(STATEMENT, envelope.payload)
    if envelope.payload_type != STATEMENT or not any(key.made(signature, data) for signature in envelope.signatures):
        return None
    return predicate_in(envelope.payload, digest, kind)
