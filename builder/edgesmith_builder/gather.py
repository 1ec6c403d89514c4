"""Fetches the model and the sets, checks each, and asks the source what candidates are held against."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgesmith_builder.contract import Artifact, Build, most_bytes
from edgesmith_builder.dataset import CLASSES, Samples
from edgesmith_builder.errors import ModelInvalid, ModelTooLarge, RequestInvalid
from edgesmith_builder.format import (
    ModelFacts,
    Reader,
    Renames,
    read_source,
    read_there,
    renamed_source,
    shaped_source,
)
from edgesmith_builder.interface import check_servable
from edgesmith_builder.lastwords import in_hand
from edgesmith_builder.limits import MODEL, memory_limit, model_limit
from edgesmith_builder.metric import Evaluation, Metric, Score, check_classes, metric_of
from edgesmith_builder.pairing import paired, shown
from edgesmith_builder.picture import GoldenPicture, declared_picture, golden_picture
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.reference import named_alike, score_reference
from edgesmith_builder.score import ScoreFailed, SourceAnswers, ask_source, check_conversion, golden_inputs
from edgesmith_builder.sets import DataSet, sets_of
from edgesmith_builder.source import Limit, Source
from edgesmith_runtime.engine import Engine, EngineError, load_engine
from edgesmith_runtime.picture import Picture
from edgesmith_runtime.tensors import TensorSpec, shape_text

log = logging.getLogger(__name__)

_HELD_BACK = 5
"""Of so many calibration samples one is held back."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was fetched, checked."""

    model: ModelFacts
    """What candidates are made of: the source as what serves it reads it."""
    calibration: Samples | None
    metric: Metric[Any]
    evaluation: Evaluation | None
    golden: Samples
    scored: Score | None
    """The source's, on the evaluation set."""
    answers: SourceAnswers
    """The source's answers that candidates are held against."""
    compiled: ModelFacts | None = None
    """The source compiled already, as somebody published it beside the source."""
    reference: Score | None = None
    """The score of what an alternative is held against, on the evaluation set."""
    picture: GoldenPicture | None = None
    """How pictures are taken and answered, where that is declared."""
    renames: Renames = field(default_factory=Renames)
    """What of an alternative is called as the model of spec.source calls it, and not as it came."""


Places = Callable[[str], str]
"""Where the EdgeModel names a file, by the field of the build that holds it; see `BuildRequest.field`."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A model that was fetched and read."""

    facts: ModelFacts
    what: str
    """What messages call it: `spec.source.uri s3://…`."""


def gather(
    wanted: Build,
    sources: Source,
    work: Path,
    threads: int,
    places: Places = "spec.{}".format,
    *,
    reader: Reader | None = None,
) -> Inputs:
    """Fetch everything, check it, and score the source.

    Args:
        wanted: The build.
        sources: Where files come from.
        work: A folder for them.
        threads: Cores to score with.
        places: Where the EdgeModel names each file, for messages.
        reader: What reads the model on the device, where it is older than what reads it here.

    Raises:
        BuildError: of the fitting kind.
    """
    own = largest_model(memory_limit(), wanted.device_memory)
    model = functools.partial(_model, sources=sources, work=work, places=places)
    source = model("source", wanted.source, limit=own, trust_pickle=wanted.trust_pickle)
    compiled = _compiled(wanted, wanted.compiled, sources, work, places) if wanted.compiled else None
    other = wanted.reference
    # It runs here and never on the device: an alternative may be what fits where spec.source does not.
    here = largest_model(memory_limit())
    reference = model("reference", other.source, limit=here, trust_pickle=other.trust_pickle) if other else None
    sets = sets_of(wanted, sources, work)
    with ExitStack() as stack:
        source = _shaped(source, sets.values())
        yardstick = None
        if reference is not None:
            reference = _shaped(reference, sets.values())
            yardstick = stack.enter_context(_loaded(reference, threads))
        source, engine, renames = stack.enter_context(_standing_in(source, yardstick, threads))
        log.info("inputs %s, outputs %s", _specs(engine.inputs), _specs(engine.outputs))
        facts = source.facts if reference is None else named_alike(source.what, source.facts, reference.facts)
        if compiled is not None:
            compiled = renamed_source(compiled, renames, places("compiled"))
        there = read_there(facts, reader, source.what)
        declared = _declared(wanted, engine, facts)
        labels = {"spec.evaluation": metric_of(wanted.metric, wanted.metric_options).labels}
        classes = tuple(facts.labels or ()) or (declared.labels if declared is not None else ())
        found = {field: one.samples(engine.inputs, labels.get(field), declared, classes) for field, one in sets.items()}
        calibration, evaluation = found.get("spec.calibration"), found.get("spec.evaluation")
        picture = None
        if declared is not None:
            field = "spec.evaluation" if evaluation is not None else "spec.calibration"
            picture = golden_picture(declared, evaluation if evaluation is not None else calibration, field)
        if reference is not None:
            stack.enter_context(_running(reference))
        stack.enter_context(_running(source))
        stack.enter_context(_answering(source.what))
        asked = ask(
            wanted, facts, engine, calibration, evaluation, what=source.what, reference=yardstick, declared=declared
        )
    return replace(asked, model=there, compiled=compiled, picture=picture, renames=renames)


