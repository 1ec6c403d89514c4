"""One rung: compile, score, record golden samples, pack, and ask the gates as soon as they can answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgesmith_builder.contract import Build, Candidate, Precision
from edgesmith_builder.dataset import Samples
from edgesmith_builder.gates import Measured, rejection
from edgesmith_builder.model import ModelFacts
from edgesmith_builder.oci import Descriptor
from edgesmith_builder.pack import write_layer
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.quantize import QuantizationFailed, machine_failed, quantize
from edgesmith_builder.score import TOLERANCE, Score, ScoreFailed, record, score
from edgesmith_runtime.bundle import write_bundle
from edgesmith_runtime.engine import Engine, EngineError, load_engine

ENGINE = "onnxruntime"
"""The engine that serves what this ladder makes."""

_NO_FP32 = (
    "the model came in int8, and there is no fp32 form of it; "
    "the model from before it was quantised was expected, or int8 in the ladder"
)
_NO_CALIBRATION = "calibration is absent; int8 needs spec.calibration, a set of samples to measure ranges with"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A rung that was tried, and the layer where it may win."""

    candidate: Candidate
    layer: Descriptor | None = None
    layer_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every rung works with."""

    build: Build
    source: ModelFacts
    calibration: Samples | None
    evaluation: Samples | None
    golden: Samples
    """Inputs of the golden samples."""
    reference: Score | None
    """Of the source in fp32."""
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
        if precision == "fp32" and not came:
            return Attempt(Candidate(precision=precision, rejected=_NO_FP32))
        folder = self.folder / precision
        folder.mkdir()
        model_file = self._compile(precision, folder)
        candidate = Candidate(precision=precision, size=model_file.stat().st_size)
        engine = load_engine(ENGINE, model_file, threads=self.threads)
        try:
            measured = self._measure(engine, precision)
            candidate = candidate.model_copy(
                update={"accuracy": measured.accuracy, "accuracy_drop": measured.accuracy_drop}
            )
            rejected = rejection(measured, self.build.gates)
            if rejected is not None:
                return Attempt(candidate.model_copy(update={"rejected": rejected}))
            layer_file = folder / "layer.tar"
            layer = self._pack(engine, precision, model_file, folder, layer_file)
        finally:
            engine.close()
        size = Measured(image_size=self.base_size + layer.size)
        return Attempt(candidate.model_copy(update={"rejected": rejection(size, self.build.gates)}), layer, layer_file)

    def _compile(self, precision: Precision, folder: Path) -> Path:
        if precision == self.source.precision:
            return self.source.path  # as it came
        return self._int8(folder)

    def _int8(self, folder: Path) -> Path:
        if self.calibration is None:
            raise QuantizationFailed(_NO_CALIBRATION)
        with step(f"int8: quantised over {len(self.calibration)} samples") as current:
            target = quantize(self.source.path, self.calibration, self.build.quantization, folder, self.threads)
            current.say(f"from {size_text(self.source.size)} to {size_text(target.stat().st_size)}")
        return target

    def _measure(self, engine: Engine, precision: Precision) -> Measured:
        if self.evaluation is None or self.reference is None:
            return Measured()
        result = self.reference
        if precision != self.source.precision:  # the source itself is scored already
            with step(f"{precision}: scored") as current:
                result = score(engine, self.evaluation, "spec.evaluation")
                current.say(f"{result.samples} samples, {result.right} right,")
        return Measured(result.accuracy, round(self.reference.accuracy - result.accuracy, 6))

    def _pack(
        self, engine: Engine, precision: Precision, model_file: Path, folder: Path, layer_file: Path
    ) -> Descriptor:
        with step(f"{precision}: packed") as current:
            write_bundle(
                folder / "bundle",
                model=self.build.model,
                engine=ENGINE,
                precision=precision,
                model_file=model_file,
                inputs=engine.inputs,
                outputs=engine.outputs,
                labels=self.source.labels,
                golden=record(engine, self.golden),
                tolerance=TOLERANCE,
            )
            layer = write_layer(folder / "bundle", layer_file)
            current.say(f"a layer of {size_text(layer.size)}, image {size_text(self.base_size + layer.size)},")
        return layer
