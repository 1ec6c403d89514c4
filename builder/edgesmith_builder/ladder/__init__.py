"""The ladder: candidates tried best first, until one passes every gate."""

from edgesmith_builder.ladder.rung import Attempt, Workshop
from edgesmith_builder.ladder.walk import Outcome, walk

__all__ = ["Attempt", "Outcome", "Workshop", "walk"]
