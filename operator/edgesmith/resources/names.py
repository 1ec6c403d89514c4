"""Names that depend on the installation."""

from __future__ import annotations

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.decide.settings import Settings


def repository(model: EdgeModel, settings: Settings) -> str:
    """Where the images of an EdgeModel and of all others of its namespace are: `REGISTRY/PREFIX/NAMESPACE/models`."""
    return settings.repository_of(model.metadata.namespace)
