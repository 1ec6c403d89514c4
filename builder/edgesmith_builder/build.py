"""The recipe: from a request to an image in the registry, read top to bottom.

1. Ask the registry whether the build was made already, over its base image.
2. Look the base image up, and ask the registry whether it takes pushes.
3. Fetch the model and the data sets, and check each before anything is computed.
4. Score the source as it came and ask it some samples: what candidates are held against.
   Where asked for, remove channels of it: candidates are made of both, and held against the whole one.
5. Walk the ladder: compile, score, replay, pack. Every rung that works is a finalist, whatever gates say of it.
6. Of each finalist, assemble the image for its platform, write down what is in it and how it came about, sign it where
   there is a key, and push what the registry does not have.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesmith_builder.contract import KEY_ANNOTATION, REPORT_ANNOTATION, Build, BuildReport, BuildRequest, Finalist
from edgesmith_builder.evidence import evidence_for
from edgesmith_builder.evidence.materials import materials_of
from edgesmith_builder.forms import Forms
from edgesmith_builder.gather import Inputs, gather
from edgesmith_builder.ladder import Attempt, Outcome, Workshop, Yardstick, walk
from edgesmith_builder.maker import Maker
from edgesmith_builder.oci import Reference, RegistryRefused
from edgesmith_builder.pack import Base, Layer, assemble, read_base
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.provenance import base_layers, report_of, why_foreign
from edgesmith_builder.push import Packed, Registries, push
from edgesmith_builder.request import check_request
from edgesmith_builder.source import Sources
from edgesmith_builder.toolchain import Compiler, Material, toolchain_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Built:
    """What a build ends with."""

    image: str
    """`REGISTRY/NAME@sha256:HEX` of the first finalist."""
    cached: bool
    """Whether it was there before."""
    report: BuildReport
    """The first finalist's, which names the others."""


async def build(
    request: BuildRequest,
    sources: Sources,
    registries: Registries,
    work: Path,
    *,
    threads: int = 1,
    maker: Maker | None = None,
    compiler: Compiler | None = None,
) -> Built:
    """Carry out a request.

    Args:
        request: What to build and where to push it.
        sources: Where the model and the sets come from.
        registries: Where the base image and the result are.
        work: An empty folder with room for a few copies of the model and the data sets unpacked.
        threads: Cores to score with; it does not change what comes out.
        maker: Who builds; nobody in particular by default.
        compiler: What compiles beside the builder, for toolchains that need it.

    Raises:
        BuildError, RegistryError: as `edgesmith_builder.errors` says.
    """
    wanted, maker = request.build, maker or Maker()
    target = check_request(request)
    log.info("build %s: %s for %s", wanted.key, wanted.source.uri, wanted.platform.architecture)
    made = await made_before(wanted, target, registries, maker)
    if made is not None:
        log.info("%s is made already: %s", target, made.image)
        return made
    with step(f"found base {wanted.base}") as current:
        base = await read_base(registries.base, wanted.base, wanted.platform)
        current.say(f"{len(base.manifest.layers)} layers, {size_text(base.manifest.size)}")
    with step(f"{target.repository} takes pushes"):
        await registries.target.check_push(target.repository)

    inputs = gather(wanted, sources, work, threads, request.field)
    outcome = climb(wanted, inputs, base.manifest.size, work, threads, compiler=compiler, triton=base.triton)
    images = images_of(wanted, inputs, outcome, base)
    for image in images:
        materials = materials_of(
            wanted,
            image.report,
            sources.digests,
            request.field,
            base=base,
            manifest=image.manifest,
            layer=image.layers[-1],
            builder_image=maker.image,
        )
        tag = target if image is images[-1] else target.repository.tagged(f"{wanted.key}-{image.report.precision}")
        digest = await push(registries, tag, base=base, image=image, evidence=evidence_for(materials, maker.key))
    return Built(str(target.repository.pinned(digest)), cached=False, report=images[-1].report)


