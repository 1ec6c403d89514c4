"""What a candidate answers: how often it is right, how far it agrees with the source, and its golden samples."""

from edgesmith_builder.score.accuracy import Evaluation, Score, check_above_chance, score
from edgesmith_builder.score.agreement import Agreement, agreement
from edgesmith_builder.score.asking import ScoreFailed
from edgesmith_builder.score.golden_inputs import golden_inputs
from edgesmith_builder.score.kernels import other_answers
from edgesmith_builder.score.paired import Change
from edgesmith_builder.score.recording import record
from edgesmith_builder.score.source import SourceAnswers, ask_source

__all__ = [
    "Agreement",
    "Change",
    "Evaluation",
    "Score",
    "ScoreFailed",
    "SourceAnswers",
    "agreement",
    "ask_source",
    "check_above_chance",
    "golden_inputs",
    "other_answers",
    "record",
    "score",
]