@contextmanager
def _answering(what: str) -> Iterator[None]:
    """Whoever asks a model inside gets a sentence where its answers are none.

    Raises:
        ModelInvalid: where it does not answer with numbers.
    """
    try:
        yield
    except ScoreFailed as error:
        raise ModelInvalid(f"{what} does not answer its samples: {error}; finite numbers were expected") from error


def _declared(wanted: Build, engine: Engine, facts: ModelFacts) -> Picture | None:
    """What is declared of pictures, held against the model.

    Raises:
        RequestInvalid: where it does not fit.
    """
    if wanted.picture is None:
        return None
    return declared_picture(wanted.picture, engine.inputs, engine.outputs, facts.labels)


def _model(
    role: str, artifact: Artifact, *, sources: Source, work: Path, places: Places, limit: Limit, trust_pickle: bool
) -> _Found:
    """A model, fetched and read.

    Raises:
        BuildError: of the fitting kind.
    """
    fetched, field = work / role, places(role)
    what = f"{field}.uri {artifact.shown}"
    sources.fetch(field, artifact, fetched, limit)
    with step("model" if role == "source" else field) as current:
        facts = read_source(fetched, what, trust_pickle=trust_pickle)
        current.say(
            f"{facts.format}, {facts.precision}, {facts.parameters} parameters, {size_text(facts.size)}, checked"
        )
    if facts.compiled_for is not None:
        raise ModelInvalid(
            f"{what} is compiled for {facts.compiled_for}, and nothing else runs it; the file from before it was "
            f"compiled was expected, and this one under {places('compiled')}"
        )
    return _Found(facts, what)


def _shaped(found: _Found, sets: Iterable[DataSet]) -> _Found:
    """A model whose inputs have a shape and a name, where need be those of the sets' arrays."""
    if not (found.facts.shapeless or found.facts.unnamed):
        return found
    ranks = {name: rank for one in sets for name, rank in one.ranks.items()}
    return replace(found, facts=shaped_source(found.facts, ranks, found.what))


@contextmanager
def _loaded(found: _Found, threads: int) -> Iterator[Engine]:
    """A model as its engine runs it; who has it compute anything has it in hand by `_running`.

    Raises:
        ModelInvalid: where it does not, or no server can serve it.
    """
    with _running(found):
        try:
            engine = load_engine(found.facts.engine, found.facts.path, threads=threads)
        except EngineError as error:
            words, _, expected = str(error).partition("; expected ")
            expected = expected or f"a model that {found.facts.engine} runs"
            raise ModelInvalid(f"{found.what} does not run: {words}; {expected} was expected") from error
    try:
        with _running(found):
            check_servable(found.what, engine)
        yield engine
    finally:
        with _running(found):
            engine.close()


def _running(found: _Found) -> AbstractContextManager[None]:
    """A model in hand while its engine has it, and no longer: what crashes between is not its doing."""
    name = found.facts.engine
    return in_hand(found.what, f"{name} ran it", f"a model that {name} runs")


@contextmanager
def _standing_in(found: _Found, reference: Engine | None, threads: int) -> Iterator[tuple[_Found, Engine, Renames]]:
    """A model as its engine runs it, with the names of what it may stand in for.

    Raises:
        InterfaceMismatch: where it takes or answers otherwise.
        ModelInvalid: as `_loaded`.
    """
    with _loaded(found, threads) as engine:
        renames = paired(found.what, engine, reference) if reference is not None else Renames()
        if not renames:
            yield found, engine, renames
            return
    with step("tensors renamed") as current:
        found = replace(found, facts=renamed_source(found.facts, renames, found.what))
        current.say(f"{shown(str(renames))},")
    with _loaded(found, threads) as engine:
        yield found, engine, renames


