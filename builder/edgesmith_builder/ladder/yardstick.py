"""What candidates are held against: the source's score, and its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgesmith_builder.contract import Form, number_text
from edgesmith_builder.errors import shortened
from edgesmith_builder.metric import Change, Evaluation, Metric, Score
from edgesmith_builder.progress import step
from edgesmith_builder.score import Same, SourceAnswers, agreement
from edgesmith_runtime.engine import Engine

_WHERE_LIMIT = 100
"""Characters of where a candidate agrees least."""

Said = dict[str, Any]
"""Fields of a `Candidate`."""


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The source, as a candidate's measure."""

    metric: Metric[Any]
    evaluation: Evaluation | None
    scored: Score | None
    """The source's score on the evaluation set."""
    answers: SourceAnswers
    reference: Score | None = None
    """Of an alternative: the score of what it may stand in for, which drops are counted from."""

    def own(self) -> Said:
        """What is known of the source itself: it agrees with itself and, where it is no alternative, loses nothing."""
        if self.scored is None:
            return {}
        value = _value(self.scored)
        if self.reference is not None:
            return value | _changed(self.reference.change(self.scored))
        return value | {"accuracy_drop": 0.0}

    def measure(self, engine: Engine, precision: Form) -> Said:
        """Score a candidate and hold its answers against the source's.

        Raises:
            ScoreFailed: where it does not answer with numbers.
        """
        said, same = self._score(engine, precision)
        with step(f"{precision}: compared") as current:
            agreed = agreement(engine, self.answers, same)
            known = f"{agreed.value:.4f} ± {agreed.error:.4f}"
            current.say(f"with the source, {known} in {agreed.where}, {agreed.samples} samples,")
        return said | {
            "agreement": agreed.value,
            "agreement_error": agreed.error,
            "agreement_where": shortened(agreed.where, _WHERE_LIMIT),
            "agreement_samples": agreed.samples,
        }

    def _score(self, engine: Engine, precision: Form) -> tuple[Said, Same | None]:
        if self.evaluation is None or self.scored is None:
            return {}, None
        with step(f"{precision}: scored") as current:
            found: Score = self.metric.score(engine, self.evaluation, self.scored)
            value = _value(found)
            words = f"{self.metric.name} {number_text(value['accuracy'])} ± {number_text(value['accuracy_error'])}"
            current.say(f"{found.samples} samples, {words},")
        change, share = (self.reference or self.scored).change(found), self.scored.same(found)
        said = value | _changed(change)
        same = Same(self.evaluation.output, share, found.samples) if share is not None else None
        return said, same


def _value(score: Score) -> Said:
    return {"accuracy": score.value, "accuracy_error": score.error}


def _changed(change: Change) -> Said:
    return {
        "accuracy_drop": change.drop,
        "accuracy_drop_error": change.error,
        "lost": change.lost,
        "gained": change.gained,
    }
