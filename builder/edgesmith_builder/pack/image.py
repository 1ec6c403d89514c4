"""An image made of another one and more layers: a matter of two JSON files, so it needs no emulation of anything.

Format: the OCI image specification 1.1, `config.md` and `manifest.md`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgesmith_builder.contract import BASE_DIGEST_ANNOTATION, BASE_NAME_ANNOTATION, Platform, ServerName
from edgesmith_builder.errors import RequestInvalid
from edgesmith_builder.oci import BytesBlob, Index, Manifest, Reference, Registry, RegistryRefused
from edgesmith_builder.oci.content import CONFIG, canonical, parsed
from edgesmith_builder.pack.engine import onnx_runtime_of
from edgesmith_builder.pack.layer import Layer

EPOCH = "1970-01-01T00:00:00Z"
"""When every image was made: the time of day is no part of what decides its bytes."""

_SERVER = "dev.edgesmith.server"
"""The label of a base image that says what serves in it, where that is not our own server."""


@dataclass(frozen=True, slots=True)
class Base:
    """The base image for one platform."""

    reference: Reference
    """As the request has it: maybe of an index."""
    manifest: Manifest
    config: Mapping[str, Any]
    """The image config, as read."""

    @property
    def server(self) -> ServerName:
        """What serves in it."""
        said = (self.config.get("config", {}).get("Labels") or {}).get(_SERVER)
        return "Triton" if said == "Triton" else "Edgesmith"

    @property
    def engine_version(self) -> str | None:
        """The version of the ONNX Runtime in it; None where it does not say."""
        return onnx_runtime_of(self.config)


async def read_base(registry: Registry, text: str, platform: Platform) -> Base:
    """Look the base image up, choosing from its index.

    Raises:
        RequestInvalid: where there is no such image, or none for the platform.
        RegistryError: of the fitting kind.
    """
    try:
        reference = Reference.parse(text)
    except ValueError as error:
        raise RequestInvalid(f"build.base is not an image by digest: {error}") from error
    if reference.digest is None:
        raise RequestInvalid(f"build.base is {text!r}; an image by digest was expected, REGISTRY/NAME@sha256:HEX")
    document = await registry.document(reference)
    if isinstance(document, Index):
        entry = document.select(platform.os, platform.architecture, platform.variant)
        if entry is None:
            offered = ", ".join(sorted(entry.platform for entry in document.entries)) or "nothing"
            raise RequestInvalid(f"build.base {reference} is made for {offered}; {_text(platform)} was expected in it")
        document = await registry.manifest(reference.repository.pinned(entry.digest))
    if document is None:
        raise RequestInvalid(f"build.base {reference} does not exist; the runtime base image was expected there")
    config = _parse_config(await registry.read_blob(reference.repository, document.config), reference)
    if (config.get("os"), config.get("architecture")) != (platform.os, platform.architecture):
        found = f"{config.get('os')}/{config.get('architecture')}"
        raise RequestInvalid(f"build.base {reference} is made for {found}; {_text(platform)} was expected")
    if len(config["rootfs"]["diff_ids"]) != len(document.layers):
        raise RegistryRefused(
            f"build.base {reference} has a config that does not match its layers; one diff id each was expected"
        )
    return Base(reference, document, config)


def assemble(
    base: Base, layers: Sequence[Layer], labels: Mapping[str, str], annotations: Mapping[str, str]
) -> tuple[Manifest, BytesBlob]:
    """Put uncompressed layers over the base.

    Args:
        base: The base image.
        layers: The layers, lowest first.
        labels: For the config: seen by whoever inspects a running container.
        annotations: For the manifest: seen by whoever looks into the registry.

    Returns:
        The manifest, and the config that it points at.
    """
    config = json.loads(json.dumps(base.config))
    config["created"] = EPOCH
    history = config.setdefault("history", [])
    for layer in layers:
        config["rootfs"]["diff_ids"].append(layer.descriptor.digest)
        history.append({"created": EPOCH, "created_by": "edgesmith_builder", "comment": layer.name})
    merged = {**(config.setdefault("config", {}).get("Labels") or {}), **labels}
    config["config"]["Labels"] = merged
    blob = BytesBlob(canonical(config), CONFIG)
    manifest = Manifest(
        config=blob.descriptor,
        layers=(*base.manifest.layers, *(layer.descriptor for layer in layers)),
        annotations={
            BASE_NAME_ANNOTATION: str(base.reference.repository),
            BASE_DIGEST_ANNOTATION: base.reference.target,
            **annotations,
        },
    )
    return manifest, blob


def _parse_config(raw: bytes, reference: Reference) -> dict[str, Any]:
    try:
        config = parsed(raw)
        if isinstance(config, dict) and all(isinstance(item, str) for item in config["rootfs"]["diff_ids"]):
            return config
    except (ValueError, KeyError, TypeError):
        pass
    raise RegistryRefused(f"build.base {reference} has a malformed config; an OCI image config was expected")


def _text(platform: Platform) -> str:
    return "/".join(part for part in (platform.os, platform.architecture, platform.variant) if part)
