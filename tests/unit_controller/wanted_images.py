"""Builds that are looked up in a registry, and what it has under their keys."""

from __future__ import annotations

from edgesmith.cluster.provenance import Wanted
from edgesmith_builder.contract import (
    KEY_ANNOTATION,
    REPORT_ANNOTATION,
    Artifact,
    Build,
    BuildReport,
    Platform,
    Toolchain,
)
from edgesmith_builder.oci import (
    Descriptor,
    Index,
    IndexEntry,
    Manifest,
    Reference,
    RegistryError,
)

REPORT = BuildReport(precision="int8", size=3, candidates=())


PLACE = "registry.example:5000/models/ns/m"


ONE = "sha256:" + "1" * 64


TWO = "sha256:" + "2" * 64


BASE = "sha256:" + "b" * 64


BASE_LAYERS = ("sha256:lower", "sha256:upper")


def wanted(base: str = f"registry.example:5000/edgesmith/runtime@{BASE}", model: str = "m") -> Wanted:
    source = Artifact(uri=f"s3://models/{model}")
    return Wanted(
        Build(
            source=source,
            platform=Platform(architecture="arm64"),
            toolchain=Toolchain(precisions=("fp32",)),
            base=base,
        )
    )


WANTED = wanted()


KEY = WANTED.build.key


def layers(*digests: str) -> tuple[Descriptor, ...]:
    return tuple(Descriptor("layer", digest, 3) for digest in digests)


def manifest(
    key: str = KEY, report: str | None = None, *, over: tuple[str, ...] = BASE_LAYERS, digest: str = ONE
) -> Manifest:
    annotations = {KEY_ANNOTATION: key, REPORT_ANNOTATION: REPORT.to_json() if report is None else report}
    return Manifest(
        Descriptor("c", "sha256:0", 2), layers(*over, "sha256:inputs", "sha256:model"), annotations, digest=digest
    )


class FakeRegistry:
    """Images by tag, and a runtime image for two platforms."""

    def __init__(self) -> None:
        self.answer: Manifest | RegistryError | None = None
        self.base: Index | RegistryError | None = Index(
            tuple(IndexEntry(f"sha256:{name}", "linux", name, None) for name in ("amd64", "arm64")), BASE
        )
        self.asked = 0
        self.looked = 0
        self.base_asked = 0
        self.base_places: list[str] = []
        self.base_prefix = ""
        """What the runtime image's repository must begin with to be there."""
        self.finalists: dict[str, Manifest | None] = {}
        self.finalists_asked = 0

    async def manifest(self, reference: Reference) -> Manifest | None:
        if reference.digest in self.finalists:
            self.finalists_asked += 1
            return self.finalists[reference.digest]
        if reference.tag is None:
            over = BASE_LAYERS if reference.digest == "sha256:arm64" else ("sha256:of-amd64",)
            return Manifest(Descriptor("c", "sha256:0", 2), layers(*over))
        self.asked += 1
        if isinstance(self.answer, RegistryError):
            raise self.answer
        return self.answer

    async def digest_under(self, reference: Reference) -> str | None:
        assert reference.tag
        self.looked += 1
        if isinstance(self.answer, RegistryError):
            raise self.answer
        return self.answer.digest if self.answer else None

    async def document(self, reference: Reference) -> Index | None:
        self.base_asked += 1
        self.base_places.append(str(reference.repository))
        assert reference.digest == BASE
        if isinstance(self.base, RegistryError):
            raise self.base
        return self.base if str(reference.repository).startswith(self.base_prefix) else None
