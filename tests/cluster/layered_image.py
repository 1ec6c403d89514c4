"""An image of a user's: one of ours with a program of theirs on top."""

from __future__ import annotations

import asyncio
from pathlib import Path

from edgesmith_builder.contract import Platform
from edgesmith_builder.oci import FileBlob, Reference, Registry, RemoteBlob, Repository
from edgesmith_builder.pack.image import assemble, read_base
from edgesmith_builder.pack.layer import FOLDER, write_layer

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
    return asyncio.run(_push_over(base, name, program, folder))


async def _push_over(base: str, name: str, program: Path, folder: Path) -> str:
    below = Reference.parse(base).repository
    layer = write_layer(name, [program], folder / f"{name}.tar")
    async with Registry(plain_http=True) as client:
        found = await read_base(client, base, Platform(os="linux", architecture="amd64"))
        manifest, config = assemble(found, [layer], {}, {})
        repository = Repository(below.registry, f"edgesmith/{name}")
        for descriptor in found.manifest.layers:
            await client.push_blob(repository, RemoteBlob(client, below, descriptor), mount_from=below)
        for blob in (FileBlob(layer.file, layer.descriptor), config):
            await client.push_blob(repository, blob)
        return f"{repository}@{await client.push_manifest(repository.tagged('1'), manifest.to_bytes())}"
