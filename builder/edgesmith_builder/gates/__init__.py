"""Gates: bounds that a build's candidates must keep. The operator imports this and the contract."""

from edgesmith_builder.gates.check import Judged, doubt, judge, rejection

__all__ = ["Judged", "doubt", "judge", "rejection"]
