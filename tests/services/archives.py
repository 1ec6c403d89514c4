"""Images in registries for archives to be made of, and archives that somebody tampered with."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgesmith.archive.artifacts import manifests_of
from edgesmith.archive.gather import Gathering, Wanted
from edgesmith.archive.roots import ArchiveError
from edgesmith.archive.write import write
from edgesmith_builder.contract import (
    BASE_DIGEST_ANNOTATION,
    BASE_NAME_ANNOTATION,
    KEY_ANNOTATION,
    REPORT_ANNOTATION,
    BuildReport,
    Candidate,
    Finalist,
)
from edgesmith_builder.oci import BytesBlob, Descriptor, Manifest, Reference, Referrer, Registry, Repository
from edgesmith_builder.oci.content import CONFIG, INDEX, LAYER, MANIFEST, canonical, digest_of

KEY = "5c" * 16
BASE_LAYER = BytesBlob(b"a runtime " * 100_000, LAYER)
INPUTS_LAYER = BytesBlob(b"golden inputs " * 1000, LAYER)
MODEL_LAYER = BytesBlob(bytes(range(256)) * 8192, LAYER)
BILL = Referrer("application/vnd.cyclonedx+json", BytesBlob(b'{"a": "bill"}', "application/vnd.cyclonedx+json"))

CONTENT = BytesBlob(b"a layer of some bytes", LAYER)
CONFIGURED = BytesBlob(b'{"os": "linux"}', CONFIG)
IMAGE = canonical(
    {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": CONFIGURED.descriptor.to_json(),
        "layers": [CONTENT.descriptor.to_json()],
    }
)
LAYER_FILE = f"blobs/sha256/{CONTENT.descriptor.digest[7:]}"
IMAGE_FILE = f"blobs/sha256/{digest_of(IMAGE)[7:]}"


@dataclass
class Hub:
    """A registry with a runtime for two platforms and a model over one of them, on which a bill hangs, and more."""

    address: str
    hanging: Sequence[Referrer] = (BILL,)
    namespace: str = "plant"
    two: bool = True
    """Whether the model has a second finalist."""
    large: bool = False
    """Whether the runtime is beside the model, for nodes to look for room with."""
    runtime: str = ""
    model: str = ""
    digests: dict[str, str] = field(default_factory=dict)

    async def fill(self) -> None:
        """Push it all."""
        await self.fill_runtime()
        await self.fill_model(KEY)

    async def fill_runtime(self) -> None:
        """Push the runtime."""
        async with Registry(plain_http=True) as registry:
            runtime = Repository.parse(f"{self.address}/edgesmith/runtime")
            entries = []
            for architecture in ("amd64", "arm64"):
                config = BytesBlob(canonical({"architecture": architecture, "os": "linux"}), CONFIG)
                raw = await self._push(registry, runtime, config, (BASE_LAYER,))
                platform = {"os": "linux", "architecture": architecture}
                entries.append({**Descriptor.of(raw, MANIFEST).to_json(), "platform": platform})
            index = canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
            digest = await registry.push_manifest(runtime.pinned(Descriptor.of(index, INDEX).digest), index, INDEX)
            self.runtime = str(runtime.pinned(digest))

    async def fill_model(self, key: str) -> None:
        """Push the build of a key, over the runtime."""
        layers = (BASE_LAYER, INPUTS_LAYER, MODEL_LAYER)
        name, _, digest = self.runtime.partition("@")
        notes = {KEY_ANNOTATION: key, BASE_NAME_ANNOTATION: name, BASE_DIGEST_ANNOTATION: digest}
        async with Registry(plain_http=True) as registry:
            models = Repository.parse(f"{self.address}/models/{self.namespace}/models")
            finalists = [Finalist(precision="int8", size=3)]
            if self.two:
                config = BytesBlob(b'{"of": "fp32"}', CONFIG)
                other = await self._push(registry, models, config, layers, notes)
                self.digests["fp32"] = Descriptor.of(other, MANIFEST).digest
                finalists.append(Finalist(precision="fp32", size=3, digest=self.digests["fp32"]))
            candidates = tuple(Candidate(precision=one.precision, image_size=5000, accuracy=0.99) for one in finalists)
            report = BuildReport(
                precision="int8", size=3, accuracy=0.99, candidates=candidates, finalists=tuple(finalists)
            )
            if self.large:
                config = BytesBlob(canonical({"architecture": "amd64", "os": "linux"}), CONFIG)
                base = await self._push(registry, models, config, (BASE_LAYER,))
                self.digests["base"] = Descriptor.of(base, MANIFEST).digest
                report = report.model_copy(update={"base": self.digests["base"], "footprint": 2**30})
            config = BytesBlob(b'{"of": "int8"}', CONFIG)
            raw = await self._push(registry, models, config, layers, notes | {REPORT_ANNOTATION: report.to_json()})
            self.model = str(models.pinned(await registry.push_manifest(models.tagged(key), raw)))
            await registry.attach(models, Descriptor.of(raw, MANIFEST), self.hanging)

    async def _push(
        self,
        registry: Registry,
        repository: Repository,
        config: BytesBlob,
        layers: tuple[BytesBlob, ...],
        annotations: dict[str, str] | None = None,
    ) -> bytes:
        for blob in (config, *layers):
            await registry.push_blob(repository, blob)
        named = tuple(layer.descriptor for layer in layers)
        raw = Manifest(config.descriptor, named, annotations or {}).to_bytes()
        await registry.push_manifest(repository.pinned(Descriptor.of(raw, MANIFEST).digest), raw)
        return raw

    async def gathered(self, registry: Registry) -> Gathering:
        """The model with its other finalist and the runtime, as an export gathers them."""
        gathering = Gathering(registry)
        model = Reference.parse(self.model).repository
        await gathering.add(Wanted("model", model.tagged(KEY), KEY))
        await gathering.add(Wanted("model", model.pinned(self.digests["fp32"])))
        await gathering.add(Wanted("runtime", Reference.parse(self.runtime)))
        return gathering


async def archive_of(folder: Path) -> bytes:
    """An archive with one image and one file of manifests."""
    path = folder / "good.tar"
    async with Registry() as registry:
        gathering = Gathering(registry)
        gathering.add_artifact("model", "models/plant/models", "key", IMAGE, (CONFIGURED, CONTENT))
        made = manifests_of([{"kind": "EdgeModel", "spec": {"b": 1, "a": "ä"}}])
        gathering.add_artifact("manifests", "edgesmith/manifests", "latest", made.manifest, made.blobs)
        await write(gathering.contents, registry, path)
    return path.read_bytes()


def entries_of(data: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    """The files of an archive, each with its header."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [(one, tar.extractfile(one).read()) for one in tar.getmembers()]  # type: ignore[union-attr]  # all are files


def as_tar(entries: Sequence[tuple[tarfile.TarInfo, bytes]], form: Literal[0, 1, 2] = tarfile.USTAR_FORMAT) -> bytes:
    """An archive of files with whatever headers."""
    out = io.BytesIO()
    for info, content in entries:
        out.write(info.tobuf(form, "utf-8", "surrogateescape") + content + bytes(-len(content) % 512))
    out.write(bytes(1024))
    return out.getvalue()


def info(name: str, size: int = 0, **more: Any) -> tarfile.TarInfo:
    """A header."""
    found = tarfile.TarInfo(name)
    found.size = size
    for what, value in more.items():
        setattr(found, what, value)
    return found


__all__ = ["KEY", "ArchiveError", "Hub", "as_tar", "entries_of", "info"]
