"""One rung: compile, score, record golden samples, pack, and ask the gates as soon as they can answer."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesmith_builder.contract import TOOLCHAINS, Build, Candidate, Precision, ToolchainName
from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import shortened
from edgesmith_builder.gates import Measured, Scored, doubt, rejection
from edgesmith_builder.metric import Change, Evaluation, Metric, Score
from edgesmith_builder.model import ModelFacts
from edgesmith_builder.pack import Layer, write_layers
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.quantize import Quantization, QuantizationFailed, machine_failed, quantize
from edgesmith_builder.score import Same, ScoreFailed, SourceAnswers, agreement, other_answers, record
from edgesmith_runtime.bundle import write_bundle
from edgesmith_runtime.engine import Engine, EngineError, load_engine
from edgesmith_runtime.loading import LoadFailed, load

log = logging.getLogger(__name__)

TOOLCHAIN: ToolchainName = "ONNXRuntime"
"""What compiles here."""

ENGINE = TOOLCHAINS[TOOLCHAIN].engine
"""The engine that serves what this ladder makes."""

_WHERE_LIMIT = 100
"""Characters of where a candidate agrees least."""

_NO_OTHER = (
    "the model came in {came}, and there is no {asked} form of it; "
    "the model from before it was made so was expected, or {came} among the precisions"
)
_NO_CALIBRATION = "calibration is absent; int8 needs spec.calibration, a set of samples to measure ranges with"


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
    source: ModelFacts
    calibration: Samples | None
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
    folder: Path
    threads: int

    def attempt(self, precision: Precision) -> Attempt:
        """Try one rung.

        What is wrong with the candidate is its rejection; what is wrong with the request or the machine is raised.
        """
        try:
            return self._attempt(precision)
        except (QuantizationFailed, ScoreFailed, EngineError) as error:
            if machine_failed(error):
                raise
            verb = "cannot be made" if isinstance(error, QuantizationFailed) else "does not work"
            return Attempt(Candidate(precision=precision, rejected=f"it {verb}: {error}"))

    def _attempt(self, precision: Precision) -> Attempt:
        came = self.source.precision == precision
        if precision == "int8" and self.calibration is None and not came:
            return Attempt(Candidate(precision=precision, rejected=_NO_CALIBRATION))
        if precision != "int8" and not came:
            why = _NO_OTHER.format(came=self.source.precision, asked=precision)
            return Attempt(Candidate(precision=precision, rejected=why))
        folder = self.folder / precision
        folder.mkdir()
        model_file = self._compile(precision, folder)
        candidate = Candidate(precision=precision, size=model_file.stat().st_size)
        engine = load_engine(ENGINE, model_file, threads=self.threads)
        try:
            measured, said = self._measure(engine, precision, model_file)
            candidate = candidate.model_copy(update=said)
            rejected = rejection(measured, self.build.gates)
            if rejected is not None:
                return Attempt(candidate.model_copy(update={"rejected": rejected}))
            self._bundle(engine, precision, model_file, folder / "bundle")
        finally:
            engine.close()
        replayed(folder / "bundle", self.threads)
        layers = self._pack(precision, folder)
        size = Measured(image_size=self.base_size + sum(layer.descriptor.size for layer in layers))
        rejected = rejection(size, self.build.gates)
        warning = doubt(measured, self.build.gates)
        if warning is not None:
            log.warning("%s: %s", precision, warning)
        return Attempt(candidate.model_copy(update={"rejected": rejected}), layers, warning)

    def _compile(self, precision: Precision, folder: Path) -> Path:
        if precision == self.source.precision:
            return self.source.path  # as it came
        return self._int8(folder)

    def _int8(self, folder: Path) -> Path:
        if self.calibration is None:
            raise QuantizationFailed(_NO_CALIBRATION)
        with step(f"int8: quantised over {len(self.calibration)} samples") as current:
            settings = Quantization.of(self.build.toolchain.settings)
            target = quantize(self.source.path, self.calibration, settings, folder, self.threads)
            current.say(f"from {size_text(self.source.size)} to {size_text(target.stat().st_size)}")
        return target

    def _measure(self, engine: Engine, precision: Precision, model_file: Path) -> tuple[Measured, dict[str, Any]]:
        """Score a candidate and hold it against the source; what is known of the source itself is known already."""
        own = model_file == self.source.path
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

    def _bundle(self, engine: Engine, precision: Precision, model_file: Path, target: Path) -> None:
        golden = record(
            engine,
            self.golden,
            others=other_answers(model_file, self.golden),
            known=self.answers.outputs,
            precision=precision,
            model_size=model_file.stat().st_size,
        )
        write_bundle(
            target,
            model=self.build.model,
            engine=ENGINE,
            precision=precision,
            model_file=model_file,
            inputs=engine.inputs,
            outputs=engine.outputs,
            labels=self.source.labels,
            golden=golden,
        )

    def _pack(self, precision: Precision, folder: Path) -> tuple[Layer, ...]:
        with step(f"{precision}: packed") as current:
            layers = write_layers(folder / "bundle", folder)
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
