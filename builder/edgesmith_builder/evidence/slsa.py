"""Provenance: what an image was made from, by what, and as what request.

Format: SLSA Provenance v1 (`slsa.dev/spec/v1.0/provenance`), the predicate of an in-toto statement. It says nothing of
when, or on which machine: neither decides any byte of the image.
"""

from __future__ import annotations

import json
from typing import Any

from edgesmith_builder.evidence.materials import Materials
from edgesmith_builder.signatures import Statement

SLSA = "https://slsa.dev/provenance/v1"

BUILD_TYPE = "https://edgesmith.dev/build/v1"
"""What the parameters mean: docs/security.md."""

BUILDER = "https://edgesmith.dev/builder/v1"
"""Who made it: this builder, wherever it runs."""


def provenance(materials: Materials) -> Statement:
    """The statement."""
    dependencies = [{"name": file.role, "uri": file.uri, "digest": {"sha256": file.sha256}} for file in materials.files]
    base = materials.base.reference
    dependencies.append(
        {"name": "base", "uri": f"oci://{base.repository}", "digest": {"sha256": materials.base_digest}}
    )
    builder: dict[str, Any] = {"id": BUILDER, "version": materials.tools}
    images = {"builder": materials.builder_image, "compiler": materials.build.toolchain.compiler_image}
    pinned = [_image(name, image) for name, image in images.items() if image is not None]
    if pinned:
        builder["builderDependencies"] = pinned
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"build": json.loads(materials.build.to_json())},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {"builder": builder},
    }
    return Statement(materials.image.digest, SLSA, predicate, name=materials.name)


def _image(name: str, image: str) -> dict[str, Any]:
    """An image by digest that took part."""
    repository, _, digest = image.partition("@sha256:")
    return {"name": name, "uri": f"oci://{repository}", "digest": {"sha256": digest}}
