"""The recipe: from a request to an image in the registry, read top to bottom.

1. Look the base image up.
2. Ask the registry whether the build was made already, over that base, and whether it takes pushes.
3. Fetch the model and the data sets, and check each before anything is computed.
4. Score the source as it came and ask it some samples: what candidates are held against.
5. Walk the ladder: compile, score, gate, pack, replay.
6. Assemble the image for its platform, and push what the registry does not have.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgesmith_builder.contract import (
    KEY_ANNOTATION,
    REPORT_ANNOTATION,
    TOOLS,
    Artifact,
    Build,
    BuildReport,
    BuildRequest,
    Toolchain,
    Tools,
    wrong_options,
    wrong_precisions,
)
from edgesmith_builder.dataset import Labels, Samples, read_npz, samples_for
from edgesmith_builder.errors import DatasetInvalid, ModelInvalid, RequestInvalid
from edgesmith_builder.ladder import Outcome, Workshop, walk
from edgesmith_builder.ladder.rung import ENGINE, TOOLCHAIN
from edgesmith_builder.limits import DATASET, MODEL, memory_limit, model_limit
from edgesmith_builder.metric import Evaluation, Metric, Score, metric_of
from edgesmith_builder.model import ModelFacts, read_model, shaped
from edgesmith_builder.oci import BytesBlob, Manifest, Reference, Repository
from edgesmith_builder.pack import Base, assemble, read_base
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.provenance import why_foreign
from edgesmith_builder.push import Registries, push
from edgesmith_builder.score import ScoreFailed, SourceAnswers, ask_source, golden_inputs
from edgesmith_builder.source import Bucket, Limit
from edgesmith_runtime.bundle import is_name
from edgesmith_runtime.engine import Engine, EngineError, load_engine
from edgesmith_runtime.tensors import TensorSpec, shape_text

log = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]

_HELD_BACK = 5
"""Of so many calibration samples one is held back."""


@dataclass(frozen=True, slots=True)
class Built:
    """What a build ends with."""

    image: str
    """`REGISTRY/NAME@sha256:HEX`."""
    cached: bool
    """Whether it was there before."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was fetched, checked."""

    model: ModelFacts
    calibration: Samples | None
    metric: Metric[Any]
    evaluation: Evaluation | None
    golden: Samples
    scored: Score | None
    """The source's, on the evaluation set."""
    answers: SourceAnswers
    """The source's answers that candidates are held against."""


async def build(
    request: BuildRequest, bucket: Bucket, registries: Registries, work: Path, *, threads: int = 1
) -> Built:
    """Carry out a request.

    Args:
        request: What to build and where to push it.
        bucket: Where sources come from.
        registries: Where the base image and the result are.
        work: An empty folder with room for a few copies of the model and the data sets unpacked.
        threads: Cores to score with; it does not change what comes out.

    Raises:
        BuildError, RegistryError: as `edgesmith_builder.errors` says.
    """
    wanted = request.build
    target = check_request(request)
    log.info("build %s: %s for %s", wanted.key, wanted.model, wanted.platform.architecture)
    with step(f"found base {wanted.base}") as current:
        base = await read_base(registries.base, wanted.base, wanted.platform)
        current.say(f"{len(base.manifest.layers)} layers, {size_text(base.manifest.size)}")
    made = await registries.target.manifest(target)
    if made is not None:
        foreign = why_foreign(made, wanted.key, [layer.digest for layer in base.manifest.layers])
        if foreign is None:
            log.info("%s is made already: %s", target, made.digest)
            return Built(str(target.repository.pinned(made.digest)), cached=True)
        log.warning("%s %s; it is replaced", target, foreign)
    with step(f"{target.repository} takes pushes"):
        await registries.target.check_push(target.repository)

    inputs = gather(wanted, bucket, work, threads)
    outcome = climb(wanted, inputs, base.manifest.size, work, threads)
    manifest, config = image_of(wanted, inputs, outcome, base)
    digest = await push(registries, target, base=base, winner=outcome.winner, manifest=manifest, config=config)
    return Built(str(target.repository.pinned(digest)), cached=False)


def check_request(request: BuildRequest) -> Reference:
    """Find contradictions before anything is fetched, and return where the image goes.

    Raises:
        RequestInvalid: naming the field.
    """
    wanted = request.build
    check_tools(wanted.tools or TOOLS)
    try:
        target = Repository.parse(request.repository).tagged(wanted.key)
    except ValueError as error:
        raise RequestInvalid(f"repository is not one: {error}") from error
    if not is_name(wanted.model):
        raise RequestInvalid(
            f"build.model is {wanted.model[:100]!r}; a name of letters, digits, '.', '_' and '-' was expected"
        )
    check_gates(wanted)
    check_toolchain(wanted.toolchain)
    return target


