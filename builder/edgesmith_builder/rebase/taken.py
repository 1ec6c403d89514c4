"""The layers of an earlier build on this machine, replayed with the engine that serves them."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

from edgesmith_builder.ladder.rung import replayed
from edgesmith_builder.lastwords import REPLAYED, doing, trying
from edgesmith_builder.oci import Descriptor, Registry
from edgesmith_builder.oci.content import LAYER
from edgesmith_builder.pack import Layer
from edgesmith_builder.pack.layer import FOLDER, INPUTS_LAYER, MODEL_LAYER
from edgesmith_builder.progress import size_text, step
from edgesmith_builder.provenance import TOP_LAYERS
from edgesmith_builder.rebase.before import Before, NotRebased
from edgesmith_builder.score import ScoreFailed
from edgesmith_builder.toolchain import Toolchain

Layers = tuple[Layer, ...]

EARLIER = "the earlier image"
"""What is left out where an engine ended the process that replayed it."""


async def take(
    before: Sequence[Before], registry: Registry, toolchain: Toolchain, folder: Path, threads: int
) -> list[Layers]:
    """Fetch the layers of every finalist, each layer once, and replay each finalist's golden samples.

    Args:
        before: The finalists.
        registry: Where they are.
        toolchain: The build's.
        folder: Where to keep the layers; it is there and empty.
        threads: Cores to compute with.

    Raises:
        NotRebased: A layer is not what it should be, or an answer is not the recorded one.
        RegistryError: A layer cannot be had.
    """
    found = []
    for one in before:
        if len(one.manifest.layers) < TOP_LAYERS:
            raise NotRebased(f"{one.reference} has fewer than {TOP_LAYERS} layers")
        pairs = zip((INPUTS_LAYER, MODEL_LAYER), one.manifest.layers[-TOP_LAYERS:], strict=True)
        layers = tuple([await _fetched(registry, one, name, descriptor, folder) for name, descriptor in pairs])
        bundle = folder / "bundle"
        try:
            _unpack(layers, bundle)
            with trying(EARLIER):
                doing(REPLAYED)
                replayed(bundle, threads, toolchain.told_here)
        except (tarfile.TarError, ScoreFailed) as error:
            raise NotRebased(f"{one.reference} does not replay: {error}") from error
        shutil.rmtree(bundle)
        found.append(layers)
    return found


async def _fetched(registry: Registry, one: Before, name: str, descriptor: Descriptor, folder: Path) -> Layer:
    if descriptor.media_type != LAYER:
        raise NotRebased(f"{one.reference} has a layer of type {descriptor.media_type}; {LAYER} was expected")
    file = folder / f"{descriptor.digest.partition(':')[2]}.tar"
    if not file.exists():
        with step(f"took {name} of {one.report.precision}") as current:
            await registry.save_blob(one.reference.repository, descriptor, file)
            current.say(size_text(descriptor.size))
    return Layer(name, file, descriptor)


def _unpack(layers: Layers, folder: Path) -> None:
    """Lay the bundle out as it lies in the image. Its own digests say whether it is whole.

    Raises:
        tarfile.TarError: A layer is no tar.
    """
    folder.mkdir()
    for layer in layers:
        with tarfile.open(layer.file) as packed:
            for member in packed:
                above, _, name = member.name.rpartition("/")
                file = packed.extractfile(member) if member.isreg() and above == FOLDER else None
                if file is not None and name not in ("", ".", ".."):
                    with (folder / name).open("wb") as target:
                        shutil.copyfileobj(file, target)
