"""One rung: compile, score, record golden samples, replay, pack. What gates ask of it is judged elsewhere."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgesmith_builder.contract import REFINES, Build, Candidate, Form, precision_of
from edgesmith_builder.dataset import Samples
from edgesmith_builder.failures import CompileFailed, machine_failed
from edgesmith_builder.ladder.refining import Loss, loses, loss_of, why_not_refined
from edgesmith_builder.ladder.yardstick import Yardstick
from edgesmith_builder.lastwords import MADE, REPLAYED, SCORED, doing
from edgesmith_builder.pack import Layer, write_layers
from edgesmith_builder.picture import GoldenPicture, recorded_picture
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.score import ScoreFailed, baseline, record
from edgesmith_builder.toolchain import Compiled, Material, Toolchain, as_read
from edgesmith_runtime.bundle import write_bundle
from edgesmith_runtime.bundle.files import file_digest
from edgesmith_runtime.engine import Engine, EngineError, load_engine
from edgesmith_runtime.golden import Golden, replay
from edgesmith_runtime.loading import LoadFailed, pipeline_of, read
from edgesmith_runtime.picture.golden import replay_picture

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
    picture: GoldenPicture | None = None
    """How pictures are taken and answered, where that is declared."""
    tried: dict[Form, Candidate] = field(default_factory=dict)
    """What came of the rungs so far."""

    multiplications: float | None = None
    """Share that is left of those of the source that candidates are held against; None where the material is it."""

    def attempt(self, precision: Form) -> Attempt:
        """Try one rung.

        What is wrong with the candidate is its rejection; what is wrong with the request or the machine is raised.
        """
        try:
            made = self._attempt(precision)
        except (CompileFailed, ScoreFailed, EngineError) as error:
            if machine_failed(error):
                raise
            verb = "cannot be made" if isinstance(error, CompileFailed) else "does not work"
            return self.rejected(precision, f"it {verb}: {error}")
        self.tried[precision] = made.candidate
        return made

    def rejected(self, precision: Form, why: str) -> Attempt:
        """A rung that came to nothing, as the rungs that better it are to know it.

        Args:
            precision: The rung.
            why: In one sentence.
        """
        self.tried[precision] = Candidate(precision=precision, rejected=why)
        return Attempt(self.tried[precision])

    def _attempt(self, precision: Form) -> Attempt:
        refused = self.toolchain.refusal(precision_of(precision), self.material)
        refused = refused or why_not_refined(precision, self.tried)
        if refused is not None:
            return Attempt(Candidate(precision=precision, rejected=refused))
        folder = self.folder / precision
        folder.mkdir()
        made = self._least_lossy(precision, self.toolchain.compile(precision_of(precision), self.material, folder))
        made = as_read(made, self.material.reader, folder)
        came = made.came and self.multiplications is None and not self.material.source.converted
        threads, told = self.material.threads, self.toolchain.told_here
        file = made.stand_in or made.model_file
        engine = load_engine(made.engine, file, threads=threads, options=told(made.options))
        try:
            doing(SCORED)
            said = self.yardstick.own() if came else self.yardstick.measure(engine, precision)
            doing("its golden samples were recorded")
            self._bundle(engine, precision, made, folder / "bundle")
        finally:
            engine.close()
        doing(REPLAYED)
        replayed(folder / "bundle", threads, told)
        layers = self._pack(precision, folder)
        said |= {"in_float": made.in_float, "int8_share": made.int8_share}
        said["image_size"] = self.base_size + sum(layer.descriptor.size for layer in layers)
        for warning in made.warnings:
            log.warning("%s: %s", precision, warning)
        candidate = Candidate(precision=precision, size=made.size, multiplications=self.multiplications, **said)
        return Attempt(candidate, layers, made.warnings)

    def _least_lossy(self, precision: Form, made: Compiled) -> Compiled:
        """Of several forms of a candidate the first that loses nothing that can be told, else the one that loses least.

        Raises:
            CompileFailed: where none loses less than the form that it is to better.
        """
        if made.gentler is None:
            return made
        best: tuple[Loss, Compiled] | None = None
        for form in itertools.chain((made,), made.gentler):
            told = self.toolchain.told_here(form.options)
            engine = load_engine(form.engine, form.model_file, threads=self.material.threads, options=told)
            try:
                doing(SCORED)
                said = self.yardstick.measure(engine, precision)
            finally:
                engine.close()
                doing(MADE)
            found = Candidate(precision=precision, **said)
            if best is None or loss_of(found) < best[0]:
                best = loss_of(found), form
            if not loses(found):
                return form
        other = self.tried.get(REFINES[precision])
        if best is None or (other is not None and loss_of(other) <= best[0]):
            raise CompileFailed("with the nodes that lose most in float, it loses no less")
        return best[1]

    def _bundle(self, engine: Engine, precision: Form, made: Compiled, target: Path) -> None:
        others = functools.partial(self.toolchain.other_answers, made)
        golden = record(
            engine,
            self.golden,
            other=others,
            more=self._set(),
            known=self.yardstick.answers.outputs,
            precision=precision,
            model_size=made.size,
        )
        names, asked, picture = self.material.source.labels, self.picture, None
        if asked is not None:
            picture = recorded_picture(engine, asked, names, others, precision), asked.data
        write_bundle(
            target,
            engine=made.engine,
            precision=precision,
            model_file=made.model_file,
            others=made.others,
            options=made.options,
            inputs=engine.inputs,
            outputs=engine.outputs,
            labels=names,
            golden=golden,
            picture=picture,
            baseline=self._baseline(engine, made, golden),
        )

    def _baseline(self, engine: Engine, made: Compiled, golden: Golden) -> bytes | None:
        """What drift is seen against; None without samples, and for Triton, beside which nothing of ours looks."""
        samples = self._set()
        if samples is None or self.triton:
            return None
        return baseline(engine, samples, golden, file_digest(made.model_file))

    def _set(self) -> Samples | None:
        """The calibration set, or else the evaluation set."""
        evaluation = self.yardstick.evaluation
        return self.material.calibration or (evaluation.samples if evaluation is not None else None)

    def _pack(self, precision: Form, folder: Path) -> tuple[Layer, ...]:
        with step(f"{precision}: packed") as current:
            layers = write_layers(folder / "bundle", folder, triton=self.triton)
            sizes = ", ".join(f"{layer.name} {size_text(layer.descriptor.size)}" for layer in layers)
            current.say(sizes + ",")
        return layers


def replayed(folder: Path, threads: int, told: Callable[[Mapping[str, str]], Mapping[str, str]]) -> None:
    """Load a finished bundle as a device does and replay its golden samples.

    Args:
        folder: The bundle.
        threads: How many cores to compute with.
        told: What its engine is told here, of what it is told on the device: see `Toolchain.told_here`.

    Raises:
        ScoreFailed: where the bundle does not pass on the machine that built it, and so would pass nowhere.
    """
    with step("golden samples: replayed") as current:
        try:
            bundle, golden = read(folder)
            engine = load_engine(bundle.engine, bundle.model_path, threads=threads, options=told(bundle.options))
            try:
                parity = replay(engine, golden)
                pipeline = pipeline_of(bundle)
                fault = replay_picture(engine, pipeline, bundle.picture_path.read_bytes()) if pipeline else None
            finally:
                engine.close()
        except (LoadFailed, EngineError) as error:
            raise ScoreFailed(f"its bundle fails on the machine that built it: {error}") from error
        if not parity.passed or fault is not None:
            raise ScoreFailed(f"its bundle fails on the machine that built it: {fault or parity.message}")
        current.say(f"({parity.message})")
