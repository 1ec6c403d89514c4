"""What a build was made from, and what came out: all that a bill of materials and provenance are written from."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgesmith_builder.contract import TOOLCHAINS, Artifact, Build, BuildReport, tools_of
from edgesmith_builder.oci import Descriptor, Manifest, Reference
from edgesmith_builder.oci.content import MANIFEST
from edgesmith_builder.pack import Base, Layer
from edgesmith_builder.pack.layer import FOLDER
from edgesmith_runtime.bundle import BUNDLE_FILE

_CONVERT = ("scikit_learn", "skl2onnx")
"""What compiles sources of one format only, and is not named."""


@dataclass(frozen=True, slots=True)
class Material:
    """A file that was fetched."""

    role: str
    """`source`, `compiled`, `reference`, `calibration` or `evaluation`."""
    uri: str
    sha256: str
    """64 hex digits, of the bytes that came."""

    @property
    def name(self) -> str:
        """The last part of the URI."""
        return self.uri.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Materials:
    """What went in and what came out."""

    build: Build
    report: BuildReport
    files: tuple[Material, ...]
    """The source first, what was compiled of it, what an alternative was held against, then the sets."""
    base: Base
    image: Descriptor
    """The image's manifest."""
    model: str
    """64 hex digits of the model's file in the image."""
    builder_image: str | None = None
    """The image that the builder runs in, by digest, where it was told."""
    rebased: Reference | None = None
    """The image whose layers were taken; None: they were compiled."""

    @property
    def bundle(self) -> str:
        """The key of the two layers over the base."""
        return self.build.bundle_key(self.base.server)

    @property
    def name(self) -> str:
        """What to call the image and its model: the source's file. What it is served as, nobody knows yet."""
        return self.files[0].name

    @property
    def models(self) -> tuple[Material, ...]:
        """Models that were fetched: the source first."""
        return tuple(file for file in self.files if file.role in ("source", "compiled"))

    @property
    def sets(self) -> tuple[Material, ...]:
        """Data sets that were fetched."""
        return tuple(file for file in self.files if file.role in ("calibration", "evaluation"))

    @property
    def tools(self) -> dict[str, str]:
        """Versions of what compiled it, by name."""
        versions = self.build.tools or tools_of(self.build.toolchain.name)
        named = TOOLCHAINS[self.build.toolchain.name].tools
        found = {name: version for name in named if name not in _CONVERT and (version := getattr(versions, name))}
        return {"edgesmith_builder": versions.builder} | found

    @property
    def base_digest(self) -> str:
        """64 hex digits of the base image for the build's platform: the request may name an index."""
        return self.base.manifest.digest.partition(":")[2]


ROLES = ("source", "compiled", "reference", "calibration", "evaluation")
"""Files that a build fetches, in this order."""


def artifacts_of(build: Build) -> dict[str, Artifact]:
    """The files that a build is made of, by their role."""
    named = {role: getattr(build, role) for role in ROLES}
    named["reference"] = build.reference.source if build.reference else None
    return {role: artifact for role, artifact in named.items() if artifact is not None}


def files_of(
    build: Build, digests: Mapping[str, str], places: Callable[[str], str] = "spec.{}".format
) -> tuple[Material, ...]:
    """The files that a build fetched.

    Args:
        build: What was asked for.
        digests: 64 hex digits of each file that was fetched, by the field that names it: `spec.source`.
        places: The field that names a file, by the field of the build that holds it.
    """
    return tuple(Material(role, one.uri, digests[places(role)]) for role, one in artifacts_of(build).items())


def materials_of(
    build: Build,
    report: BuildReport,
    files: tuple[Material, ...],
    *,
    base: Base,
    manifest: Manifest,
    layer: Layer,
    builder_image: str | None,
    rebased: Reference | None = None,
) -> Materials:
    """Put together what is known at the end of a build.

    Args:
        build: What was asked for.
        report: What was found out.
        files: What its layers were made from.
        base: The base image.
        manifest: The image.
        layer: Its layer with the model, on this machine.
        builder_image: The image that the builder runs in, where known.
        rebased: The image whose layers were taken, where they were not compiled.
    """
    image = Descriptor.of(manifest.to_bytes(), MANIFEST)
    return Materials(build, report, files, base, image, _model_digest(layer), builder_image, rebased)


def _model_digest(layer: Layer) -> str:
    """The digest of the model's file, as the bundle in the layer has it."""
    with tarfile.open(layer.file) as packed:
        file = packed.extractfile(f"{FOLDER}/{BUNDLE_FILE}")
        if file is None:
            raise ValueError(f"{layer.name} has no {BUNDLE_FILE}; a bundle was expected")
        bundle = json.loads(file.read())
    digest: str = bundle["digests"][bundle["file"]]
    return digest.partition(":")[2]
