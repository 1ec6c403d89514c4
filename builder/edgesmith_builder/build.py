"""The recipe: from a request to an image in the registry, read top to bottom.

1. Look the base image up.
2. Ask the registry whether the build was made already, over that base, and whether it takes pushes.
3. Fetch the model and the data sets, and check each before anything is computed.
4. Score the source as it came and ask it some samples: what candidates are held against.
5. Walk the ladder: compile, score, gate, pack, replay.
6. Assemble the image for its platform, write down what is in it and how it came about, sign it where there is a key,
   and push what the registry does not have.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from edgesmith_builder.contract import KEY_ANNOTATION, REPORT_ANNOTATION, Build, BuildReport, BuildRequest
from edgesmith_builder.evidence import evidence_for
from edgesmith_builder.evidence.materials import materials_of
from edgesmith_builder.gather import Inputs, gather
from edgesmith_builder.ladder import Outcome, Workshop, Yardstick, walk
from edgesmith_builder.maker import Maker
from edgesmith_builder.oci import BytesBlob, Manifest
from edgesmith_builder.pack import Base, assemble, read_base
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.provenance import why_foreign
from edgesmith_builder.push import Registries, push
from edgesmith_builder.request import check_request
from edgesmith_builder.source import Sources
from edgesmith_builder.toolchain import Material, toolchain_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Built:
    """What a build ends with."""

    image: str
    """`REGISTRY/NAME@sha256:HEX`."""
    cached: bool
    """Whether it was there before."""


async def build(
    request: BuildRequest,
    sources: Sources,
    registries: Registries,
    work: Path,
    *,
    threads: int = 1,
    maker: Maker | None = None,
) -> Built:
    """Carry out a request.

    Args:
        request: What to build and where to push it.
        sources: Where the model and the sets come from.
        registries: Where the base image and the result are.
        work: An empty folder with room for a few copies of the model and the data sets unpacked.
        threads: Cores to score with; it does not change what comes out.
        maker: Who builds; nobody in particular by default.

    Raises:
        BuildError, RegistryError: as `edgesmith_builder.errors` says.
    """
    wanted, maker = request.build, maker or Maker()
    target = check_request(request)
    log.info("build %s: %s for %s", wanted.key, wanted.model, wanted.platform.architecture)
    with step(f"found base {wanted.base}") as current:
        base = await read_base(registries.base, wanted.base, wanted.platform)
        current.say(f"{len(base.manifest.layers)} layers, {size_text(base.manifest.size)}")
    made = await registries.target.manifest(target)
    if made is not None:
        foreign = why_foreign(made, wanted.key, [layer.digest for layer in base.manifest.layers])
        foreign = foreign or await maker.why_not_its_own(registries.target, target, made)
        if foreign is None:
            log.info("%s is made already: %s", target, made.digest)
            return Built(str(target.repository.pinned(made.digest)), cached=True)
        log.warning("%s %s; it is replaced", target, foreign)
    with step(f"{target.repository} takes pushes"):
        await registries.target.check_push(target.repository)

    inputs = gather(wanted, sources, work, threads)
    outcome = climb(wanted, inputs, base.manifest.size, work, threads)
    report = report_of(inputs, outcome)
    manifest, config = image_of(wanted, report, outcome, base)
    layer = outcome.winner.layers[-1]
    materials = materials_of(
        wanted, report, sources.digests, base=base, manifest=manifest, layer=layer, builder_image=maker.image
    )
    digest = await push(
        registries,
        target,
        base=base,
        winner=outcome.winner,
        manifest=manifest,
        config=config,
        evidence=evidence_for(materials, maker.key),
    )
    return Built(str(target.repository.pinned(digest)), cached=False)


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
        toolchain=toolchain_of(wanted.toolchain.name),
        material=Material(inputs.model, inputs.calibration, wanted.toolchain.settings, threads),
        yardstick=Yardstick(inputs.metric, inputs.evaluation, inputs.scored, inputs.answers),
        golden=inputs.golden,
        base_size=base_size,
        folder=work,
    )
    return walk(wanted.toolchain.precisions, workshop.attempt, inputs.metric.name)


def report_of(inputs: Inputs, outcome: Outcome) -> BuildReport:
    """What was found out."""
    winner, layers = outcome.winner.candidate, outcome.winner.layers
    if not layers:
        raise ValueError("the winner was not packed; layers were expected")
    return BuildReport(
        precision=winner.precision,
        accuracy=winner.accuracy,
        accuracy_drop=winner.accuracy_drop,
        accuracy_drop_error=winner.accuracy_drop_error,
        agreement=winner.agreement,
        reference_accuracy=inputs.scored.value if inputs.scored else None,
        samples=inputs.scored.samples if inputs.scored else None,
        size=layers[-1].descriptor.size,
        warnings=(*inputs.model.warnings, *((outcome.winner.warning,) if outcome.winner.warning else ())),
        candidates=outcome.candidates,
    )


def image_of(wanted: Build, report: BuildReport, outcome: Outcome, base: Base) -> tuple[Manifest, BytesBlob]:
    """The winner's image, with the report in its manifest."""
    labels = {"dev.edgesmith.model": wanted.model, KEY_ANNOTATION: wanted.key}
    return assemble(
        base, outcome.winner.layers, labels, {KEY_ANNOTATION: wanted.key, REPORT_ANNOTATION: report.to_json()}
    )
