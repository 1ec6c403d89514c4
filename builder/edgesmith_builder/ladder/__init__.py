"""The ladder: candidates tried best first; those that work are finalists."""

from edgesmith_builder.ladder.rung import Attempt, Workshop
from edgesmith_builder.ladder.walk import Outcome, walk
from edgesmith_builder.ladder.yardstick import Yardstick

__all__ = ["Attempt", "Outcome", "Workshop", "Yardstick", "walk"]