def _compiled(wanted: Build, artifact: Artifact, sources: Source, work: Path, places: Places) -> ModelFacts:
    """The file that somebody compiled of the source already.

    Raises:
        BuildError: of the fitting kind.
    """
    target, field = work / "compiled", places("compiled")
    sources.fetch(field, artifact, target, largest_model(memory_limit(), wanted.device_memory))
    what = f"{field}.uri {artifact.shown}"
    found = read_source(target, what)
    if found.compiled_for is None:
        raise ModelInvalid(f"{what} is a plain {found.format} file; one that is compiled for a device was expected")
    return found


def largest_model(memory: int | None, device: int | None = None) -> Limit:
    """How large the model may be, and what to change where it is larger.

    Args:
        memory: Bytes of memory that the builder may take; None: nothing bounds it.
        device: Bytes of memory that the device has; None: it is not known.
    """
    size, hint = model_limit(memory), ""
    if device is not None and most_bytes(device) <= size:
        return Limit(
            most_bytes(device), ModelTooLarge, ", the memory of the device (spec.hardware.memory of its DeviceProfile)"
        )
    if memory is not None and size < MODEL:
        hint = f" of a builder with {size_text(memory)} of memory (builder.resources of the chart)"
    return Limit(size, ModelInvalid, hint)


def ask(
    wanted: Build,
    facts: ModelFacts,
    source: Engine,
    calibration: Samples | None,
    labelled: Samples | None,
    *,
    what: str = "spec.source",
    reference: Engine | None = None,
    declared: Picture | None = None,
) -> Inputs:
    """Score the source, and ask it what candidates are held against.

    Args:
        wanted: The build.
        facts: What is known of the source.
        source: The source, loaded.
        calibration: The calibration set.
        labelled: The evaluation set.
        what: What messages call the source.
        reference: What an alternative's accuracy is held against; None: the source itself.
        declared: How answers become labels or boxes of a picture, where that is declared.

    Raises:
        ScoreFailed: where the source does not answer with numbers.
        DatasetMismatch: where it is no better than guessing, labels do not fit it, or it is calibrated with one class.
        RequestInvalid: where an output is named that it does not have, or golden samples cannot be made up.
        ModelInvalid: where it was converted and answers otherwise than the original.
    """
    metric = metric_of(wanted.metric, wanted.metric_options)
    evaluation, scored, yardstick = None, None, None
    if labelled is not None:
        evaluation = Evaluation(labelled, _output(wanted, source, declared), names=facts.labels, picture=declared)
        yardstick = score_reference(metric, reference, evaluation) if reference is not None else None
        with step("source: scored") as current:
            scored = metric.score(source, evaluation, yardstick)
            current.say(f"{scored.samples} samples, {metric.name} {scored.value:.4f} ± {scored.error:.4f},")
        metric.check_source(scored, evaluation)
        if calibration is not None and wanted.calibration is not None and metric.labels is CLASSES:
            check_classes(source, calibration, f"spec.calibration.uri {wanted.calibration.shown}", evaluation)
    golden = golden_inputs(labelled if labelled is not None else calibration, source.inputs, facts.size)
    if facts.original is not None:
        check_conversion(source, facts.original, *_first(labelled, calibration, golden), what)
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
    return Inputs(facts, calibration, metric, evaluation, golden, scored, asked, reference=yardstick)


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


def _first(evaluation: Samples | None, calibration: Samples | None, golden: Samples) -> tuple[Samples, str]:
    """The first set that there is, and where the request names it."""
    if evaluation is not None:
        return evaluation, "spec.evaluation"
    return (calibration, "spec.calibration") if calibration is not None else (golden, "the golden samples")


def _output(wanted: Build, engine: Engine, declared: Picture | None) -> str:
    """The output that is scored: the one that is named, else what clients are answered from, else the first.

    Raises:
        RequestInvalid: where the model has none of that name.
    """
    names = [spec.name for spec in engine.outputs]
    if wanted.output is not None and wanted.output not in names:
        raise RequestInvalid(
            f"spec.evaluation.output is {wanted.output!r}; one of the model's outputs was expected: {', '.join(names)}"
        )
    return wanted.output or (declared.outputs if declared is not None else names)[0]


def _specs(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name} {spec.datatype}{shape_text(spec.shape)}" for spec in specs)
