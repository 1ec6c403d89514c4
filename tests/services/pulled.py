"""What a node pulls: a built image's bundle, out of the registry and into a folder."""

from __future__ import annotations

import tarfile
from pathlib import Path

from edgesmith_builder.oci import Reference, Registry


async def pulled(image: str, folder: Path) -> Path:
    """Unpack the two layers that a build adds, and return the bundle's folder.

    Args:
        image: `REGISTRY/NAME@sha256:HEX`, in a registry without TLS.
        folder: Where to unpack them; it is made.
    """
    reference = Reference.parse(image)
    async with Registry(plain_http=True) as client:
        manifest = await client.manifest(reference)
        assert manifest is not None, image
        for layer in manifest.layers[-2:]:
            packed = folder.with_suffix(".tar")
            with packed.open("wb") as file:
                async for piece in client.stream_blob(reference.repository, layer):
                    file.write(piece)
            with tarfile.open(packed) as archive:
                archive.extractall(folder, filter="data")
            packed.unlink()
    return folder / "model"
