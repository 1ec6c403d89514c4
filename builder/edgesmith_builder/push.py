"""The image's way into the registry: layers first, the manifest last, so that a tag never names half an image."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from edgesmith_builder.contract import BuildRequest, base_tag
from edgesmith_builder.errors import RequestInvalid
from edgesmith_builder.images import Packed
from edgesmith_builder.oci import (
    Backoff,
    Blob,
    Credentials,
    Descriptor,
    FileBlob,
    Pushed,
    Reference,
    Referrer,
    Registry,
    RegistryError,
    RegistryRefused,
    RemoteBlob,
    Repository,
    speaks_https,
)
from edgesmith_builder.pack import Base
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.signatures import SIGNED, Statement
from edgesmith_builder.signatures.private import PrivateKey

log = logging.getLogger(__name__)

_WORDS: dict[Pushed, str] = {"there": "was there", "mounted": "mounted from the base", "uploaded": "uploaded"}


@dataclass(frozen=True, slots=True)
class Registries:
    """Clients for the two registries that a build speaks to; often one and the same."""

    target: Registry
    base: Registry


@asynccontextmanager
async def registries_for(
    request: BuildRequest, credentials: Credentials, backoff: Backoff | None = None, authorities: str | None = None
) -> AsyncIterator[Registries]:
    """Open the clients.

    `plainHttp` is about the registry that is pushed to. A base image in another one is asked for over HTTPS; only where
    `plainHttp` is set and that registry does not speak TLS, over HTTP. `authorities`, certificates in PEM, are trusted
    for both besides the public ones.

    Raises:
        RequestInvalid: where a reference is none, or the authorities are none.
    """
    try:
        here = Repository.parse(request.repository).registry
        there = Reference.parse(request.build.base).repository.registry
    except ValueError as error:
        raise RequestInvalid(f"the request names an image that is none: {error}") from error
    async with Registry(request.plain_http, credentials, backoff=backoff, authorities=authorities) as target:
        if there == here:
            yield Registries(target, target)
            return
        plain = request.plain_http and not await speaks_https(there)
        async with Registry(plain, credentials, backoff=backoff, authorities=authorities) as base:
            yield Registries(target, base)


async def push(
    registries: Registries,
    target: Reference,
    *,
    base: Base,
    image: Packed,
    evidence: Sequence[Referrer],
) -> None:
    """Bring the image into its repository. What is there already is not sent again.

    `evidence` hangs on the image before the tag names it, so that no image is found without.

    Raises:
        RegistryError: of the fitting kind.
    """
    await _push_base_layers(registries, target.repository, base)
    for made in image.layers:
        await _push_blob(registries.target, target.repository, FileBlob(made.file, made.descriptor), made.name)
    await _push_blob(registries.target, target.repository, image.config, "config")
    raw, subject = image.manifest.to_bytes(), image.descriptor
    with step("bill of materials, provenance and signatures") as current:
        await registries.target.push_manifest(target.repository.pinned(subject.digest), raw)
        await registries.target.attach(target.repository, subject, evidence)
        current.say(f"pushed, {size_text(sum(one.content.descriptor.size for one in evidence))}")
    with step(f"pushed {target}") as current:
        current.say(await registries.target.push_manifest(target, raw))


async def push_base(registries: Registries, repository: Repository, base: Base, key: PrivateKey | None) -> None:
    """Bring the base image for the build's platform into a repository: nodes pull it as they pull the models.

    Args:
        registries: Where the base is, and where it goes.
        repository: The models'.
        base: The base image.
        key: What it is signed with, as the models are: a policy may ask for that. None: it is not.

    Raises:
        RegistryError: of the fitting kind.
    """
    origin, digest = base.reference.repository, base.manifest.digest
    found = await registries.base.raw(origin.pinned(digest))
    if found is None:
        raise RegistryRefused(f"{origin}@{digest} is not there any more; the base image was expected")
    media_type, raw = found
    await _push_base_layers(registries, repository, base)
    config = RemoteBlob(registries.base, origin, base.manifest.config)
    await _push_blob(registries.target, repository, config, "base config", origin)
    tag = repository.tagged(base_tag(digest))
    with step(f"pushed {tag}") as current:
        await registries.target.push_manifest(repository.pinned(digest), raw, media_type)
        if key is not None:
            signed = key.sign(Statement(digest, SIGNED))
            await registries.target.attach(repository, Descriptor(media_type, digest, len(raw)), [signed])
        current.say(await registries.target.push_manifest(tag, raw, media_type))


async def tag_again(registry: Registry, tag: Reference, image: Packed) -> None:
    """Name an image that is pushed by one more tag, which finds it for a later build; that a build has none fails none.

    A registry whose tags cannot be moved goes on to name the image before.
    """
    try:
        await registry.push_manifest(tag, image.manifest.to_bytes())
    except RegistryError as error:
        log.warning("%s; later builds over other base images may be compiled", error)


async def _push_base_layers(registries: Registries, repository: Repository, base: Base) -> None:
    origin = base.reference.repository
    for number, layer in enumerate(base.manifest.layers):
        blob = RemoteBlob(registries.base, origin, layer)
        name = f"base layer {number + 1} of {len(base.manifest.layers)}"
        await _push_blob(registries.target, repository, blob, name, origin)


async def _push_blob(
    registry: Registry, repository: Repository, blob: Blob, name: str, mount_from: Repository | None = None
) -> None:
    with step(name) as current:
        how = await registry.push_blob(repository, blob, mount_from=mount_from)
        current.say(f"{_WORDS[how]}, {size_text(blob.descriptor.size)}")
