"""Sees the runs of the model and keeps the samples that were chosen, redacted, in the spool."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from edgesmith_runtime.complaints import Complaints
from edgesmith_runtime.sampling.choosing import Chooser, Offer
from edgesmith_runtime.sampling.redaction import Redaction, RedactionFailed
from edgesmith_runtime.sampling.sample import Facts, pack
from edgesmith_runtime.sampling.scores import uncertainty
from edgesmith_runtime.spool.elapsed import Instant, instant
from edgesmith_runtime.spool.spool import FULL, LARGEST
from edgesmith_runtime.uplink.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from edgesmith_runtime.metrics import Metrics
    from edgesmith_runtime.observing import Run
    from edgesmith_runtime.sampling.choosing import Choice
    from edgesmith_runtime.spool.budget import DayBudget
    from edgesmith_runtime.spool.spool import Spool

__all__ = ["Keeping", "Recorder", "Subject"]

_RAW: Final = 64 << 20
"""Bytes of one sample that is considered, before it is packed."""
_ROOM: Final = 8192
"""Bytes that the day's budget takes of a disk while it is written."""
_LOOK: Final = 2.0
"""Seconds between two looks at what waits, for metrics."""
_SHARE: Final = 200
"""How many times as long as a look took the next one is away: of thousands of files one takes a while."""
_SAMPLE, _BUDGET = "sample", "budget"
_FULL: Final = "a sample cannot be kept: the disk is full of what is worth more, or of others' files"
_KEEP: Final = 60.0
"""Seconds between two times that what was saved up is written down."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose samples they are.

    Attributes:
        model: The EdgeModel's name.
        digest: The SHA-256 of the model's file.
        precision: What it computes in.
        node: The node.
        batched: Inputs and outputs whose first axis counts samples; empty where the model takes one at a time.
        classes: The output of probabilities; None where there is none.
    """

    model: str
    digest: str
    precision: str
    node: str
    batched: frozenset[str] = field(default_factory=frozenset)
    classes: str | None = None


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where samples are kept.

    Attributes:
        spool: The spool; recovered already.
        budget: Bytes a day.
        standing: The file beside it in which the uplink says how sending goes.
    """

    spool: Spool
    budget: DayBudget
    standing: Path


@dataclass(frozen=True, slots=True)
class _Seen:
    """What waited when it was last looked at, and what the uplink had said."""

    objects: int
    size: int
    standing: Standing
    known: bool
    """Whether the spool could be looked at."""


class Recorder:
    """An observer of runs.

    Args:
        subject: Whose samples they are.
        chooser: What chooses among them.
        redaction: What is taken out.
        keeping: Where they are kept.
        metrics: Where samples are counted.
        novelty: How novel the samples of a run are; None where nothing says it.
        now: The time that has surely passed.
    """

    def __init__(
        self,
        subject: Subject,
        chooser: Chooser,
        redaction: Redaction,
        keeping: Keeping,
        metrics: Metrics,
        *,
        novelty: Callable[[Run], NDArray[np.float64] | None] | None = None,
        now: Callable[[], Instant] = instant,
    ) -> None:
        self._subject = subject
        self._chooser = chooser
        self._redaction = redaction
        self._spool = keeping.spool
        self._budget = keeping.budget
        self._metrics = metrics
        self._standing = keeping.standing
        self._novelty = novelty
        self._now = now
        self._kept = 0.0
        self._redacting = Complaints("spool", self._seconds)
        self._disk = Complaints("spool", self._seconds)
        self._looked, self._again = 0.0, _LOOK
        self._seen = self._look()
        self._settled = False
        chooser.resume(keeping.budget.notes)

    def _seconds(self) -> float:
        return self._budget.time

    def observe(self, run: Run) -> None:
        """Consider the samples of a run."""
        offer = self._offer(run)
        if offer.size() > _RAW:
            self._metrics.add("edgesmith_samples_total", "too_large", by=offer.samples or 1)
            return
        self._chooser.offer(offer)

    def idle(self, now: float) -> float:  # noqa: ARG002 - as `Observer`
        """Keep the samples of slots that have ended; see `Observer`."""
        moment = self._now()
        seconds = self._budget.advance(moment)
        while (choice := self._chooser.ended(seconds)) is not None:
            self._chooser.taken(choice, self._keep(choice, moment), seconds)
            self._remember(seconds)
        if seconds - self._kept >= _KEEP:
            self._remember(seconds)
        if seconds - self._looked >= self._again:
            self._look_again(seconds)
        look = math.inf if self._settled else self._looked + self._again - seconds
        return min(self._chooser.left(seconds), self._kept + _KEEP - seconds, look)

    def _look_again(self, seconds: float) -> None:
        began, before = time.perf_counter(), self._seen
        self._looked, self._seen = seconds, self._look()
        self._again = max(_LOOK, (time.perf_counter() - began) * _SHARE)
        # Only the server adds to the spool. What the uplink says of the last object it says after that has gone.
        self._settled = self._seen.known and not self._seen.objects and self._seen == before

    def _look(self) -> _Seen:
        """Look at the spool: on the observers' thread, since it lists thousands of files where some were sent."""
        standing = Standing.read(self._standing)
        try:
            waiting = self._spool.waiting()
        except OSError:
            return _Seen(0, 0, standing, known=False)
        return _Seen(len(waiting), waiting.room, standing, known=True)

    def tell(self, metrics: Metrics) -> None:
        """Say what waits, and what the uplink last said."""
        seen = self._seen
        metrics.put("edgesmith_spool_objects", value=seen.objects)
        metrics.put("edgesmith_spool_bytes", value=seen.size)
        seen.standing.tell(metrics)
        self._disk.tell(metrics)

    def close(self) -> None:
        """Write down what was saved up."""
        self._remember(self._budget.advance(self._now()))

    def _offer(self, run: Run) -> Offer:
        subject = self._subject
        counts = {len(array) for name, array in (*run.inputs.items(), *run.outputs.items()) if name in subject.batched}
        every = all(name in subject.batched for name in (*run.inputs, *run.outputs))
        samples = counts.pop() if every and len(counts) == 1 else None
        scores = run.outputs.get(subject.classes) if subject.classes is not None else None
        unsure = None if scores is None or not scores.size else uncertainty(scores)
        novel = None if self._novelty is None else self._novelty(run)
        scored = _whole(unsure, samples), _whole(novel, samples)
        return Offer(run.inputs, run.outputs, samples, *scored, run.at, run.since_boot)

    def _keep(self, choice: Choice, moment: Instant) -> int:
        """Redact, pack, pay for and keep a sample; returns its bytes, 0 where it was not kept."""
        outcome, size = self._kept_as(choice, moment)
        self._metrics.add("edgesmith_samples_total", outcome)
        if choice.reason == "Random" and not size:
            self._metrics.add("edgesmith_samples_missed_total", by=choice.of)
        return size

    def _kept_as(self, choice: Choice, moment: Instant) -> tuple[str, int]:
        data = self._packed(choice, moment)
        if isinstance(data, str):
            return data, 0
        try:
            if not self._pay(choice, len(data), moment):
                return "over_budget", 0
            put = self._spool.put(data, value=choice.value, random=choice.reason == "Random")
        except OSError as error:
            self._disk.wrong(_SAMPLE, f"a sample cannot be kept: {error.strerror}")
            return ("disk_full" if error.errno in FULL else "disk_failed"), 0
        self._metrics.add("edgesmith_samples_dropped_total", by=len(put.dropped))
        if put.full:
            self._disk.wrong(_SAMPLE, _FULL)
        if not put.kept:
            return ("disk_full" if put.full else "spool_full"), 0
        self._disk.right(_SAMPLE)
        self._settled = False
        return choice.reason.lower(), len(data)

    def _packed(self, choice: Choice, moment: Instant) -> bytes | str:
        """Redact and pack a sample; returns its bytes, or the outcome where it cannot be kept."""
        try:
            data = pack(self._facts(choice, moment), *self._redaction.apply(choice.inputs, choice.outputs))
        except RedactionFailed as error:
            self._redacting.wrong(_SAMPLE, f"a sample is not kept: {error}")
            return "not_redacted"
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this sample and no other
            words = f"a sample is not kept: redacting or packing it failed ({type(error).__name__})"
            self._redacting.wrong(_SAMPLE, words)
            return "failed"
        return data if len(data) <= LARGEST else "too_large"

    def _pay(self, choice: Choice, size: int, moment: Instant) -> bool:
        """Take its bytes of the day's; a disk that is full is given room by what is worth less."""
        try:
            return self._budget.take(size, moment)
        except OSError as error:
            if error.errno not in FULL:
                raise
            gone = self._spool.give_room(_ROOM, value=choice.value, random=choice.reason == "Random")
            self._metrics.add("edgesmith_samples_dropped_total", by=len(gone))
            if not gone:
                raise
            return self._budget.take(size, moment)

    def _facts(self, choice: Choice, moment: Instant) -> Facts:
        subject = self._subject
        return Facts(
            subject.model,
            subject.digest,
            subject.precision,
            subject.node,
            choice.reason,
            choice.of,
            choice.uncertainty,
            choice.novelty,
            choice.batch,
            choice.at,
            moment.boot,
            choice.since_boot,
            bool(self._redaction),
        )

    def _remember(self, seconds: float) -> None:
        self._kept = seconds
        self._budget.notes = self._chooser.credits()
        try:
            self._budget.keep()
        except OSError as error:
            self._disk.wrong(_BUDGET, f"what was saved up of the day's bytes cannot be written: {error.strerror}")
        else:
            self._disk.right(_BUDGET)


def _whole(scores: NDArray[np.float64] | None, samples: int | None) -> NDArray[np.float64] | None:
    """Scores of a request that is one sample as a whole: the highest."""
    if scores is None or samples is not None or not scores.size:
        return scores
    return np.array([scores.max()])
