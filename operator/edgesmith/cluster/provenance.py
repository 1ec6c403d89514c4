"""Whether an image that the registry holds under a build key may be rolled out.

Where it is known which digests are ours, the image must have one of them. Where nothing is known (the operator is new,
its Jobs are gone), the image must at least be the runtime image with a build's two layers on top; see
`edgesmith_builder.provenance`. Where the installation asks for signatures, it must have one in either case.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesmith.decide.snapshot import ForeignImage, Image, RegistryProblem, StrangeImage, UnsignedImage
from edgesmith_builder.contract import Build, Platform
from edgesmith_builder.oci import Manifest, Reference, Registry, RegistryForbidden, RegistryRefused, Repository
from edgesmith_builder.provenance import base_manifest, report_of, why_foreign
from edgesmith_builder.signatures import look_for

if TYPE_CHECKING:
    from edgesmith_builder.signatures.public import PublicKey

log = logging.getLogger(__name__)

Answer = Image | ForeignImage | UnsignedImage | StrangeImage | RegistryProblem | None
"""What is known of one build. None: there is no such image."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A build that is looked up."""

    build: Build
    trusted: frozenset[str] = frozenset()
    """Digests of its image that are known to be ours; empty where nothing is known."""


def judged(repository: str, wanted: Wanted, manifest: Manifest, base: Manifest | None) -> Answer:
    """Judge what was found under a build's tag.

    Args:
        repository: Where it was found.
        wanted: What was looked for.
        manifest: What was found.
        base: The base image; looked at only where no digest is trusted. None: it is not known.
    """
    key = wanted.build.key
    reference = f"{repository}@{manifest.digest}"
    if wanted.trusted and manifest.digest not in wanted.trusted:
        return ForeignImage(reference, tuple(sorted(wanted.trusted)))
    foreign = why_foreign(manifest, key, None if wanted.trusted else base)
    if not wanted.trusted and base is None:
        places = " or ".join(place.partition("@")[0] for place in _places(repository, wanted.build.base))
        foreign = (
            foreign
            or f"was not pushed by a known Job, and its runtime image {wanted.build.base} is not in this registry at "
            f"{places}"
        )
    report = report_of(manifest)
    if foreign or report is None:
        log.warning("%s:%s %s", repository, key, foreign)
        return StrangeImage(reference, foreign or "carries no report that can be read")
    return Image(reference, report)


async def checked(registry: Registry, image: Image, key: PublicKey) -> Image | UnsignedImage:
    """An image as it is where a key's signature is on it.

    Args:
        registry: Where to ask; open.
        image: What was found and may be rolled out otherwise.
        key: Whose signature is asked for.

    Raises:
        RegistryError: The registry cannot be asked.
    """
    repository, _, digest = image.reference.partition("@")
    finding = await look_for(registry, Repository.parse(repository), digest, key)
    return image if finding == "Signed" else UnsignedImage(image.reference, finding)


async def with_finalists(
    registry: Registry, wanted: Wanted, image: Image, base: Manifest | None, key: PublicKey | None
) -> Image:
    """An image whose report names only finalists that may be rolled out.

    What a report names by digest is as trusted as the report; where nothing is known of that, each is looked at.

    Args:
        registry: Where to ask; open.
        wanted: What was looked for.
        image: What was found, and may be rolled out itself.
        base: The base image.
        key: Whose signature each must have; None: none is looked for.

    Raises:
        RegistryError: The registry cannot be asked.
    """
    if wanted.trusted and key is None:
        return image
    repository = Repository.parse(image.reference.partition("@")[0])
    kept = []
    for one in image.report.finalists:
        why = await _why_not(registry, repository.pinned(one.digest), wanted, base, key) if one.digest else None
        if why is None:
            kept.append(one)
        else:
            log.warning("%s@%s %s; it is no candidate", repository, one.digest, why)
    return Image(image.reference, image.report.model_copy(update={"finalists": tuple(kept)}))


async def _why_not(
    registry: Registry, finalist: Reference, wanted: Wanted, base: Manifest | None, key: PublicKey | None
) -> str | None:
    """Why a finalist may not be rolled out, as the end of a sentence; None where it may."""
    manifest = await registry.manifest(finalist)
    if manifest is None:
        return "is not there"
    foreign = None if wanted.trusted else why_foreign(manifest, wanted.build.key, base)
    if (
        foreign is None
        and key is not None
        and await look_for(registry, finalist.repository, finalist.target, key) != "Signed"
    ):
        return "is not signed by the key of signing.publicKey"
    return foreign


class Bases:
    """Base images. What a digest names never changes, so each is asked for once."""

    def __init__(self, registry: Registry) -> None:
        """Make it.

        Args:
            registry: Where to ask; open.
        """
        self._registry = registry
        self._found: dict[tuple[str, Platform], Manifest] = {}

    async def of(self, repository: str, build: Build) -> Manifest | None:
        """A build's base image.

        Args:
            repository: Where the build's image is.
            build: Names the base image and the platform.

        Returns:
            Its manifest. None where the base image is not in the registry of the build's image, under its own name or
            below a prefix of the image's: in another one, which the operator need not be able to reach, or nowhere. A
            build Job, which can reach it, judges the image or says what is missing.

        Raises:
            RegistryError: The registry cannot be asked.
        """
        places = _places(repository, build.base)
        for place in places:
            if (place, build.platform) in self._found:
                return self._found[place, build.platform]
        forbidden: RegistryForbidden | None = None
        for place in places:
            try:
                found = await base_manifest(self._registry, place, build.platform)
            except RegistryRefused as error:
                log.warning("%s", error)
            except RegistryForbidden as error:
                # Some registries forbid what is not there.
                if place == build.base:
                    forbidden = error
            else:
                self._found[place, build.platform] = found
                return found
        if forbidden is not None:
            raise forbidden
        return None


def _places(repository: str, base: str) -> tuple[str, ...]:
    """Where a base image may be in the registry of a build's image, which may have all of another's below a prefix.

    A digest names the same bytes in every registry, and a site has its own copy of what the hub has.

    Args:
        repository: Where the build's image is, `REGISTRY/PREFIX/NAMESPACE/models`; the hub's prefix has a word or more.
        base: The base image by digest, in any registry.
    """
    registry, *words = repository.split("/")
    prefixes = ("/".join([registry, *words[:count]]) for count in range(max(1, len(words) - 2)))
    return tuple(f"{prefix}/{base.partition('/')[2]}" for prefix in prefixes)
