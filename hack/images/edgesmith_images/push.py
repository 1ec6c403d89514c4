"""Pushes images from their layouts to a registry."""

from __future__ import annotations

import time
from collections.abc import Mapping

from .console import human, say
from .layout import Layout
from .registry import Repository, repository


def _blobs(target: Repository, layout: Layout) -> int:
    """Sends what the repository lacks; returns the bytes sent."""
    sent = 0
    for manifest in layout.manifests().values():
        for entry in (*manifest["layers"], manifest["config"]):
            if target.put_blob(layout.blob(entry["digest"]), entry["digest"], entry["size"]):
                sent += entry["size"]
    return sent


def push(registry: str, name: str, layout: Layout, tag: str) -> str:
    """Pushes one image under a tag: blobs, then manifests, then the index that makes it visible.

    Args:
        registry: Such as ``10.0.0.1:5000``.
        name: The image's.
        layout: Where it is.
        tag: To push it under.

    Returns:
        The reference by digest, such as ``10.0.0.1:5000/edgesmith/runtime@sha256:…``.

    Raises:
        ImageError: The registry refuses something or cannot be reached.
    """
    target = repository(registry, f"edgesmith/{name}")
    start = time.monotonic()
    sent = _blobs(target, layout)
    root = layout.root()
    for entry in layout.read(root["digest"])["manifests"]:
        target.put_manifest(layout.blob(entry["digest"]).read_bytes(), entry["mediaType"], entry["digest"])
    for reference in (root["digest"], tag):
        target.put_manifest(layout.blob(root["digest"]).read_bytes(), root["mediaType"], reference)
    reference = f"{target.registry}/{target.name}@{root['digest']}"
    say(f"pushed {target.name}:{tag} to {target.registry}: {human(sent)} sent in {time.monotonic() - start:.1f} s")
    return reference


def push_all(registry: str, layouts: Mapping[str, Layout], tag: str) -> dict[str, str]:
    """Pushes several images.

    Args:
        registry: Such as ``10.0.0.1:5000``.
        layouts: Layout by image name.
        tag: To push them under.

    Returns:
        Reference by digest, by image name.

    Raises:
        ImageError: The registry refuses something or cannot be reached.
    """
    return {name: push(registry, name, layout, tag) for name, layout in layouts.items()}
