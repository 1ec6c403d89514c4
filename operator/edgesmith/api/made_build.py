"""What the status of an EdgeModel keeps of images that build Jobs made."""

from __future__ import annotations

from pydantic import Field

from edgesmith.api.model import Model


class MadeBuild(Model):
    """An image that a build Job made; the operator has its layers put over another base, so nobody else writes it."""

    alternative: str = Field(description="Of spec.optimize.alternatives, or source: spec.source.")
    build_key: str = Field(description="As `variants[].buildKey`, of the build that it is.")
    bundle_key: str = Field(
        pattern=r"^[0-9a-f]{32}$", description="Hash of everything that decides its layers over the base image."
    )
    digest: str = Field(
        pattern=r"^sha256:[0-9a-f]{64}$", description="The image under the build's tag, in the EdgeModel's repository."
    )
