"""Accuracy: the share of samples whose class is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from edgesmith_builder.dataset import CLASSES
from edgesmith_builder.metric.classes import Said, check_above_chance, said
from edgesmith_builder.metric.interface import Change, Evaluation
from edgesmith_builder.metric.proportion import changed, same_share, share, share_error
from edgesmith_runtime.engine import Engine


@dataclass(frozen=True, slots=True)
class Right:
    """Which samples an engine is right about."""

    said: Said

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.said.right)

    @property
    def value(self) -> float:
        """The accuracy, as a fraction of 1."""
        return share(self.said.right)

    @property
    def error(self) -> float:
        """See `proportion.share_error`."""
        return share_error(self.said.right)

    def change(self, candidate: Self) -> Change:
        """See `proportion.change_of`."""
        return changed(self.said.right, candidate.said.right)

    def same(self, candidate: Self) -> float:
        """The share of samples for which both say the same class."""
        return same_share(self.said.chosen, candidate.said.chosen)


class Accuracy:
    """The share of samples whose class is right; how answers say a class is in `classes.said`."""

    name = "accuracy"
    labels = CLASSES
    higher = True

    def score(self, engine: Engine, evaluation: Evaluation, like: Right | None = None) -> Right:
        """See `Metric.score`."""
        return Right(said(engine, evaluation, like.said if like is not None else None))

    def check_source(self, source: Right, evaluation: Evaluation) -> None:
        """Refuse a source that is no better than guessing."""
        check_above_chance(int(source.said.right.sum()), source.said.classes, evaluation)
