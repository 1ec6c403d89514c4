"""Whether an image that was found under a build key can be the build that the key stands for.

Build keys can be computed by anybody, so an image that somebody else pushed may lie under one. What can be seen from
its manifest is checked: that it names the key, carries a report, and is the base image with two layers on top, the
golden inputs and the model. The content of these cannot be judged without building them anew; who may push decides who
is trusted with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgesmith_builder.contract import KEY_ANNOTATION, REPORT_ANNOTATION, BuildReport, Platform
from edgesmith_builder.oci import Index, Manifest, Reference, Registry, RegistryRefused

TOP_LAYERS = 2
"""Layers over the base image: golden inputs, model."""


def why_foreign(manifest: Manifest, key: str, base_layers: Sequence[str] | None) -> str | None:
    """Why a manifest cannot be the build of a key, as the end of a sentence about the image; None where it can.

    Args:
        manifest: What was found.
        key: The build key.
        base_layers: Digests of the base image's layers for the build's platform, lowest first; None leaves them out.
    """
    found = manifest.annotations.get(KEY_ANNOTATION)
    if found != key:
        return f"carries the build key {found!r}"
    if report_of(manifest) is None:
        return "carries no report that can be read"
    layers = [layer.digest for layer in manifest.layers]
    if base_layers is not None and (layers[:-TOP_LAYERS] != list(base_layers) or len(layers) < TOP_LAYERS):
        return (
            f"is not the runtime image with {TOP_LAYERS} layers on top: it has {len(layers)} layers, "
            f"and the runtime's {len(base_layers)} lowest were expected"
        )
    return None


def report_of(manifest: Manifest) -> BuildReport | None:
    """The report in a manifest's annotations; None where there is none that can be read."""
    try:
        return BuildReport.model_validate_json(manifest.annotations.get(REPORT_ANNOTATION, ""))
    except ValueError:
        return None


async def base_layers(registry: Registry, base: str, platform: Platform) -> tuple[str, ...]:
    """Digests of a base image's layers for one platform, lowest first.

    Args:
        registry: A client that speaks to the base image's registry.
        base: The base image by digest: an image or an index.
        platform: Which of an index to take.

    Raises:
        RegistryRefused: There is no such image, or none for the platform.
        RegistryError: of another kind, where the registry cannot be asked.
    """
    reference = Reference.parse(base)
    document = await registry.document(reference)
    if isinstance(document, Index):
        entry = document.select(platform.os, platform.architecture, platform.variant)
        document = await registry.manifest(reference.repository.pinned(entry.digest)) if entry else None
    if document is None:
        raise RegistryRefused(
            f"{base} does not exist for {platform.architecture}; the runtime image was expected there"
        )
    return tuple(layer.digest for layer in document.layers)
