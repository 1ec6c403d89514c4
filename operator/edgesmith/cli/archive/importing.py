"""`edgesmith archive import`."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from edgesmith.archive.artifacts import MANIFESTS_PATH, manifests_in
from edgesmith.archive.images_folder import write_images
from edgesmith.archive.opened import Archive
from edgesmith.archive.push import Push, Sent
from edgesmith.archive.roots import ArchiveError, placed
from edgesmith.archive.whole import whole
from edgesmith.cli.answer import Answer
from edgesmith.cli.archive.progress import Progress
from edgesmith.cli.login import login_of
from edgesmith.cli.table import size
from edgesmith_builder.oci import Backoff, Registry


def run(found: argparse.Namespace) -> Answer:
    """Import an archive and say what came of it.

    Raises:
        ArchiveError: The archive is not to be trusted; nothing of it was used.
        RegistryError: The registry refused something, or went away.
        OSError: A file cannot be read or written.
    """
    return Answer(asyncio.run(_import(found, Progress())))


async def _import(found: argparse.Namespace, progress: Progress) -> str:
    # Before gigabytes are read: what is wrong with the command line needs none of them to be said.
    placed(found.registry, MANIFESTS_PATH)
    if found.images_folder and not found.images_folder.is_dir():
        raise ValueError(f"--images-folder is {str(found.images_folder)!r}; a folder that is there was expected")
    registry = _registry(found)
    archive = _opened(found.file, progress)
    if found.manifests:
        text = manifests_in(archive)
        if text is None:
            raise ValueError(f"{found.file} has no EdgeModels; one that `edgesmith archive export` wrote was expected")
        with whole(found.manifests) as file:
            file.write(text.encode())
    if found.images_folder:
        progress.begin("writing", archive.size)
        path = write_images(archive, found.registry, found.images_folder, progress.blob)
        written = path.stat().st_size
        if found.output == "json":
            return json.dumps({"file": str(path), "bytes": written}, indent=2)
        return f"{path}: {size(written)}. K3s takes it at once or, before 1.30.9, at its next start."
    sent = await _push(archive, registry, found.registry, progress)
    return _as_json(sent) if found.output == "json" else _as_text(sent)


def _opened(file: Path, progress: Progress) -> Archive:
    """An archive of which every digest was checked."""
    try:
        archive = Archive.open(file)
        progress.begin("checking", archive.size)
        archive.check(progress.blob)
    except ArchiveError as error:
        raise ArchiveError(f"{file} cannot be used: {error}") from error
    return archive


def _registry(found: argparse.Namespace) -> Registry:
    """The registry that is asked; nothing is sent yet."""
    authorities = found.registry_ca.read_text(encoding="utf-8", errors="replace") if found.registry_ca else None
    return Registry(found.plain_http, login_of(found), backoff=Backoff(), authorities=authorities)


async def _push(archive: Archive, registry: Registry, target: str, progress: Progress) -> Sent:
    async with registry:
        push = Push(archive, registry, target, progress.blob)
        progress.begin("pushing", push.size)
        return await push.run()


def _as_json(sent: Sent) -> str:
    return json.dumps({"uploaded": sent.uploaded, "there": sent.there, "images": sent.images}, indent=2)


def _as_text(sent: Sent) -> str:
    lines = [f"{role:<10}{image}" for image, role in sent.images.items()]
    return "\n".join([*lines, f"{size(sent.uploaded)} sent; {size(sent.there)} were there already."])
