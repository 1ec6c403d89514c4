"""What every metric can do: score an engine on the evaluation set, and say how well that is known.

A metric is one module. What it makes of an engine's answers is a `Score`, which keeps of each sample what it needs to
be compared with another engine's score over the same samples. Nothing outside knows a metric by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from numpy.typing import NDArray

from edgesmith_builder.dataset import Labels, Samples
from edgesmith_runtime.engine import Engine
from edgesmith_runtime.picture import Picture


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The evaluation set, and where its answers are."""

    samples: Samples
    """With labels of the metric's kind."""
    output: str
    """The output that is scored."""
    field: str = "spec.evaluation"
    """Where the request names the set, for messages."""
    names: Sequence[str] | None = None
    """The model's class names, where it has them."""
    picture: Picture | None = None
    """What is declared of its answers, where they are labels or boxes of a picture."""

    @property
    def labels(self) -> NDArray[Any]:
        """What is right for each sample."""
        if self.samples.labels is None:
            raise ValueError("samples have no labels; an evaluation set was expected")
        return self.samples.labels


@dataclass(frozen=True, slots=True)
class Change:
    """What a candidate lost against the source, both asked the same samples."""

    drop: float
    """To six digits, negative where the candidate is better: by how much the value is lower; of an error, by how much
    it is higher, as a share of the source's."""
    error: float
    """Half the width of the drop's 95 % confidence interval, to six digits."""
    lost: int | None = None
    """Samples that the source is right about and the candidate wrong, where samples are right or wrong."""
    gained: int | None = None
    """The other way round."""


class Score(Protocol):
    """What an engine's answers are worth."""

    @property
    def samples(self) -> int:
        """How many samples there are."""

    @property
    def value(self) -> float:
        """The metric's value, to six digits."""

    @property
    def error(self) -> float:
        """How far the value may be off, to six digits: its 95 % confidence interval reaches no further."""

    def change(self, candidate: Self) -> Change:
        """What a candidate lost against this, the source's score."""

    def same(self, candidate: Self) -> float | None:
        """The share of samples for which both say the same class; None where no classes are said."""


S = TypeVar("S", bound=Score)
"""A metric's own kind of score."""


class Metric(Protocol[S]):
    """How answers are scored. `S` is its own kind of score."""

    @property
    def name(self) -> str:
        """As sentences have it: `accuracy`."""

    @property
    def labels(self) -> Labels:
        """What kind of labels it needs."""

    @property
    def higher(self) -> bool:
        """Whether a higher value is a better one; of errors a lower one is."""

    def score(self, engine: Engine, evaluation: Evaluation, like: S | None = None) -> S:
        """Ask an engine every sample of the set.

        Args:
            engine: Whom to ask.
            evaluation: What to ask, and what is right.
            like: The source's score, whose reading of answers a candidate's must follow.

        Raises:
            ScoreFailed: where it does not answer with numbers.
            DatasetMismatch: where the labels do not fit the output.
        """

    def check_source(self, source: S, evaluation: Evaluation) -> None:
        """Refuse a source whose score says that the labels are about something else.

        Raises:
            DatasetMismatch: naming what was expected.
        """
