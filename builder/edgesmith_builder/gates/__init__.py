"""Gates: bounds that a candidate must keep at build time."""

from edgesmith_builder.gates.check import Measured, Scored, doubt, rejection

__all__ = ["Measured", "Scored", "doubt", "rejection"]
