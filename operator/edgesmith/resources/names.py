"""Names that depend on the installation."""

from __future__ import annotations

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.decide.settings import Settings


def repository(model: EdgeModel, settings: Settings) -> str:
    """Where an EdgeModel's variant images are: `REGISTRY/PREFIX/NAMESPACE/NAME`."""
    return f"{settings.repository}/{model.metadata.namespace}/{model.metadata.name}"
