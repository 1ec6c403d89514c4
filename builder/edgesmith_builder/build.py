"""The recipe: from a request to an image in the registry, read top to bottom.

1. Ask the registry whether the build was made already: by one HEAD where the request names its image, or else over
   its base image.
2. Look the base image up, and ask the registry whether it takes pushes.
3. Where an image with the same bundle over another base is signed by the same key, or named by the request, take its
   layers: 4 to 6 fall away.
4. Fetch the model and the data sets, and check each before anything is computed. An alternative gets the names of
   spec.source for what it takes and answers. Where the ONNX Runtime of the base image is older than ours, write the
   model as that one reads it.
5. Score the source as it came and ask it some samples: what candidates are held against.
   Where asked for, remove channels of it: candidates are made of both, and held against the whole one.
6. Walk the ladder: compile, score, replay, pack. Every rung that works is a finalist, whatever gates say of it.
7. Of each finalist, assemble the image for its platform, write down what is in it and how it came about, sign it where
   there is a key, and push what the registry does not have.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesmith_builder.contract import TOOLS, Build, BuildReport, BuildRequest, Finalist, Renamed, reads, release_of
from edgesmith_builder.evidence import evidence_for, files_of, materials_of
from edgesmith_builder.format import Reader, Renames
from edgesmith_builder.forms import Forms
from edgesmith_builder.gather import Inputs, gather
from edgesmith_builder.images import Made, images_of
from edgesmith_builder.ladder import Attempt, Outcome, Workshop, Yardstick, walk
from edgesmith_builder.maker import Maker
from edgesmith_builder.oci import Reference, RegistryRefused
from edgesmith_builder.pack import Base, read_base
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.provenance import base_manifest, report_of, why_foreign
from edgesmith_builder.push import Registries, push, push_base, tag_again
from edgesmith_builder.rebase import bundle_tag, rebased
from edgesmith_builder.request import check_request
from edgesmith_builder.source import Sources
from edgesmith_builder.toolchain import Compiler, Material, is_read, toolchain_of

log = logging.getLogger(__name__)

_RENAMED = 16
"""Tensors with another name that a report lists."""


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
    log.info("build %s: %s for %s", wanted.key, wanted.source.shown, wanted.platform.architecture)
    before = await made_before(wanted, target, registries, maker)
    if before is not None:
        log.info("%s is made already: %s", target, before.image)
        return before
    with step(f"found base {wanted.base}") as current:
        base = await read_base(registries.base, wanted.base, wanted.platform)
        current.say(f"{len(base.manifest.layers)} layers, {size_text(base.manifest.size)}")
    with step(f"{target.repository} takes pushes"):
        await registries.target.check_push(target.repository)

    reader = reader_of(wanted, base)
    made = await rebased(
        wanted,
        base,
        registries,
        target.repository,
        maker=maker,
        work=work,
        threads=threads,
        earlier=request.earlier,
        engine_version=reader.version if reader else None,
    )
    if made is None:
        made = compiled(request, sources, base, work, threads=threads, compiler=compiler, reader=reader)
    return await pushed(made, wanted, base, target, registries=registries, maker=maker)


async def still_there(request: BuildRequest, registries: Registries, maker: Maker) -> str | None:
    """The image under the build key, where it is one that the request knows: one HEAD, since a digest is all of it.

    None where there is none or another one, where gates ask for its report, and where a signature must be seen on it.

    Args:
        request: What is asked for.
        registries: Where its image would be.
        maker: Who builds.

    Raises:
        RequestInvalid: The request contradicts itself.
        RegistryError: The registry cannot be asked.
    """
    target = check_request(request)
    if not request.known or request.gates is not None or maker.key is not None:
        return None
    digest = await registries.target.digest_under(target)
    if digest not in request.known:
        return None
    found = str(target.repository.pinned(digest))
    log.info("%s is made already: %s", target, found)
    return found


async def pushed(
    made: Made, wanted: Build, base: Base, target: Reference, *, registries: Registries, maker: Maker
) -> Built:
    """Push every finalist's image with what hangs on it, the first finalist's last.

    Raises:
        RegistryError: of the fitting kind.
    """
    *others, first = made.images
    repository = target.repository
    tags = [repository.tagged(f"{wanted.key}-{image.report.precision}") for image in others]
    if first.report.base is not None:
        await push_base(registries, repository, base, maker.key)
    for image, tag in zip(made.images, (*tags, target), strict=True):
        origin = image.report.rebased_from
        materials = materials_of(
            wanted,
            image.report,
            made.files,
            base=base,
            manifest=image.manifest,
            layer=image.layers[-1],
            builder_image=maker.image,
            rebased=repository.pinned(origin) if origin else None,
        )
        await push(registries, tag, base=base, image=image, evidence=evidence_for(materials, maker.key))
    if maker.key is not None:
        await tag_again(registries.target, repository.tagged(bundle_tag(wanted.bundle_key(base.server))), first)
    return Built(str(repository.pinned(first.descriptor.digest)), cached=False, report=first.report)


async def made_before(wanted: Build, target: Reference, registries: Registries, maker: Maker) -> Built | None:
    """The image under the build key, where it can be the build; None where it is to be made.

    One request where there is none. Where there is one, those that show whose it is as well: with a signing key, those
    for its signature; without, those for the base's manifest, whose layers it must have.

    Raises:
        RegistryError: The registry cannot be asked.
    """
    made = await registries.target.manifest(target)
    if made is None:
        return None
    foreign = why_foreign(made, wanted.key, None)
    if foreign is None and maker.key is not None:
        foreign = await maker.why_not_its_own(registries.target, target, made)
    elif foreign is None:
        try:
            base = await base_manifest(registries.base, wanted.base, wanted.platform)
        except RegistryRefused:
            return None  # said in the request's terms by whoever reads the base to build over it
        foreign = why_foreign(made, wanted.key, base)
    report = report_of(made)
    if foreign is None and report is not None:
        return Built(str(target.repository.pinned(made.digest)), cached=True, report=report)
    log.warning("%s %s; it is replaced", target, foreign)
    return None


def reader_of(wanted: Build, base: Base) -> Reader | None:
    """What reads the model on the device, where it is known to be older than what reads it here."""
    if not is_read(wanted.toolchain.name):
        return None
    version, said = wanted.engine_version, "spec.runtime.engineVersion of its DeviceProfile"
    if version is None:
        version, said = base.engine_version, "as its base image says"
    most = reads(version) if version is not None else None
    if version is None or most is None:
        log.info("which ONNX Runtime serves it is %s: a device finds out what it does not read", version or "not said")
        return None
    if TOOLS.onnxruntime is not None and release_of(version) >= release_of(TOOLS.onnxruntime):
        return None
    return Reader(version, said, most)


def compiled(
    request: BuildRequest,
    sources: Sources,
    base: Base,
    work: Path,
    *,
    threads: int,
    compiler: Compiler | None,
    reader: Reader | None,
) -> Made:
    """Fetch and check what a build is made of, and compile it.

    Raises:
        BuildError: of the fitting kind.
    """
    wanted = request.build
    inputs = gather(wanted, sources, work, threads, request.field, reader=reader)
    triton = base.server == "Triton"
    outcome = climb(wanted, inputs, base.manifest.size, work, threads, compiler=compiler, triton=triton, reader=reader)
    layers = [attempt.layers for attempt in outcome.finalists]
    report = first_report(inputs, outcome).model_copy(update={"engine_version": reader.version if reader else None})
    images = images_of(wanted, report, layers, base)
    return Made(images, files_of(wanted, sources.digests, request.field))


def climb(
    wanted: Build,
    inputs: Inputs,
    base_size: int,
    work: Path,
    threads: int,
    *,
    compiler: Compiler | None = None,
    triton: bool = False,
    reader: Reader | None = None,
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
        reader: What reads the candidates on the device, where it is older than what reads them here.

    Raises:
        NoCandidate: where none works.
    """
    workshop = Workshop(
        build=wanted,
        toolchain=toolchain_of(wanted.toolchain.name),
        material=Material(
            inputs.model, inputs.calibration, wanted.toolchain.settings, threads, inputs.compiled, compiler, reader
        ),
        yardstick=Yardstick(inputs.metric, inputs.evaluation, inputs.scored, inputs.answers, inputs.reference),
        golden=inputs.golden,
        picture=inputs.picture,
        base_size=base_size,
        triton=triton,
        folder=work,
    )
    return walk(wanted.ladder, Forms(workshop, wanted.pruning).attempt, inputs.metric.name)


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
        renamed=_renamed(inputs.renames),
        size=finalists[0].size,
        candidates=outcome.candidates,
    )
    return report.of(finalists[0]).model_copy(update={"finalists": finalists})


def _renamed(renames: Renames) -> tuple[Renamed, ...]:
    """What got another name, as the report lists it."""
    inputs = [Renamed(kind="Input", was=was, now=now) for was, now in renames.inputs.items()]
    outputs = [Renamed(kind="Output", was=was, now=now) for was, now in renames.outputs.items()]
    return (*inputs, *outputs)[:_RENAMED]


def finalist_of(attempt: Attempt, warnings: Sequence[str] = ()) -> Finalist:
    """A candidate that works, as the report names it, with warnings about the source before its own."""
    if not attempt.layers:
        raise ValueError(f"{attempt.candidate.precision} was not packed; layers were expected of a finalist")
    size = attempt.layers[-1].descriptor.size
    return Finalist(precision=attempt.candidate.precision, size=size, warnings=(*warnings, *attempt.warnings))
