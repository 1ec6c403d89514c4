"""Whether an image that was found under a build key can be the build that the key stands for.

Build keys can be computed by anybody, so an image that somebody else pushed may lie under one. What can be seen from
its manifest is checked: that it names the key, carries a report, and is the base image with two layers on top, the
golden inputs and the model. The content of these cannot be judged without building them anew; who may push decides who
is trusted with it.
"""

from __future__ import annotations

from edgesmith_builder.contract import KEY_ANNOTATION, REPORT_ANNOTATION, BuildReport, Platform
from edgesmith_builder.oci import Index, Manifest, Reference, Registry, RegistryRefused

TOP_LAYERS = 2
"""Layers over the base image: golden inputs, model."""


def why_foreign(manifest: Manifest, key: str, base: Manifest | None) -> str | None:
    """Why a manifest cannot be the build of a key, as the end of a sentence about the image; None where it can.

    Args:
        manifest: What was found.
        key: The build key.
        base: The base image for the build's platform; None leaves it out.
    """
    found = manifest.annotations.get(KEY_ANNOTATION)
    if found != key:
        return f"carries the build key {found!r}"
    report = report_of(manifest)
    if report is None:
        return "carries no report that can be read"
    if base is None:
        return None
    layers, lowest = ([layer.digest for layer in one.layers] for one in (manifest, base))
    if layers[:-TOP_LAYERS] != lowest or len(layers) < TOP_LAYERS:
        return (
            f"is not the runtime image with {TOP_LAYERS} layers on top: it has {len(layers)} layers, "
            f"and the runtime's {len(lowest)} lowest were expected"
        )
    if report.base not in (None, base.digest):
        return f"names the base image {report.base}, which nodes would run, and {base.digest} was expected"
    return None


def report_of(manifest: Manifest) -> BuildReport | None:
    """The report in a manifest's annotations; None where there is none that can be read."""
    try:
        return BuildReport.model_validate_json(manifest.annotations.get(REPORT_ANNOTATION, ""))
    except ValueError:
        return None


async def base_manifest(registry: Registry, base: str, platform: Platform) -> Manifest:
    """A base image for one platform.

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
    return document
