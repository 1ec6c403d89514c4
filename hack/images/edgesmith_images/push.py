"""Pushes images from their layouts to a registry, with the builder's own client."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edgesmith_builder.oci import Backoff, Credentials, Descriptor, FileBlob, Registry, RegistryError, Repository

from .console import ImageError, human, say
from .layout import Layout

BACKOFF = Backoff()
"""How patient to be with the registry."""
CREDENTIALS = "EDGESMITH_REGISTRY_CREDENTIALS"
"""As the operator and its command line call it, too."""


def is_local(host: str) -> bool:
    """Says whether a registry is spoken to in plain HTTP, as one on this machine or its private bridge is.

    Args:
        host: A name or an address, without the port.

    Returns:
        True for localhost and for private and loopback IPv4 addresses.
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    numbers = host.split(".")
    if len(numbers) != 4 or not all(number.isdigit() for number in numbers):
        return False
    first, second = int(numbers[0]), int(numbers[1])
    return first in {10, 127} or (first, second) == (192, 168) or (first == 172 and 16 <= second <= 31)


@dataclass(frozen=True)
class Target:
    """A registry to push to.

    Attributes:
        host: ``HOST[:PORT]``.
        plain: Whether to speak HTTP.
        credentials: Who we are there.
    """

    host: str
    plain: bool
    credentials: Credentials

    @classmethod
    def parse(cls, text: str) -> Target:
        """Reads what a person named, with the credentials of the environment.

        Args:
            text: ``HOST[:PORT]``, with ``http://`` or ``https://`` before it where the choice is not plain.

        Returns:
            The registry; the ``.dockerconfigjson`` that ``EDGESMITH_REGISTRY_CREDENTIALS`` names is used when set.

        Raises:
            ImageError: The registry is not a host and a port, or the file is none; without the variable's value.
        """
        scheme, _, rest = text.rpartition("://")
        host = urlsplit(f"//{rest}")
        if scheme not in {"", "http", "https"} or not host.hostname or host.path not in {"", "/"}:
            raise ImageError(f"The registry is {text!r}, expected HOST:PORT such as 10.0.0.1:5000.")
        plain = scheme == "http" if scheme else is_local(host.hostname)
        return cls(host.netloc, plain, _credentials())


def _credentials() -> Credentials:
    """Who we are at registries, by the file that the environment names."""
    path = os.environ.get(CREDENTIALS)
    if not path:
        return Credentials()
    try:
        return Credentials.from_file(Path(path), CREDENTIALS)
    except ValueError as error:
        raise ImageError(f"{error}.") from None


async def _push(client: Registry, repository: Repository, layout: Layout, tag: str) -> int:
    """Sends blobs, then manifests, then the index that makes the image visible; returns the blobs' bytes sent."""
    sent = 0
    for manifest in layout.manifests().values():
        for entry in (*manifest["layers"], manifest["config"]):
            blob = FileBlob(layout.blob(entry["digest"]), Descriptor.from_json(entry))
            if await client.push_blob(repository, blob) == "uploaded":
                sent += blob.descriptor.size
    root = layout.root()
    for entry in layout.read(root["digest"])["manifests"]:
        content = layout.blob(entry["digest"]).read_bytes()
        await client.push_manifest(repository.pinned(entry["digest"]), content, entry["mediaType"])
    index = layout.blob(root["digest"]).read_bytes()
    for reference in (repository.pinned(root["digest"]), repository.tagged(tag)):
        await client.push_manifest(reference, index, root["mediaType"])
    return sent


async def _push_all(target: Target, layouts: Mapping[str, Layout], tag: str) -> dict[str, str]:
    references = {}
    async with Registry(target.plain, target.credentials, backoff=BACKOFF) as client:
        for name, layout in layouts.items():
            start = time.monotonic()
            repository = Repository(target.host, f"edgesmith/{name}")
            sent = await _push(client, repository, layout, tag)
            references[name] = str(repository.pinned(layout.root()["digest"]))
            took = time.monotonic() - start
            say(f"pushed {repository.name}:{tag} to {target.host}: {human(sent)} sent in {took:.1f} s")
    return references


def push_all(registry: str, layouts: Mapping[str, Layout], tag: str) -> dict[str, str]:
    """Pushes several images under a tag.

    Args:
        registry: Such as ``10.0.0.1:5000``.
        layouts: Layout by image name.
        tag: To push them under.

    Returns:
        Reference by digest, such as ``10.0.0.1:5000/edgesmith/operator@sha256:…``, by image name.

    Raises:
        ImageError: The registry refuses something or cannot be reached.
    """
    try:
        return asyncio.run(_push_all(Target.parse(registry), layouts, tag))
    except RegistryError as error:
        raise ImageError(f"The images cannot be pushed: {error}.") from error
