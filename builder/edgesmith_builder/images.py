"""The images of a build: of each finalist its layers over the base, with its report in the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgesmith_builder.contract import KEY_ANNOTATION, LARGE, REPORT_ANNOTATION, Build, BuildReport
from edgesmith_builder.evidence import Material
from edgesmith_builder.oci import BytesBlob, Descriptor, Manifest
from edgesmith_builder.oci.content import MANIFEST
from edgesmith_builder.pack import Base, Layer, assemble


@dataclass(frozen=True, slots=True)
class Packed:
    """An image that is to be pushed."""

    report: BuildReport
    layers: tuple[Layer, ...]
    """Those over the base, lowest first, on this machine."""
    manifest: Manifest
    config: BytesBlob

    @property
    def descriptor(self) -> Descriptor:
        """Of its manifest."""
        return Descriptor.of(self.manifest.to_bytes(), MANIFEST)


@dataclass(frozen=True, slots=True)
class Made:
    """The images of a build."""

    images: tuple[Packed, ...]
    """Of every finalist; the first finalist's last."""
    files: tuple[Material, ...]
    """What their layers were made from."""


def images_of(wanted: Build, report: BuildReport, layers: Sequence[Sequence[Layer]], base: Base) -> tuple[Packed, ...]:
    """The image of every finalist with its report in its manifest, the first finalist's last: its own names the others.

    So a tag of the build key never names an image whose other finalists are not there.

    Args:
        wanted: The build.
        report: The first finalist's; the digests of the others are not known yet.
        layers: Of each finalist, those over the base.
        base: The base image.
    """
    finalists = tuple(
        finalist.model_copy(update={"footprint": footprint})
        for finalist, footprint in zip(report.finalists, footprints_of(layers), strict=True)
    )
    told = base.manifest.digest if any(one.footprint for one in finalists) else None
    report = report.model_copy(update={"footprint": finalists[0].footprint, "base": told})
    others = [
        _packed(wanted, report.of(finalist), own, base) for finalist, own in zip(finalists[1:], layers[1:], strict=True)
    ]
    listed = (
        finalist.model_copy(update={"digest": image.descriptor.digest})
        for finalist, image in zip(finalists[1:], others, strict=True)
    )
    first = report.model_copy(update={"finalists": (finalists[0], *listed)})
    return (*others, _packed(wanted, first, layers[0], base))


def footprints_of(finalists: Sequence[Sequence[Layer]]) -> list[int | None]:
    """Bytes that each finalist's layers over the base add on a node's disk; None where all are no more than `LARGE`.

    A trial pulls them all. containerd keeps what it pulled beside what it unpacked of it. Our layers are not
    compressed, and no file in one takes more than the layer has of it, so each counts twice.
    """
    found = [2 * sum(layer.descriptor.size for layer in layers) for layers in finalists]
    return [*found] if sum(found) > LARGE else [None] * len(found)


def _packed(wanted: Build, report: BuildReport, layers: Sequence[Layer], base: Base) -> Packed:
    labels = {KEY_ANNOTATION: wanted.key}
    annotations = {KEY_ANNOTATION: wanted.key, REPORT_ANNOTATION: report.to_json()}
    manifest, config = assemble(base, layers, labels, annotations)
    return Packed(report, tuple(layers), manifest, config)
