"""One rung: compile, score, record golden samples, replay, pack. What gates ask of it is judged elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgesmith_builder.contract import Build, Candidate, Precision
from edgesmith_builder.dataset import Samples
from edgesmith_builder.failures import CompileFailed, machine_failed
from edgesmith_builder.ladder.yardstick import Yardstick
from edgesmith_builder.pack import Layer, write_layers
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.score import ScoreFailed, record
from edgesmith_builder.toolchain import Compiled, Material, Toolchain
from edgesmith_runtime.bundle import write_bundle
from edgesmith_runtime.engine import Engine, EngineError, load_engine
from edgesmith_runtime.golden import replay
from edgesmith_runtime.loading import LoadFailed, read

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A rung that was tried, and its layers where it works."""

    candidate: Candidate
    layers: tuple[Layer, ...] = ()
    """Lowest first: the golden inputs, the model."""
    warnings: tuple[str, ...] = ()
    """What its toolchain found that is not as good as it looks."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every rung works with."""

    build: Build
    toolchain: Toolchain
    material: Material
    yardstick: Yardstick
    golden: Samples
    """Inputs of the golden samples."""
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
        threads = self.material.threads
        engine = load_engine(made.engine, made.stand_in or made.model_file, threads=threads, options=made.told)
        try:
            said = self.yardstick.own() if made.came else self.yardstick.measure(engine, precision)
            self._bundle(engine, precision, made, folder / "bundle")
        finally:
            engine.close()
        replayed(folder / "bundle", threads, made.told)
        layers = self._pack(precision, folder)
        said["image_size"] = self.base_size + sum(layer.descriptor.size for layer in layers)
        for warning in made.warnings:
            log.warning("%s: %s", precision, warning)
        return Attempt(Candidate(precision=precision, size=made.size, **said), layers, made.warnings)

    def _bundle(self, engine: Engine, precision: Precision, made: Compiled, target: Path) -> None:
        golden = record(
            engine,
            self.golden,
            others=self.toolchain.other_answers(made, self.golden),
            known=self.yardstick.answers.outputs,
            precision=precision,
            model_size=made.size,
        )
        write_bundle(
            target,
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


def replayed(folder: Path, threads: int, options: Mapping[str, str] | None = None) -> None:
    """Load a finished bundle as a device does and replay its golden samples.

    Args:
        folder: The bundle.
        threads: How many cores to compute with.
        options: What its engine is told here; None: what it is told on the device.

    Raises:
        ScoreFailed: where the bundle does not pass on the machine that built it, and so would pass nowhere.
    """
    with step("golden samples: replayed") as current:
        try:
            bundle, golden = read(folder)
            told = bundle.options if options is None else options
            engine = load_engine(bundle.engine, bundle.model_path, threads=threads, options=told)
            try:
                parity = replay(engine, golden)
            finally:
                engine.close()
        except (LoadFailed, EngineError) as error:
            raise ScoreFailed(f"its bundle fails on the machine that built it: {error}") from error
        if not parity.passed:
            raise ScoreFailed(f"its bundle fails on the machine that built it: {parity.message}")
        current.say(f"({parity.message})")
