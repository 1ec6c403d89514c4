"""Packing: the layers of a bundle, and an image of them over the runtime base image."""

from edgesmith_builder.pack.engine import PACKAGES_LABEL, VERSION_LABEL
from edgesmith_builder.pack.image import Base, assemble, read_base
from edgesmith_builder.pack.layer import Layer, write_layer, write_layers

__all__ = ["PACKAGES_LABEL", "VERSION_LABEL", "Base", "Layer", "assemble", "read_base", "write_layer", "write_layers"]
