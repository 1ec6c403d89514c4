"""Gates: bounds that a build's candidates must keep. The operator imports this and the contract."""

from edgesmith_builder.gates.check import Judged, doubts, judge, rejection

__all__ = ["Judged", "doubts", "judge", "rejection"]
