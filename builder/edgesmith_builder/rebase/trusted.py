"""Layers that may be taken on the word of a key: images that it signed, with provenance that says the same bundle.

A bundle key can be computed by anybody, so an image under its tag is worth nothing by itself. What is taken from it
goes into an image that a Job of ours vouches for; so it must come from one that the same key vouched for before.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith_builder.contract import Build, ServerName
from edgesmith_builder.evidence import SLSA, read_provenance
from edgesmith_builder.oci import Manifest, Reference, Repository
from edgesmith_builder.provenance import base_manifest, report_of, why_foreign
from edgesmith_builder.push import Registries
from edgesmith_builder.rebase.before import Before, NotRebased, all_finalists, manifest_of
from edgesmith_builder.signatures import attested, look_for
from edgesmith_builder.signatures.public import PublicKey


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
        first, build = await self._trusted(manifest)
        found = await all_finalists(first, self.wanted.key, self._named)
        base = await self._base(build)
        for one in found:
            foreign = why_foreign(one.manifest, one.key, base)
            if foreign is not None:
                raise NotRebased(f"{one.reference} {foreign}")
        return found

    async def _named(self, digest: str | None) -> Before:
        """A finalist that the first one's report names."""
        found, _ = await self._trusted(await manifest_of(self.registries.target, self.repository, digest))
        return found

    async def _trusted(self, manifest: Manifest) -> tuple[Before, Build]:
        """What the key says of an image, and which build that makes it.

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
        return Before(reference, manifest, report, said.build.key, said.files), said.build

    async def _base(self, build: Build) -> Manifest:
        """The base image that the first one's provenance names."""
        here = Reference.parse(build.base).repository.registry == self.repository.registry
        return await base_manifest(self.registries.target if here else self.registries.base, build.base, build.platform)
