"""What a candidate answers: how far it agrees with the source, and its golden samples."""

from edgesmith_builder.score.agreement import Agreement, Same, agreement
from edgesmith_builder.score.asking import ScoreFailed
from edgesmith_builder.score.baselining import baseline
from edgesmith_builder.score.conversion import check_conversion
from edgesmith_builder.score.golden_inputs import golden_inputs
from edgesmith_builder.score.recording import record
from edgesmith_builder.score.source import SourceAnswers, ask_source

__all__ = [
    "Agreement",
    "Same",
    "ScoreFailed",
    "SourceAnswers",
    "agreement",
    "ask_source",
    "baseline",
    "check_conversion",
    "golden_inputs",
    "record",
]
