"""A registry of its own with two base images, whose files can be spoilt, and what tests of rebasing ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from services import start_registry

from edgesmith_builder.build import Built
from edgesmith_builder.contract import (
    BuildRequest,
)
from edgesmith_builder.maker import Maker
from edgesmith_builder.oci import Manifest, Reference, Registry
from edgesmith_builder.signatures.private import PrivateKey
from edgesmith_builder.toolchain import onnxruntime

KEY, OTHER_KEY = (PrivateKey(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))


@dataclass(frozen=True)
class Site:
    """A registry of its own, whose files can be spoilt, with two base images."""

    world: Any
    data: Path
    newer: str
    """A second base image."""
    whole: dict[Path, bytes] = field(default_factory=dict)
    """What was spoilt, as it was."""

    def request(self, **changes: Any) -> BuildRequest:
        request: BuildRequest = self.world.request(**changes)
        return request

    async def make(self, request: BuildRequest, maker: Maker | None = None, **more: Any) -> Built:
        built: Built = await self.world.build(request, maker=maker or Maker(KEY), **more)
        return built

    async def over(self, request: BuildRequest, base: str | None = None) -> Built:
        """The same over another base, with a key, where nothing can be fetched."""
        nowhere = self.world.store.settings.__class__(host="127.0.0.1:1", secure=False, region="us-east-1")
        return await self.make(newer(request, base or self.newer), settings=nowhere)

    def spoil(self, digest: str) -> None:
        """Change one bit of a blob on the registry's disk."""
        algorithm, _, name = digest.partition(":")
        (file,) = self.data.glob(f"**/blobs/{algorithm}/{name[:2]}/{name}/data")
        content = bytearray(self.whole.setdefault(file, file.read_bytes()))
        content[len(content) // 2] ^= 1
        file.write_bytes(content)


def newer(request: BuildRequest, base: str) -> BuildRequest:
    return request.model_copy(update={"build": request.build.model_copy(update={"base": base})})


def make_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spoilt-registry")


def make_address(folder: Path) -> Iterator[str]:
    server = start_registry(folder)
    yield server.address
    server.stop()


def make_site(world: Any, folder: Path, address: str, push_base: Any) -> Iterator[Site]:
    old = asyncio.run(push_base(address))
    new = asyncio.run(push_base(address, layer_text="a newer and longer layer of"))
    found = Site(replace(world, registry=address, base=old), folder / "data", new)
    yield found
    for file, content in found.whole.items():
        file.write_bytes(content)


def make_compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The precisions that ONNX Runtime's toolchain has compiled."""
    found: list[str] = []
    whole = onnxruntime.compile

    def count(precision: Any, *rest: Any) -> Any:
        found.append(precision)
        return whole(precision, *rest)

    monkeypatch.setattr(onnxruntime, "compile", count)
    return found


async def manifest_of(image: str | Reference) -> Manifest:
    async with Registry(plain_http=True) as client:
        found = await client.manifest(Reference.parse(image) if isinstance(image, str) else image)
    assert found is not None
    return found


def digests(manifest: Manifest) -> list[str]:
    return [layer.digest for layer in manifest.layers]


def digest(built: Built) -> str:
    return built.image.partition("@")[2]


async def base_layers_of(base: str) -> list[str]:
    reference = Reference.parse(base)
    async with Registry(plain_http=True) as client:
        index = await client.document(reference)
        assert index is not None
        assert not isinstance(index, Manifest)
        entry = index.select("linux", "amd64")
        assert entry is not None
        manifest = await client.manifest(reference.repository.pinned(entry.digest))
    assert manifest is not None
    return digests(manifest)


@dataclass(frozen=True)
class Case:
    """A build that was made, and is to be spoilt before its base changes."""

    site: Site
    request: BuildRequest
    built: Built


async def delete(image: Reference, kind: str = "manifests") -> None:
    async with httpx.AsyncClient() as client:
        url = f"http://{image.repository.registry}/v2/{image.repository.name}/{kind}/{image.target}"
        assert (await client.delete(url)).status_code == 202


async def a_finalist_is_gone(case: Case) -> None:
    await delete(Reference.parse(case.built.image).repository.pinned(str(case.built.report.finalists[1].digest)))


async def a_layer_is_gone(case: Case) -> None:
    layer = (await manifest_of(case.built.image)).layers[-1]
    await delete(Reference.parse(case.built.image).repository.pinned(layer.digest), "blobs")


async def a_layer_of_another_digest(case: Case) -> None:
    case.site.spoil((await manifest_of(case.built.image)).layers[-1].digest)


def forget(site: Site, request: BuildRequest) -> None:
    """Take a build's tag away without its manifest, which the bundle's tag still names."""
    name = Reference.parse(request.image).repository.name
    (link,) = site.data.glob(f"**/{name}/_manifests/tags/{request.build.key}/current/link")
    link.unlink()
