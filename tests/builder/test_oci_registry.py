"""The registry client against a real registry."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
from services import start_registry

from edgesmith_builder.oci import (
    Backoff,
    BytesBlob,
    CredentialsFile,
    Descriptor,
    FileBlob,
    Manifest,
    Reference,
    Registry,
    RegistryForbidden,
    RegistryRefused,
    RegistryUnreachable,
    RemoteBlob,
    Repository,
    speaks_https,
)
from edgesmith_builder.oci.content import CONFIG, LAYER

PATIENCE = Backoff(attempts=3, first=0.01, limit=0.05)
MIB = 1 << 20


def file_blob(folder: Path, size: int, seed: int) -> FileBlob:
    data = hashlib.shake_256(bytes([seed])).digest(size)
    (folder / "blob").write_bytes(data)
    return FileBlob(folder / "blob", Descriptor.of(data, LAYER))


async def test_an_image_comes_back_as_it_went(registry: str) -> None:
    repository = Repository.parse(f"{registry}/oci/round-trip")
    layer, config = BytesBlob(b"layer", LAYER), BytesBlob(b"{}", CONFIG)
    image = Manifest(config.descriptor, (layer.descriptor,), {"note": "ä"})
    async with Registry(plain_http=True) as client:
        assert await client.manifest(repository.tagged("1")) is None
        assert await client.push_blob(repository, layer) == "uploaded"
        assert await client.push_blob(repository, layer) == "there"
        await client.push_blob(repository, config)
        digest = await client.push_manifest(repository.tagged("1"), image.to_bytes())
        found = await client.manifest(repository.tagged("1"))
        assert found == await client.manifest(repository.pinned(digest))
        assert await client.read_blob(repository, layer.descriptor) == b"layer"
    assert found is not None
    assert (found.digest, found.annotations, found.layers) == (digest, {"note": "ä"}, image.layers)


async def test_no_request_searches_for_a_module(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not installed is searched for in every folder of sys.path, each time it is asked for."""
    searched: list[str] = []

    class Seen:
        def find_spec(self, name: str, *_: object) -> None:
            searched.append(name)

    repository = Repository.parse(f"{registry}/oci/searched")
    async with Registry(plain_http=True) as client:
        await client.push_blob(repository, BytesBlob(b"first", LAYER))
        monkeypatch.setattr(sys, "meta_path", [Seen(), *sys.meta_path])
        await client.push_blob(repository, BytesBlob(b"second", LAYER))
    assert searched == []


async def test_a_blob_is_mounted_from_a_neighbour(registry: str) -> None:
    blob = BytesBlob(b"to be mounted", LAYER)
    first, second = (Repository.parse(f"{registry}/oci/{name}") for name in ("mount-a", "mount-b"))
    async with Registry(plain_http=True) as client:
        await client.push_blob(first, blob)
        assert await client.push_blob(second, blob, mount_from=first) == "mounted"


async def test_a_mount_that_does_not_work_becomes_an_upload(registry: str) -> None:
    blob = BytesBlob(b"nobody has this to mount", LAYER)
    first, second = (Repository.parse(f"{registry}/oci/{name}") for name in ("mount-c", "mount-d"))
    async with Registry(plain_http=True) as client:
        assert await client.push_blob(second, blob, mount_from=first) == "uploaded"
        assert await client.has_blob(second, blob.descriptor.digest)


