"""Who builds, and which images that were found are as good as its own."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith_builder.oci import Manifest, Reference, Registry
from edgesmith_builder.signatures import look_for
from edgesmith_builder.signatures.private import PrivateKey


@dataclass(frozen=True, slots=True)
class Maker:
    """Who builds."""

    key: PrivateKey | None = None
    """What images are signed with; None: they are not."""
    image: str | None = None
    """The image that the builder runs in, by digest; None: it is not known."""

    async def why_not_its_own(self, registry: Registry, target: Reference, made: Manifest) -> str | None:
        """Why an image that was found is to be made again, as the end of a sentence; None where it is not.

        One that was found is never signed: only what was built here is known to be what the key stands for.

        Raises:
            RegistryError: The registry cannot be asked.
        """
        if self.key is None or await look_for(registry, target.repository, made.digest, self.key.public) == "Signed":
            return None
        return "is not signed with this builder's key"
