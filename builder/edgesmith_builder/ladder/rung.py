"""One rung: compile, score, record golden samples, pack, and ask the gates as soon as they can answer."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesmith_builder.contract import Build, Candidate, Precision
from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import shortened
from edgesmith_builder.failures import CompileFailed, machine_failed
from edgesmith_builder.gates import Measured, Scored, doubt, rejection
from edgesmith_builder.metric import Change, Evaluation, Metric, Score
from edgesmith_builder.pack import Layer, write_layers
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.score import Same, ScoreFailed, SourceAnswers, agreement, record
from edgesmith_builder.toolchain import Compiled, Material, Toolchain
from edgesmith_runtime.bundle import write_bundle
from edgesmith_runtime.engine import Engine, EngineError, load_engine
from edgesmith_runtime.loading import LoadFailed, load

log = logging.getLogger(__name__)

_WHERE_LIMIT = 100
"""Characters of where a candidate agrees least."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A rung that was tried, and its layers where it may win."""

    candidate: Candidate
    layers: tuple[Layer, ...] = ()
    """Lowest first: the golden inputs, the model."""
    warning: str | None = None
    """Why its gates say little, where they do."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every rung works with."""

    build: Build
    toolchain: Toolchain
    material: Material
    metric: Metric[Any]
    evaluation: Evaluation | None
    golden: Samples
    """Inputs of the golden samples."""
    scored: Score | None
    """The source's score on the evaluation set."""
    answers: SourceAnswers
    """The source's answers that candidates are held against."""
    base_size: int
    """Compressed bytes of the base image."""
    triton: bool
    """Whether Triton is to serve the model."""
    folder: Path

    def attempt(self, precision: Precision) -> Attempt:
        """Try one rung.

        What is wrong with the candidate is its rejection; what is wrong with the request or the machine is raised.
        """
        try:
            return self._attempt(precision)
        except (CompileFailed, ScoreFailed, EngineError) as error:
            if machine_failed(error):
                raise
            verb = "cannot be made" if isinstance(error, CompileFailed) else "does not work"
            return Attempt(Candidate(precision=precision, rejected=f"it {verb}: {error}"))

    def _attempt(self, precision: Precision) -> Attempt:
        refused = self.toolchain.refusal(precision, self.material)
        if refused is not None:
            return Attempt(Candidate(precision=precision, rejected=refused))
        folder = self.folder / precision
        folder.mkdir()
        made = self.toolchain.compile(precision, self.material, folder)
        candidate = Candidate(precision=precision, size=made.size)
        threads = self.material.threads
        engine = load_engine(made.engine, made.here or made.model_file, threads=threads, options=made.options)
        try:
            measured, said = self._measure(engine, precision, own=made.came)
            candidate = candidate.model_copy(update=said)
            rejected = rejection(measured, self.build.gates)
            if rejected is not None:
                return Attempt(candidate.model_copy(update={"rejected": rejected}))
            self._bundle(engine, precision, made, folder / "bundle")
        finally:
            engine.close()
        replayed(folder / "bundle", threads)
        layers = self._pack(precision, folder)
        size = Measured(image_size=self.base_size + sum(layer.descriptor.size for layer in layers))
        rejected = rejection(size, self.build.gates)
        warning = doubt(measured, self.build.gates)
        if warning is not None:
            log.warning("%s: %s", precision, warning)
        return Attempt(candidate.model_copy(update={"rejected": rejected}), layers, warning)

    def _measure(self, engine: Engine, precision: Precision, *, own: bool) -> tuple[Measured, dict[str, Any]]:
        """Score a candidate and hold it against the source; what is known of the source itself is known already."""
        scored, said, same = self._score(engine, precision, own=own)
        if own:
            return Measured(scored), said
        with step(f"{precision}: compared") as current:
            agreed = agreement(engine, self.answers, same)
            current.say(f"with the source, {agreed.value:.4f} in {agreed.where}, {agreed.samples} samples,")
        said |= {
            "agreement": agreed.value,
            "agreement_where": shortened(agreed.where, _WHERE_LIMIT),
            "agreement_samples": agreed.samples,
        }
        return Measured(scored, agreed.value, said["agreement_where"]), said

    def _score(
        self, engine: Engine, precision: Precision, *, own: bool
    ) -> tuple[Scored | None, dict[str, Any], Same | None]:
        """What the metric says of a candidate: for the gates, for the report, and of its agreement with the source."""
        if self.evaluation is None or self.scored is None:
            return None, {}, None
        found, change = self.scored, Change(0.0, 0.0)
        if not own:
            with step(f"{precision}: scored") as current:
                found = self.metric.score(engine, self.evaluation, self.scored)
                current.say(f"{found.samples} samples, {self.metric.name} {found.value:.4f},")
            change = self.scored.change(found)
        scored = Scored(
            value=found.value,
            drop=change.drop,
            error=None if own else change.error,
            samples=found.samples,
            name=self.metric.name,
            higher=self.metric.higher,
        )
        said: dict[str, Any] = {"accuracy": scored.value, "accuracy_drop": scored.drop}
        if own:
            return scored, said, None
        said |= {"accuracy_drop_error": scored.error, "lost": change.lost, "gained": change.gained}
        share = self.scored.same(found)
        same = Same(self.evaluation.output, share, found.samples) if share is not None else None
        return scored, said, same

    def _bundle(self, engine: Engine, precision: Precision, made: Compiled, target: Path) -> None:
        golden = record(
            engine,
            self.golden,
            others=self.toolchain.other_answers(made, self.golden),
            known=self.answers.outputs,
            precision=precision,
            model_size=made.size,
        )
        write_bundle(
            target,
            model=self.build.model,
            engine=made.engine,
            precision=precision,
            model_file=made.model_file,
            others=made.others,
            options=made.options,
            inputs=engine.inputs,
            outputs=engine.outputs,
            labels=self.material.source.labels,
            golden=golden,
        )

    def _pack(self, precision: Precision, folder: Path) -> tuple[Layer, ...]:
        with step(f"{precision}: packed") as current:
            layers = write_layers(folder / "bundle", folder, triton=self.triton)
            sizes = ", ".join(f"{layer.name} {size_text(layer.descriptor.size)}" for layer in layers)
            current.say(sizes + ",")
        return layers


def replayed(bundle: Path, threads: int) -> None:
    """Load a finished bundle as a device does and replay its golden samples.

    Raises:
        ScoreFailed: where the bundle does not pass on the machine that built it, and so would pass nowhere.
    """
    with step("golden samples: replayed") as current:
        try:
            loaded = load(bundle, threads=threads, max_batch=1)
        except LoadFailed as error:
            raise ScoreFailed(f"its bundle fails on the machine that built it: {error}") from error
        loaded.model.engine.close()
        current.say(f"({loaded.parity.message})")
