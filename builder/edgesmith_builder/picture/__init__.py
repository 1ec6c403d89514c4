"""Pictures at build time: what is declared held against the model and its sets, and the golden picture recorded."""

from edgesmith_builder.picture.declared import declared_picture
from edgesmith_builder.picture.recording import recorded_picture
from edgesmith_builder.picture.sample import GoldenPicture, golden_picture

__all__ = ["GoldenPicture", "declared_picture", "golden_picture", "recorded_picture"]
