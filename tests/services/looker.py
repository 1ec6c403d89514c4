"""Looks at files, as the operator has them done, and the web servers that are looked at."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from artifacts import TITLE
from authority import Authority
from played import Answer, Played

from edgesmith_builder.contract import (
    FileToResolve,
    ResolvedFile,
    ResolveRequest,
)
from edgesmith_builder.oci import Backoff, BytesBlob, Registry, Repository
from edgesmith_builder.oci.content import LAYER, MANIFEST, canonical
from edgesmith_builder.resolve import resolve
from edgesmith_builder.source import Sources

OLD, NEW = (hashlib.shake_256(word).digest(300_000) for word in (b"old", b"new"))
QUICK = Backoff(attempts=2, first=0.0, limit=0.0, asked_limit=0.0)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Looker:
    """Looks at one file, again and again, as the operator has it done."""

    def __init__(self, sources: Sources, folder: Path) -> None:
        self._sources, self._folder = sources, folder

    def __call__(self, uri: str, last: ResolvedFile | None = None, field: str = "source") -> ResolvedFile:
        known = {"sha256": last.sha256, "validator": last.validator} if last else {}
        request = ResolveRequest(files=(FileToResolve(field=field, uri=uri, **known),))
        (found,) = resolve(request, self._sources, self._folder).files
        assert list(self._folder.iterdir()) == [], "nothing is left of what was read"
        assert found.field == field
        return found


def make_work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def make_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


Serve = Callable[[Callable[[BaseHTTPRequestHandler], Answer]], Played]


def make_serve(authority: Authority) -> Iterator[Serve]:
    running: list[Played] = []
    certificate = authority.sign("web")

    def start(answering: Callable[[BaseHTTPRequestHandler], Answer]) -> Played:
        running.append(Played(answering, certificate).__enter__())
        return running[-1]

    yield start
    for server in running:
        server.__exit__()


def methods(server: Played) -> list[str]:
    return [line.partition(" ")[0] for line in server.asked]


def tag(repository: Repository, data: bytes, name: str = "latest") -> None:
    """Let a tag name an artifact with one file."""

    async def push() -> None:
        async with Registry(plain_http=True) as client:
            config = BytesBlob(b"{}", "application/vnd.oci.empty.v1+json")
            layer = BytesBlob(data, LAYER)
            for blob in (config, layer):
                await client.push_blob(repository, blob)
            listed = [{**layer.descriptor.to_json(), "annotations": {TITLE: "model.onnx"}}]
            manifest = {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config.descriptor.to_json(),
                "layers": listed,
            }
            await client.push_manifest(repository.tagged(name), canonical(manifest))

    asyncio.run(push())
