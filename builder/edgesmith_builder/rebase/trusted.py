"""Whose layers may be taken: images that this installation's key signed, with provenance that says the same bundle.

A bundle key can be computed by anybody, so an image under its tag is worth nothing by itself. What is taken from it
goes into an image that a Job of ours vouches for; so it must come from one that the same key vouched for before.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith_builder.contract import Build, BuildReport, ServerName
from edgesmith_builder.evidence import SLSA, Material, read_provenance
from edgesmith_builder.oci import Manifest, Reference, Repository
from edgesmith_builder.provenance import base_manifest, report_of, why_foreign
from edgesmith_builder.push import Registries
from edgesmith_builder.signatures import PublicKey, attested, look_for


class NotRebased(Exception):  # noqa: N818 - an outcome; what it means is that the build is compiled
    """No layers are taken: why, in one sentence."""


@dataclass(frozen=True, slots=True)
class Before:
    """A finalist of an earlier build of the same bundle, whose layers may be taken."""

    reference: Reference
    """By digest."""
    manifest: Manifest
    report: BuildReport
    build: Build
    files: tuple[Material, ...]
    """What its layers were made from."""


def bundle_tag(bundle: str) -> str:
    """The tag of the newest signed image of a bundle key."""
    return f"bundle-{bundle}"


@dataclass(frozen=True, slots=True)
class Trust:
    """What the images of an earlier build are held against."""

    wanted: Build
    """The build that is to be made."""
    server: ServerName
    """What serves in its base image."""
    registries: Registries
    repository: Repository
    key: PublicKey

    async def finalists(self) -> tuple[Before, ...]:
        """Every finalist of the earlier build, the first first; none where there is no such build.

        Raises:
            NotRebased: One of them may not be taken.
            RegistryError: The registry cannot be asked.
        """
        tag = self.repository.tagged(bundle_tag(self.wanted.bundle_key(self.server)))
        manifest = await self.registries.target.manifest(tag)
        if manifest is None:
            return ()
        first = await self._trusted(manifest)
        if first.build.key == self.wanted.key:
            raise NotRebased(f"{tag} is of the same build, which is to be made anew")
        base = await self._base(first)
        _check_foreign(first, base)
        found = [first]
        for finalist in first.report.finalists[1:]:
            one = await self._named(finalist.digest)
            if (one.build.key, one.report.precision) != (first.build.key, finalist.precision):
                raise NotRebased(f"{one.reference} is not the {finalist.precision} of {first.reference}")
            _check_foreign(one, base)
            found.append(one)
        if not first.report.finalists:
            raise NotRebased(f"{first.reference} names no finalists")
        return tuple(found)

    async def _named(self, digest: str | None) -> Before:
        """A finalist that the first one's report names."""
        manifest = await self.registries.target.manifest(self.repository.pinned(digest)) if digest else None
        if manifest is None:
            raise NotRebased(f"{self.repository} does not hold the finalist {digest or 'without a digest'}")
        return await self._trusted(manifest)

    async def _trusted(self, manifest: Manifest) -> Before:
        """What the key says of an image.

        Raises:
            NotRebased: It does not say that it is of the bundle that is wanted.
        """
        registry, reference = self.registries.target, self.repository.pinned(manifest.digest)
        if await look_for(registry, self.repository, manifest.digest, self.key) != "Signed":
            raise NotRebased(f"{reference} is not signed with this builder's key")
        predicate = await attested(registry, self.repository, manifest.digest, self.key, SLSA)
        if predicate is None:
            raise NotRebased(f"{reference} has no provenance that this builder's key signed")
        try:
            said = read_provenance(predicate)
        except ValueError as error:
            raise NotRebased(f"{reference} has provenance that cannot be read: {error}") from error
        bundle = self.wanted.bundle_key(self.server)
        if {said.bundle, said.build.bundle_key(self.server)} != {bundle}:
            raise NotRebased(f"{reference} is of the bundle {said.bundle}; {bundle} was expected")
        report = report_of(manifest)
        if report is None:
            raise NotRebased(f"{reference} carries no report that can be read")
        return Before(reference, manifest, report, said.build, said.files)

    async def _base(self, before: Before) -> Manifest:
        """The base image that its provenance names."""
        base = before.build.base
        here = Reference.parse(base).repository.registry == self.repository.registry
        registry = self.registries.target if here else self.registries.base
        return await base_manifest(registry, base, before.build.platform)


def _check_foreign(before: Before, base: Manifest) -> None:
    """Hold an image's manifest against what its provenance says: its build key, and the base under its two layers."""
    foreign = why_foreign(before.manifest, before.build.key, base)
    if foreign is not None:
        raise NotRebased(f"{before.reference} {foreign}")
