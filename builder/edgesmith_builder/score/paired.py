"""What a candidate's accuracy says beside the source's, when both were asked the same samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgesmith_builder.score.accuracy import Score

_Z = 1.959964
"""The normal distribution's 97.5 % quantile: 95 % lie between this and its negative."""


@dataclass(frozen=True, slots=True)
class Change:
    """Answers that changed, both ways."""

    lost: int
    """Right by the source, wrong by the candidate."""
    gained: int
    """Wrong by the source, right by the candidate."""
    samples: int

    @classmethod
    def between(cls, source: Score, candidate: Score) -> Change:
        """Compare two scores over the same samples."""
        return cls(
            int((source.right & ~candidate.right).sum()),
            int((~source.right & candidate.right).sum()),
            source.samples,
        )

    @property
    def drop(self) -> float:
        """Accuracy lost, as a fraction of 1 to six digits; negative where the candidate is better."""
        return round((self.lost - self.gained) / self.samples, 6)

    @property
    def error(self) -> float:
        """Half the width of the drop's 95 % confidence interval, to six digits.

        Wald's interval for the difference of two paired proportions with half a sample added to each of the four
        cells, so that no changed answer at all does not read as certainty: A. Agresti and Y. Min, "Simple improved
        confidence intervals for comparing matched proportions", Statistics in Medicine 24 (2005), 729-740.
        """
        lost, gained, samples = self.lost + 0.5, self.gained + 0.5, self.samples + 2
        return round(_Z * math.sqrt(lost + gained - (lost - gained) ** 2 / samples) / samples, 6)