async def made_before(wanted: Build, target: Reference, registries: Registries, maker: Maker) -> Built | None:
    """The image under the build key, where it can be the build; None where it is to be made.

    One request where there is none. Where there is one, those for the base's manifest as well, and nothing else without
    a signing key: manifests say all that is checked.

    Raises:
        RegistryError: The registry cannot be asked.
    """
    made = await registries.target.manifest(target)
    if made is None:
        return None
    foreign = why_foreign(made, wanted.key, None)
    if foreign is None:
        try:
            layers = await base_layers(registries.base, wanted.base, wanted.platform)
        except RegistryRefused:
            return None  # said in the request's terms by whoever reads the base to build over it
        foreign = why_foreign(made, wanted.key, layers) or await maker.why_not_its_own(registries.target, target, made)
    report = report_of(made)
    if foreign is None and report is not None:
        return Built(str(target.repository.pinned(made.digest)), cached=True, report=report)
    log.warning("%s %s; it is replaced", target, foreign)
    return None


def climb(
    wanted: Build,
    inputs: Inputs,
    base_size: int,
    work: Path,
    threads: int,
    *,
    compiler: Compiler | None = None,
    triton: bool = False,
) -> Outcome:
    """Walk the ladder.

    Args:
        wanted: The build.
        inputs: What was gathered.
        base_size: Compressed bytes of the base image.
        work: A folder for candidates.
        threads: Cores to score with.
        compiler: What compiles beside the builder.
        triton: Whether Triton is to serve the model.

    Raises:
        NoCandidate: where none works.
    """
    workshop = Workshop(
        build=wanted,
        toolchain=toolchain_of(wanted.toolchain.name),
        material=Material(
            inputs.model, inputs.calibration, wanted.toolchain.settings, threads, inputs.compiled, compiler
        ),
        yardstick=Yardstick(inputs.metric, inputs.evaluation, inputs.scored, inputs.answers, inputs.reference),
        golden=inputs.golden,
        base_size=base_size,
        triton=triton,
        folder=work,
    )
    return walk(wanted.ladder, Forms(workshop, wanted.pruning).attempt, inputs.metric.name)


def images_of(wanted: Build, inputs: Inputs, outcome: Outcome, base: Base) -> tuple[Packed, ...]:
    """The image of every finalist with its report in its manifest, the first finalist's last: its own names the others.

    So a tag of the build key never names an image whose other finalists are not there.
    """
    report = first_report(inputs, outcome)
    finalists = report.finalists
    others = [
        packed(wanted, report.of(finalist), attempt.layers, base)
        for attempt, finalist in zip(outcome.finalists[1:], finalists[1:], strict=True)
    ]
    listed = (
        finalist.model_copy(update={"digest": image.descriptor.digest})
        for finalist, image in zip(finalists[1:], others, strict=True)
    )
    first = report.model_copy(update={"finalists": (finalists[0], *listed)})
    return (*others, packed(wanted, first, outcome.winner.layers, base))


def first_report(inputs: Inputs, outcome: Outcome) -> BuildReport:
    """The report of the first finalist; the digests of the others are not known yet."""
    finalists = tuple(finalist_of(attempt, inputs.model.warnings) for attempt in outcome.finalists)
    own, reference = inputs.scored, inputs.reference or inputs.scored
    report = BuildReport(
        precision=finalists[0].precision,
        reference_accuracy=reference.value if reference else None,
        source_accuracy=own.value if own and inputs.reference else None,
        samples=own.samples if own else None,
        metric=inputs.metric.name,
        higher=inputs.metric.higher,
        size=finalists[0].size,
        candidates=outcome.candidates,
    )
    return report.of(finalists[0]).model_copy(update={"finalists": finalists})


def finalist_of(attempt: Attempt, warnings: Sequence[str] = ()) -> Finalist:
    """A candidate that works, as the report names it, with warnings about the source before its own."""
    if not attempt.layers:
        raise ValueError(f"{attempt.candidate.precision} was not packed; layers were expected of a finalist")
    size = attempt.layers[-1].descriptor.size
    return Finalist(precision=attempt.candidate.precision, size=size, warnings=(*warnings, *attempt.warnings))


def packed(wanted: Build, report: BuildReport, layers: Sequence[Layer], base: Base) -> Packed:
    """One finalist's image."""
    labels = {KEY_ANNOTATION: wanted.key}
    annotations = {KEY_ANNOTATION: wanted.key, REPORT_ANNOTATION: report.to_json()}
    manifest, config = assemble(base, layers, labels, annotations)
    return Packed(report, tuple(layers), manifest, config)