def check_gates(wanted: Build) -> None:
    """Find gates that the metric cannot be held to.

    Raises:
        RequestInvalid: naming the gate.
    """
    metric, gates = metric_of(wanted.metric, wanted.metric_options), wanted.gates
    bounds = {
        "maxAccuracyDrop": gates.max_accuracy_drop,
        "minAccuracy": gates.min_accuracy,
        "maxError": gates.max_error,
    }
    asked = {name: bound for name, bound in bounds.items() if bound is not None}
    for name, bound in asked.items():
        if wanted.evaluation is None:
            raise RequestInvalid(
                f"spec.gates.{name} is {bound} but spec.evaluation is absent; "
                f"an evaluation set was expected to measure {metric.name} on"
            )
        if name == ("minAccuracy", "maxError")[metric.higher]:
            other = "maxError" if name == "minAccuracy" else "minAccuracy"
            better = "higher" if metric.higher else "lower"
            raise RequestInvalid(
                f"spec.gates.{name} is {bound} but {metric.name} is better the {better} it is; "
                f"spec.gates.{other} was expected"
            )


def check_toolchain(wanted: Toolchain) -> None:
    """Hold what is asked of a toolchain against what it can be asked for.

    Raises:
        RequestInvalid: naming the field.
    """
    if wanted.name != TOOLCHAIN:
        raise RequestInvalid(f"build.toolchain.name is {wanted.name}; this builder has {TOOLCHAIN}")
    wrong = wrong_precisions(wanted.name, wanted.precisions) or wrong_options(wanted.name, wanted.options)
    if wrong is not None:
        raise RequestInvalid(f"build.toolchain.{wrong}")


def check_tools(wanted: Tools) -> None:
    """Hold the versions of what compiles, which are part of the build key, against what is installed.

    Raises:
        RequestInvalid: naming the tool.
    """
    installed = Tools(builder=TOOLS.builder, onnx=version("onnx"), onnxruntime=version("onnxruntime"))
    for name, there in installed:
        asked = getattr(wanted, name)
        if asked != there:
            raise RequestInvalid(
                f"build.tools.{name} is {asked} but this builder has {there}; the builder image of the operator's own "
                "release was expected"
            )


def gather(wanted: Build, bucket: Bucket, work: Path, threads: int) -> Inputs:
    """Fetch everything, check it, and score the source.

    Raises:
        BuildError: of the fitting kind.
    """
    fetched = work / "source.onnx"
    what = f"spec.source.uri {wanted.source.uri}"
    bucket.fetch("spec.source", wanted.source, fetched, largest_model(memory_limit()))
    with step("model") as current:
        facts = read_model(fetched, what)
        current.say(f"opset {facts.opset}, {facts.parameters} parameters, {size_text(facts.size)}, checked")
    wanted_sets = {"spec.calibration": wanted.calibration, "spec.evaluation": wanted.evaluation}
    sets = {field: artifact for field, artifact in wanted_sets.items() if artifact is not None}
    arrays = functools.cache(lambda field: _arrays(field, sets[field], wanted, bucket, work))
    if facts.shapeless:
        ranks = {name: array.ndim for field in sets for name, array in arrays(field).items()}
        facts = shaped(facts, ranks, what)
    try:
        engine = load_engine(ENGINE, fetched, threads=threads)
    except EngineError as error:
        raise ModelInvalid(f"{what} does not run: {error}; a model that {ENGINE} runs was expected") from error
    try:
        log.info("inputs %s, outputs %s", _specs(engine.inputs), _specs(engine.outputs))
        labels = {"spec.evaluation": metric_of(wanted.metric, wanted.metric_options).labels}
        found = {
            field: _samples(field, artifact, arrays(field), engine.inputs, labels.get(field))
            for field, artifact in sets.items()
        }
        return ask(wanted, facts, engine, found.get("spec.calibration"), found.get("spec.evaluation"))
    except ScoreFailed as error:
        raise ModelInvalid(f"{what} does not answer its samples: {error}; finite numbers were expected") from error
    finally:
        engine.close()


def largest_model(memory: int | None) -> Limit:
    """How large the model may be here, and what to change where it is larger."""
    size, hint = model_limit(memory), ""
    if memory is not None and size < MODEL:
        hint = f" of a builder with {size_text(memory)} of memory (builder.resources of the chart)"
    return Limit(size, ModelInvalid, hint)