@pytest.fixture(scope="module")
def bucket_registry(store: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry whose blobs lie in the object store: it answers with redirects to where they are."""
    store.client.make_bucket(bucket_name="registry")
    own = store.settings
    driver = (
        f"s3: {{accesskey: {own.access_key}, secretkey: {own.secret_key}, region: us-east-1, bucket: registry, "
        f'regionendpoint: "{own.endpoint}", forcepathstyle: true, secure: false}}'
    )
    server = start_registry(tmp_path_factory.mktemp("bucket-registry"), driver=driver)
    yield server.address
    server.stop()


async def test_a_registry_over_an_object_store_takes_a_second_image(bucket_registry: str, tmp_path: Path) -> None:
    """What is there already, a mount, a blob that is read again, and an upload that goes on after a break."""
    first, second = (Repository.parse(f"{bucket_registry}/oci/{name}") for name in ("a", "b"))
    layer, config = file_blob(tmp_path, 6 * MIB, seed=5), BytesBlob(b"{}", CONFIG)
    image = Manifest(config.descriptor, (layer.descriptor,))
    async with Registry(plain_http=True, backoff=PATIENCE) as client:
        for how in ("uploaded", "there"):
            assert await client.push_blob(first, layer) == how
            assert await client.push_blob(first, config) == how
            await client.push_manifest(first.tagged("1"), image.to_bytes())
        assert await client.push_blob(second, layer, mount_from=first) == "mounted"
        seen = [piece async for piece in client.stream_blob(second, layer.descriptor, 5 * MIB)]
        assert b"".join(seen) == (tmp_path / "blob").read_bytes()[5 * MIB :]


async def test_an_upload_to_a_registry_over_an_object_store_goes_on(
    bucket_registry: str, tmp_path: Path, cutting_proxy: Any
) -> None:
    blob = file_blob(tmp_path, 24 * MIB, seed=6)
    async with cutting_proxy(bucket_registry, [17 * MIB]) as proxy:
        async with Registry(plain_http=True, backoff=Backoff(attempts=8, first=0.2, limit=5.0)) as client:
            await client.push_blob(Repository.parse(f"{proxy.address}/oci/resumed"), blob)
        assert proxy.cuts == 1
        assert proxy.sent < 24 * MIB + 2 * 5 * MIB
    async with Registry(plain_http=True) as client:
        assert await client.has_blob(Repository.parse(f"{bucket_registry}/oci/resumed"), blob.descriptor.digest)


async def test_an_empty_blob(registry: str) -> None:
    async with Registry(plain_http=True) as client:
        await client.push_blob(Repository.parse(f"{registry}/oci/empty"), BytesBlob(b"", LAYER))


@pytest.mark.parametrize(
    "budgets",
    [
        pytest.param([5 * MIB], id="once"),
        pytest.param([3 * MIB, 2 * MIB, 4 * MIB, MIB], id="four-times"),
        pytest.param([12 * MIB], id="at-its-end"),
    ],
)
async def test_an_upload_goes_on_where_the_connection_broke(
    registry: str, tmp_path: Path, cutting_proxy: Any, budgets: list[int]
) -> None:
    blob = file_blob(tmp_path, 12 * MIB, seed=10 + len(budgets) + budgets[0] % 7)
    cuts = len(budgets)
    async with cutting_proxy(registry, budgets) as proxy:
        repository = Repository.parse(f"{proxy.address}/oci/resume-{cuts}-{tmp_path.name}")
        # Longer waits than elsewhere: the registry is to be done with what it received when it is asked how far it is.
        async with Registry(plain_http=True, backoff=Backoff(attempts=5, first=0.2, limit=0.5)) as client:
            assert await client.push_blob(repository, blob) == "uploaded"
        assert proxy.cuts == cuts
        # What was on its way when the connection broke may go twice: a socket buffer or two, not the blob.
        assert proxy.sent < 12 * MIB + cuts * 2 * MIB
    async with Registry(plain_http=True) as client:
        seen = hashlib.sha256()
        async for piece in client.stream_blob(Repository.parse(f"{registry}/{repository.name}"), blob.descriptor):
            seen.update(piece)
    assert "sha256:" + seen.hexdigest() == blob.descriptor.digest


async def test_a_blob_that_is_not_what_it_says_is_refused(registry: str) -> None:
    blob = BytesBlob(b"something", LAYER)
    blob.descriptor = Descriptor(LAYER, "sha256:" + "1" * 64, 9)
    async with Registry(plain_http=True, backoff=PATIENCE) as client:
        with pytest.raises(RegistryRefused, match="DIGEST_INVALID"):
            await client.push_blob(Repository.parse(f"{registry}/oci/liar"), blob)


async def test_a_layer_goes_from_one_registry_to_another(
    registry: str, second_registry: str, tmp_path: Path, cutting_proxy: Any
) -> None:
    blob = file_blob(tmp_path, 6 * MIB, seed=4)
    origin = Repository.parse(f"{registry}/oci/origin")
    async with Registry(plain_http=True, backoff=PATIENCE) as client:
        await client.push_blob(origin, blob)
        async with cutting_proxy(second_registry, [2 * MIB]) as proxy:
            there = Repository.parse(f"{proxy.address}/oci/copy")
            remote = RemoteBlob(client, origin, blob.descriptor)
            assert await client.push_blob(there, remote, mount_from=origin) == "uploaded"
        assert await client.has_blob(Repository.parse(f"{second_registry}/oci/copy"), blob.descriptor.digest)


async def test_a_source_that_breaks_is_taken_up_again(registry: str) -> None:
    data = hashlib.shake_256(b"source").digest(3 * MIB)

    class Breaking:
        descriptor = Descriptor.of(data, LAYER)
        offsets: list[int] = []  # noqa: RUF012 - one instance

        async def stream(self, offset: int) -> AsyncGenerator[bytes, None]:
            self.offsets.append(offset)
            yield data[offset : offset + MIB]
            if len(self.offsets) == 1:
                raise RegistryUnreachable("the source broke")
            yield data[offset + MIB :]

    async with Registry(plain_http=True, backoff=PATIENCE, chunk=MIB) as client:
        assert await client.push_blob(Repository.parse(f"{registry}/oci/breaking"), Breaking()) == "uploaded"
    # The registry may have a part of the last piece, or still be writing it, when it is asked.
    assert Breaking.offsets[0] == 0
    assert all(0 < offset <= MIB for offset in Breaking.offsets[1:])


async def test_an_index_is_no_image(world: Any) -> None:
    async with Registry(plain_http=True) as client:
        with pytest.raises(RegistryRefused, match="is an image index"):
            await client.manifest(Reference.parse(world.base))


async def test_a_login(locked_registry: str, login: Any) -> None:
    repository, blob = Repository.parse(f"{locked_registry}/oci/locked"), BytesBlob(b"locked", LAYER)
    async with Registry(plain_http=True, credentials=login(locked_registry, "right-password")) as client:
        assert await client.push_blob(repository, blob) == "uploaded"
    for credentials in (login(locked_registry, "wrong-password"), login("elsewhere:1", "right-password"), None):
        async with Registry(plain_http=True, credentials=credentials) as client:
            with pytest.raises(RegistryForbidden) as caught:
                await client.push_blob(repository, blob)
        assert f"{locked_registry}/oci/locked answered 401" in str(caught.value)
        assert "password" not in str(caught.value)


async def test_a_login_that_is_put_right_in_its_file_is_used_at_once(locked_registry: str, tmp_path: Path) -> None:
    repository = Repository.parse(f"{locked_registry}/oci/corrected")
    file = tmp_path / ".dockerconfigjson"

    def write(password: str) -> None:
        file.write_text(json.dumps({"auths": {locked_registry: {"username": "builder", "password": password}}}))

    write("wrong-password")
    async with Registry(plain_http=True, credentials=CredentialsFile(file, "--registry-credentials")) as client:
        with pytest.raises(RegistryForbidden):
            await client.check_push(repository)
        write("right-password")
        await client.check_push(repository)
    file.write_text("half a file")
    with pytest.raises(ValueError, match=r"is not a \.dockerconfigjson"):
        CredentialsFile(file, "--registry-credentials")


async def test_a_login_file_that_breaks_is_used_as_it_was(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / ".dockerconfigjson"
    file.write_text('{"auths": {"hub": {"username": "builder", "password": "s3cret"}}}')
    logins = CredentialsFile(file, "--registry-credentials")
    file.unlink()
    found = logins.login(Repository.parse("hub/team"))
    assert found is not None
    assert found.username == "builder"
    assert "are used as they were: --registry-credentials names no file that can be read" in caplog.text


async def test_a_registry_that_refuses_pushes_is_found_out(registry: str, readonly_registry: str) -> None:
    async with Registry(plain_http=True) as client:
        await client.check_push(Repository.parse(f"{registry}/oci/probe"))
        with pytest.raises(RegistryRefused, match="answered 405 when opening an upload"):
            await client.check_push(Repository.parse(f"{readonly_registry}/oci/probe"))


async def test_nobody_there() -> None:
    async with Registry(plain_http=True, backoff=PATIENCE) as client:
        with pytest.raises(RegistryUnreachable, match=r"127\.0\.0\.1:1/a/b gave no answer when reading the manifest 1"):
            await client.manifest(Reference.parse("127.0.0.1:1/a/b:1"))


async def test_whether_a_registry_speaks_https(registry: str) -> None:
    assert not await speaks_https(registry)
