"""An image of a user's: one of ours with a program of theirs on top, or made anew."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgesmith_builder.contract import Platform
from edgesmith_builder.oci import FileBlob, Reference, Registry, RemoteBlob, Repository
from edgesmith_builder.pack.image import assemble, read_base
from edgesmith_builder.pack.layer import FOLDER, Layer, write_layer

PLACE = f"/{FOLDER}"
"""Where the program lies in the image."""


def push_over(base: str, name: str, program: Path, folder: Path) -> str:
    """Push an image of another one and a program, and return it by digest.

    Args:
        base: The image below, by digest, in a registry without TLS.
        name: What to call the new one in that registry.
        program: A file, which lies at `PLACE` then.
        folder: Where to write its layer.
    """
    layer = write_layer(name, [program], folder / f"{name}.tar")
    return asyncio.run(_push(base, name, (layer,), {}))


def push_again(base: str, name: str) -> str:
    """Push an image as somebody would who made it anew, and return it by digest: only a label is another.

    Args:
        base: The image, by digest, in a registry without TLS.
        name: What to call the new one in that registry.
    """
    return asyncio.run(_push(base, name, (), {"org.opencontainers.image.version": name}))


async def _push(base: str, name: str, layers: Sequence[Layer], labels: Mapping[str, str]) -> str:
    below = Reference.parse(base).repository
    async with Registry(plain_http=True) as client:
        found = await read_base(client, base, Platform(os="linux", architecture="amd64"))
        manifest, config = assemble(found, layers, labels, {})
        repository = Repository(below.registry, f"edgesmith/{name}")
        for descriptor in found.manifest.layers:
            await client.push_blob(repository, RemoteBlob(client, below, descriptor), mount_from=below)
        for layer in layers:
            await client.push_blob(repository, FileBlob(layer.file, layer.descriptor))
        await client.push_blob(repository, config)
        return f"{repository}@{await client.push_manifest(repository.tagged('1'), manifest.to_bytes())}"
