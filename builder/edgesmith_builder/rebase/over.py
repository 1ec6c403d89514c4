"""The images of a build, made of an earlier build's layers over its own base image."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from edgesmith_builder.contract import Build, BuildReport, Earlier, release_of
from edgesmith_builder.images import Made, images_of
from edgesmith_builder.lastwords import left_out
from edgesmith_builder.maker import Maker
from edgesmith_builder.oci import RegistryError, Repository
from edgesmith_builder.pack import Base
from edgesmith_builder.push import Registries
from edgesmith_builder.rebase.before import Before, NotRebased
from edgesmith_builder.rebase.recorded import Recorded
from edgesmith_builder.rebase.taken import EARLIER, Layers, take
from edgesmith_builder.rebase.trusted import Trust
from edgesmith_builder.toolchain import toolchain_of

log = logging.getLogger(__name__)


async def rebased(
    wanted: Build,
    base: Base,
    registries: Registries,
    repository: Repository,
    *,
    maker: Maker,
    work: Path,
    threads: int,
    earlier: Earlier | None = None,
    engine_version: str | None = None,
) -> Made | None:
    """The images of every finalist over the base; None where they have to be compiled, and the log says why.

    Nothing that is found fails a build: it is compiled instead, also where an engine that replayed it ended an earlier
    process of this build. With a key to sign with, that key's word counts, and without one that of whoever asks. Where
    nobody says anything, nothing is asked.

    Args:
        wanted: The build.
        base: Its base image.
        registries: Where images are.
        repository: Where the build's images go, and where earlier ones are.
        maker: Who builds; its key says whose layers may be taken.
        work: A folder for the layers.
        threads: Cores to compute with.
        earlier: Whose layers may be taken where there is no key.
        engine_version: The ONNX Runtime in the base image, as a report says it.
    """
    trusted: Trust | Recorded
    if maker.key is not None:
        trusted = Trust(wanted, base.server, registries, repository, maker.key.public)
    elif earlier is not None:
        trusted = Recorded(wanted, base.server, registries.target, repository, earlier)
    else:
        return None
    ended = left_out(EARLIER)
    if ended is not None:
        log.warning("it is compiled and not re-based from %s: %s", EARLIER, ended)
        return None
    folder = work / "rebase"
    try:
        before = await trusted.finalists()
        if not before:
            return None
        _check_engine(before[0], engine_version)
        folder.mkdir()
        layers = await take(before, registries.target, toolchain_of(wanted.toolchain.name), folder, threads)
    except (NotRebased, RegistryError) as error:
        log.warning("it is compiled and not re-based: %s", error)
        shutil.rmtree(folder, ignore_errors=True)
        return None
    log.info("re-based from %s, nothing is compiled", before[0].reference)
    return Made(images_of(wanted, report_over(before, layers, base), layers, base), before[0].files)


def _check_engine(before: Before, version: str | None) -> None:
    """Hold the ONNX Runtime that layers are for against that of a base: files for one may be too new for another.

    Raises:
        NotRebased: They are of two releases.
    """
    both = (before.report.engine_version, version)
    was, now = (release_of(one) if one else None for one in both)
    if was != now:
        had, has = (f"ONNX Runtime {one}" if one else "one that is not known to be older than ours" for one in both)
        raise NotRebased(f"{before.reference} is for {had}, and the base has {has}")


def report_over(before: Sequence[Before], layers: Sequence[Layers], base: Base) -> BuildReport:
    """The earlier build's report with the sizes of the images over another base, and with whose layers they have.

    What was measured stays: it is of the layers, and of the engine that the build key names.

    Args:
        before: The finalists.
        layers: Of each, those that were taken.
        base: The base image.
    """
    report = before[0].report
    sizes = {
        one.report.precision: base.manifest.size + sum(layer.descriptor.size for layer in own)
        for one, own in zip(before, layers, strict=True)
    }
    candidates = tuple(
        one.model_copy(update={"image_size": sizes[one.precision]}) if one.precision in sizes else one
        for one in report.candidates
    )
    finalists = tuple(
        finalist.model_copy(update={"digest": None, "rebased_from": one.reference.digest})
        for finalist, one in zip(report.finalists, before, strict=True)
    )
    told = {"candidates": candidates, "finalists": finalists}
    return report.of(finalists[0]).model_copy(update=told)
