"""The images of an earlier build whose layers may be taken, by whoever's word that is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edgesmith_builder.contract import BuildReport
from edgesmith_builder.evidence import Material
from edgesmith_builder.oci import Manifest, Reference, Registry, Repository


class NotRebased(Exception):  # noqa: N818 - an outcome; what it means is that the build is compiled
    """No layers are taken: why, in one sentence."""


@dataclass(frozen=True, slots=True)
class Before:
    """A finalist of an earlier build of the same bundle, whose layers may be taken."""

    reference: Reference
    """By digest."""
    manifest: Manifest
    report: BuildReport
    key: str
    """The build key that it answers."""
    files: tuple[Material, ...]
    """What its layers were made from."""


async def manifest_of(registry: Registry, repository: Repository, digest: str | None) -> Manifest:
    """The manifest of an image that is named by its digest.

    Raises:
        NotRebased: It is not there.
        RegistryError: The registry cannot be asked, or it is no image.
    """
    found = await registry.manifest(repository.pinned(digest)) if digest else None
    if found is None:
        raise NotRebased(f"{repository} does not hold the finalist {digest or 'without a digest'}")
    return found


async def all_finalists(
    first: Before, key: str, named: Callable[[str | None], Awaitable[Before]]
) -> tuple[Before, ...]:
    """Every finalist of an earlier build, the first first.

    Args:
        first: The first one.
        key: The key of the build that is to be made.
        named: Finds one that the first one's report names by its digest.

    Raises:
        NotRebased: They may not be taken.
        RegistryError: The registry cannot be asked.
    """
    if first.key == key:
        raise NotRebased(f"{first.reference} is of the same build, which is to be made anew")
    if not first.report.finalists:
        raise NotRebased(f"{first.reference} names no finalists")
    found = [first]
    for finalist in first.report.finalists[1:]:
        one = await named(finalist.digest)
        if (one.key, one.report.precision) != (first.key, finalist.precision):
            raise NotRebased(f"{one.reference} is not the {finalist.precision} of {first.reference}")
        found.append(one)
    return tuple(found)