def ask(
    wanted: Build, facts: ModelFacts, source: Engine, calibration: Samples | None, labelled: Samples | None
) -> Inputs:
    """Score the source, and ask it what candidates are held against.

    Args:
        wanted: The build.
        facts: What is known of the source.
        source: The source, loaded.
        calibration: The calibration set.
        labelled: The evaluation set.

    Raises:
        ScoreFailed: where the source does not answer with numbers.
        DatasetMismatch: where it is no better than guessing, or labels do not fit it.
        RequestInvalid: where an output is named that it does not have, or golden samples cannot be made up.
    """
    evaluation, scored, metric = None, None, metric_of(wanted.metric, wanted.metric_options)
    if labelled is not None:
        evaluation = Evaluation(labelled, _output(wanted, source), names=facts.labels)
        with step("source: scored") as current:
            scored = metric.score(source, evaluation)
            current.say(f"{scored.samples} samples, {metric.name} {scored.value:.4f} ± {scored.error:.4f},")
        metric.check_source(scored, evaluation)
    golden = golden_inputs(labelled if labelled is not None else calibration, source.inputs, facts.size)
    if labelled is not None:
        compared, field = labelled, "spec.evaluation"
    elif calibration is not None:
        calibration, compared = held_back(calibration)
        field = "spec.calibration"
    else:
        compared, field = golden, "the golden samples"
    with step("source: asked") as current:
        asked = ask_source(source, compared, field, facts.labels)
        current.say(f"{len(asked.answers)} samples of {field},")
    return Inputs(facts, calibration, metric, evaluation, golden, scored, asked)


def held_back(calibration: Samples) -> tuple[Samples, Samples]:
    """Split a calibration set: what to calibrate with, and every fifth sample, to hold candidates against the source.

    A candidate agrees best on the samples that its ranges were measured with. One sample alone has to do for both.
    """
    numbers = range(len(calibration))
    if len(calibration) == 1:
        return calibration, calibration
    last = min(_HELD_BACK, len(calibration)) - 1
    held = [number for number in numbers if number % _HELD_BACK == last]
    return calibration.take([number for number in numbers if number % _HELD_BACK != last]), calibration.take(held)


def _output(wanted: Build, engine: Engine) -> str:
    """The output that is scored.

    Raises:
        RequestInvalid: where the model has none of that name.
    """
    names = [spec.name for spec in engine.outputs]
    if wanted.output is not None and wanted.output not in names:
        raise RequestInvalid(
            f"spec.evaluation.output is {wanted.output!r}; one of the model's outputs was expected: {', '.join(names)}"
        )
    return wanted.output or names[0]


def climb(wanted: Build, inputs: Inputs, base_size: int, work: Path, threads: int) -> Outcome:
    """Walk the ladder.

    Args:
        wanted: The build.
        inputs: What was gathered.
        base_size: Compressed bytes of the base image.
        work: A folder for candidates.
        threads: Cores to score with.

    Raises:
        GatesFailed: where nobody passes.
    """
    workshop = Workshop(
        build=wanted,
        source=inputs.model,
        calibration=inputs.calibration,
        metric=inputs.metric,
        evaluation=inputs.evaluation,
        golden=inputs.golden,
        scored=inputs.scored,
        answers=inputs.answers,
        base_size=base_size,
        folder=work,
        threads=threads,
    )
    return walk(wanted.toolchain.precisions, workshop.attempt, inputs.metric.name)


def image_of(wanted: Build, inputs: Inputs, outcome: Outcome, base: Base) -> tuple[Manifest, BytesBlob]:
    """The winner's image, with the report in its manifest."""
    winner, layers = outcome.winner.candidate, outcome.winner.layers
    if not layers:
        raise ValueError("the winner was not packed; layers were expected")
    report = BuildReport(
        precision=winner.precision,
        accuracy=winner.accuracy,
        accuracy_drop=winner.accuracy_drop,
        accuracy_drop_error=winner.accuracy_drop_error,
        agreement=winner.agreement,
        reference_accuracy=inputs.scored.value if inputs.scored else None,
        samples=inputs.scored.samples if inputs.scored else None,
        size=layers[-1].descriptor.size,
        warnings=(outcome.winner.warning,) if outcome.winner.warning else (),
        candidates=outcome.candidates,
    )
    labels = {"dev.edgesmith.model": wanted.model, KEY_ANNOTATION: wanted.key}
    return assemble(base, layers, labels, {KEY_ANNOTATION: wanted.key, REPORT_ANNOTATION: report.to_json()})


def _arrays(field: str, artifact: Artifact, wanted: Build, bucket: Bucket, work: Path) -> Arrays:
    """A set's arrays, fetched."""
    folder = work / field
    folder.mkdir()
    packed = folder / "set.npz"
    bucket.fetch(field, artifact, packed, Limit(DATASET, DatasetInvalid))
    with step(f"{field}: read"):
        what = f"{field}.uri {artifact.uri}"
        arrays = read_npz(packed, field=what, folder=folder, missing=wanted.missing_values == "NaN")
        packed.unlink()
    return arrays


def _samples(
    field: str, artifact: Artifact, arrays: Arrays, specs: tuple[TensorSpec, ...], labels: Labels | None
) -> Samples:
    what = f"{field}.uri {artifact.uri}"
    with step(field) as current:
        samples = samples_for(arrays, specs, field=what, labels=labels)
        current.say(f"{len(samples)} samples, checked")
    return samples


def _specs(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name} {spec.datatype}{shape_text(spec.shape)}" for spec in specs)
