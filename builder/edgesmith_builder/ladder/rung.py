"""One rung: compile, score, record golden samples, pack, and ask the gates as soon as they can answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesmith_builder.contract import TOOLCHAINS, Build, Candidate, Precision, ToolchainName
from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import shortened
from edgesmith_builder.gates import Measured, doubt, rejection
from edgesmith_builder.model import ModelFacts
from edgesmith_builder.pack import Layer, write_layers
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.quantize import Quantization, QuantizationFailed, machine_failed, quantize
from edgesmith_builder.score import (
    Change,
    Evaluation,
    Score,
    ScoreFailed,
    SourceAnswers,
    agreement,
    other_answers,
    record,
    score,
)
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
        warning = doubt(measured, self.build.gates, self.scored.samples) if self.scored else None
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
        said: dict[str, Any] = {}
        own = model_file == self.source.path
        scores = None
        if self.evaluation is not None and self.scored is not None:
            found = self.scored
            if not own:
                with step(f"{precision}: scored") as current:
                    found = score(engine, self.evaluation, self.scored)
                    current.say(f"{found.samples} samples, {int(found.right.sum())} right,")
            change = Change.between(self.scored, found)
            said = {"accuracy": found.accuracy, "accuracy_drop": change.drop}
            if not own:
                said |= {"accuracy_drop_error": change.error, "lost": change.lost, "gained": change.gained}
                scores = (self.evaluation.output, self.scored, found)
        if not own:
            with step(f"{precision}: compared") as current:
                agreed = agreement(engine, self.answers, scores)
                current.say(f"with the source, {agreed.value:.4f} in {agreed.where}, {agreed.samples} samples,")
            said |= {
                "agreement": agreed.value,
                "agreement_where": shortened(agreed.where, _WHERE_LIMIT),
                "agreement_samples": agreed.samples,
            }
        return _measured(said), said

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


def _measured(said: Mapping[str, Any]) -> Measured:
    """What the gates ask about, of what is said of a candidate."""
    names = ("accuracy", "accuracy_drop", "accuracy_drop_error", "agreement")
    return Measured(**{name: said.get(name) for name in names}, agreement_where=said.get("agreement_where", ""))
