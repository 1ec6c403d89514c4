"""Packing: the model layer, and an image of it over the runtime base image."""

from edgesmith_builder.pack.image import Base, assemble, read_base
from edgesmith_builder.pack.layer import write_layer

__all__ = ["Base", "assemble", "read_base", "write_layer"]
