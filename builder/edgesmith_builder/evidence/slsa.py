"""Provenance: what an image was made from, by what, and as what request.

Format: SLSA Provenance v1 (`slsa.dev/spec/v1.0/provenance`), the predicate of an in-toto statement. It says nothing of
when, or on which machine: neither decides any byte of the image.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgesmith_builder.contract import Build
from edgesmith_builder.evidence.materials import ROLES, Material, Materials
from edgesmith_builder.signatures import Statement

SLSA = "https://slsa.dev/provenance/v1"

BUILD_TYPE = "https://edgesmith.dev/build/v1"
"""What the parameters mean: docs/security.md."""

BUILDER = "https://edgesmith.dev/builder/v1"
"""Who made it: this builder, wherever it runs."""

REBASED = "image"
"""The dependency that is the image whose layers were taken over another base."""


def provenance(materials: Materials) -> Statement:
    """The statement."""
    dependencies = [{"name": file.role, "uri": file.uri, "digest": {"sha256": file.sha256}} for file in materials.files]
    base = materials.base.reference
    dependencies.append(
        {"name": "base", "uri": f"oci://{base.repository}", "digest": {"sha256": materials.base_digest}}
    )
    if materials.rebased is not None:
        dependencies.append(_image(REBASED, str(materials.rebased)))
    builder: dict[str, Any] = {"id": BUILDER, "version": materials.tools}
    images = {"builder": materials.builder_image, "compiler": materials.build.toolchain.compiler_image}
    pinned = [_image(name, image) for name, image in images.items() if image is not None]
    if pinned:
        builder["builderDependencies"] = pinned
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"build": json.loads(materials.build.to_json())},
            "internalParameters": {"bundle": materials.bundle},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {"builder": builder},
    }
    return Statement(materials.image.digest, SLSA, predicate, name=materials.name)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What provenance says of an image that this builder made."""

    build: Build
    bundle: str
    """The key of its two layers over the base."""
    files: tuple[Material, ...]
    """What these were made from."""


def read_provenance(predicate: Mapping[str, Any]) -> Provenance:
    """Read the predicate of a statement.

    Raises:
        ValueError: where it is of another builder, or of another form.
    """
    try:
        definition, builder = predicate["buildDefinition"], predicate["runDetails"]["builder"]["id"]
        if (definition["buildType"], builder) != (BUILD_TYPE, BUILDER):
            raise ValueError(f"it is by {builder}; {BUILDER} was expected")
        build = Build.model_validate(definition["externalParameters"]["build"])
        files = {
            str(one["name"]): Material(str(one["name"]), str(one["uri"]), str(one["digest"]["sha256"]))
            for one in definition["resolvedDependencies"]
        }
        wanted = [role for role in ROLES if getattr(build, role)]
        return Provenance(build, str(definition["internalParameters"]["bundle"]), tuple(files[role] for role in wanted))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is of another form ({type(error).__name__} {error})") from error


def _image(name: str, image: str) -> dict[str, Any]:
    """An image by digest that took part."""
    repository, _, digest = image.partition("@sha256:")
    return {"name": name, "uri": f"oci://{repository}", "digest": {"sha256": digest}}
