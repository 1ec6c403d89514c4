"""What a candidate answers: how often it is right, and the golden samples that hold it to that."""

from edgesmith_builder.score.accuracy import Score, ScoreFailed, score
from edgesmith_builder.score.recording import GOLDEN_SAMPLES, TOLERANCE, golden_inputs, record

__all__ = ["GOLDEN_SAMPLES", "TOLERANCE", "Score", "ScoreFailed", "golden_inputs", "record", "score"]
