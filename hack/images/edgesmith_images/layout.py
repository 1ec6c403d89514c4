"""OCI image layouts on disk (image-spec 1.1, image-layout.md): reading and writing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesmith_builder.oci import Descriptor, Manifest
from edgesmith_builder.oci.content import CONFIG, INDEX, LAYER_GZIP, MANIFEST, canonical, digest_of
from edgesmith_builder.pack.image import EPOCH

from .console import ImageError
from .tars import Layer

__all__ = ["EPOCH", "Layout", "platform_of"]

VARIANTS = {"arm64": "v8"}
"""The CPU variant that goes with an architecture (image-spec, image-index.md)."""


def platform_of(architecture: str) -> dict[str, str]:
    """Describes a Linux platform as an index and a config do.

    Args:
        architecture: ``amd64`` or ``arm64``.

    Returns:
        ``os``, ``architecture`` and, where there is one, ``variant``.
    """
    variant = {"variant": VARIANTS[architecture]} if architecture in VARIANTS else {}
    return {"architecture": architecture, "os": "linux", **variant}


@dataclass(frozen=True)
class Layout:
    """An image layout.

    Attributes:
        folder: Holds ``oci-layout``, ``index.json`` and ``blobs/``.
    """

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Layout:
        """Starts an empty layout.

        Args:
            folder: Created.

        Returns:
            The layout, still without ``index.json``.
        """
        (folder / "blobs" / "sha256").mkdir(parents=True)
        (folder / "oci-layout").write_bytes(canonical({"imageLayoutVersion": "1.0.0"}))
        return cls(folder)

    def blob(self, digest: str) -> Path:
        """Finds a blob.

        Args:
            digest: ``sha256:…``.

        Returns:
            Its file, whether or not it exists.
        """
        algorithm, _, value = digest.partition(":")
        return self.folder / "blobs" / algorithm / value

    def read(self, digest: str) -> dict[str, Any]:
        """Reads a manifest, a config or an index.

        Args:
            digest: ``sha256:…``.

        Returns:
            The document.

        Raises:
            ImageError: The bytes are not what the digest says.
        """
        content = self.blob(digest).read_bytes()
        if digest_of(content) != digest:
            raise ImageError(f"{self.blob(digest)} does not match its name; remove {self.folder} and build again.")
        document: dict[str, Any] = json.loads(content)
        return document

    def root(self) -> dict[str, Any]:
        """Reads the descriptor that ``index.json`` names.

        Returns:
            The descriptor of the one image in this layout.
        """
        descriptor: dict[str, Any] = json.loads((self.folder / "index.json").read_bytes())["manifests"][0]
        return descriptor

    def manifests(self) -> dict[str, dict[str, Any]]:
        """Reads the image's manifests.

        Returns:
            Manifest by platform, ``linux/arm64`` for instance.
        """
        root = self.root()
        if root["mediaType"] == MANIFEST:
            manifest = self.read(root["digest"])
            return {f"linux/{self.read(manifest['config']['digest'])['architecture']}": manifest}
        entries = self.read(root["digest"])["manifests"]
        return {f"linux/{entry['platform']['architecture']}": self.read(entry["digest"]) for entry in entries}

    def _add(self, content: bytes, media_type: str) -> Descriptor:
        """Stores bytes; returns their descriptor."""
        descriptor = Descriptor.of(content, media_type)
        self.blob(descriptor.digest).write_bytes(content)
        return descriptor

    def add_index(self, manifests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Stores an index.

        Args:
            manifests: Descriptors with their platforms, as `add_image` returns them.

        Returns:
            Its descriptor.
        """
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests)}
        return self._add(canonical(document), INDEX).to_json()

    def add_layer(self, layer: Layer) -> Descriptor:
        """Stores a layer, by link where the file system allows.

        Args:
            layer: A compressed layer.

        Returns:
            Its descriptor.
        """
        descriptor = Descriptor(LAYER_GZIP, layer.digest, layer.size)
        target = self.blob(layer.digest)
        if not target.exists():
            try:
                os.link(layer.path, target)
            except OSError:
                shutil.copyfile(layer.path, target)
        return descriptor

    def add_image(self, config: dict[str, Any], layers: Sequence[Layer]) -> dict[str, Any]:
        """Stores an image of one platform.

        Args:
            config: Its ``config`` and ``history``, ``architecture`` among them; the rest is added.
            layers: From the bottom up.

        Returns:
            The manifest's descriptor, with its platform.
        """
        platform = platform_of(config["architecture"])
        complete = {
            **config,
            **platform,
            "created": EPOCH,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        }
        manifest = Manifest(
            config=self._add(canonical(complete), CONFIG), layers=tuple(self.add_layer(layer) for layer in layers)
        )
        return {**self._add(manifest.to_bytes(), MANIFEST).to_json(), "platform": platform}

    def finish(self, descriptor: Mapping[str, Any], name: str) -> None:
        """Writes ``index.json``, which makes the layout complete.

        Args:
            descriptor: Of the image or of its index.
            name: The reference other tools know it by.
        """
        named = {**descriptor, "annotations": {"org.opencontainers.image.ref.name": name}}
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}
        (self.folder / "index.json").write_bytes(canonical(document))
