"""Layers that may be taken on the word of whoever asks: images that the request names by their digest.

The operator names what a build Job of its own said that it made, from a status that nobody else may write. A digest is
all of an image, its layers and the digests of its other finalists, so nothing under a tag that anybody can push is
believed.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith_builder.contract import KEY_ANNOTATION, Build, Earlier, ServerName
from edgesmith_builder.evidence import Material, artifacts_of
from edgesmith_builder.oci import Registry, Repository
from edgesmith_builder.provenance import report_of
from edgesmith_builder.rebase.before import Before, NotRebased, all_finalists, manifest_of


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the request says of an earlier build."""

    wanted: Build
    """The build that is to be made."""
    server: ServerName
    """What serves in its base image."""
    registry: Registry
    repository: Repository
    earlier: Earlier

    async def finalists(self) -> tuple[Before, ...]:
        """Every finalist of the earlier build, the first first.

        Raises:
            NotRebased: One of them may not be taken.
            RegistryError: The registry cannot be asked.
        """
        bundle = self.wanted.bundle_key(self.server)
        if self.earlier.bundle != bundle:
            first = self.repository.pinned(self.earlier.digest)
            raise NotRebased(f"{first} is of the bundle {self.earlier.bundle}; {bundle} was expected")
        return await all_finalists(await self._named(self.earlier.digest), self.wanted.key, self._named)

    async def _named(self, digest: str | None) -> Before:
        manifest = await manifest_of(self.registry, self.repository, digest)
        reference, key = self.repository.pinned(manifest.digest), manifest.annotations.get(KEY_ANNOTATION, "")
        report = report_of(manifest)
        if not key or report is None:
            raise NotRebased(f"{reference} carries no build key and report that can be read")
        return Before(reference, manifest, report, key, self._files())

    def _files(self) -> tuple[Material, ...]:
        """What the layers were made from: the bundle key has the digests of these files.

        Raises:
            NotRebased: The request does not give one.
        """
        found = []
        for role, file in artifacts_of(self.wanted).items():
            if file.sha256 is None:
                raise NotRebased(f"the sha256 of {role} is not given, so it is not known what was made of it")
            found.append(Material(role, file.uri, file.sha256))
        return tuple(found)
