"""Gates: bounds that a candidate must keep at build time."""

from edgesmith_builder.gates.check import Measured, doubt, rejection

__all__ = ["Measured", "doubt", "rejection"]
