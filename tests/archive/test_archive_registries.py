"""From one real registry into another by a file: everything arrives, and what was sent once is not sent again."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from archives import BASE_LAYER, BILL, KEY, MODEL_LAYER, ArchiveError, Hub, as_tar, entries_of
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from services import Server, start_registry, tool
from wanted_images import wanted

from edgesmith.archive.artifacts import chart_of
from edgesmith.archive.gather import Gathering, Wanted
from edgesmith.archive.images_folder import IMAGE_NAME, write_images
from edgesmith.archive.opened import Archive
from edgesmith.archive.push import Push
from edgesmith.archive.write import write
from edgesmith.cli.archive.exporting import artifacts
from edgesmith.cluster.provenance import Bases
from edgesmith_builder.oci import (
    Backoff,
    Descriptor,
    Manifest,
    Reference,
    Registry,
    RegistryRefused,
    RegistryUnreachable,
    Repository,
)
from edgesmith_builder.oci.content import MANIFEST
from edgesmith_builder.signatures import SIGNED, Statement, look_for
from edgesmith_builder.signatures.private import PrivateKey
from edgesmith_builder.signatures.public import PublicKey

PATIENCE = Backoff(attempts=2, first=0.01, limit=0.05)
CHART = Path(__file__).resolve().parents[2] / "charts/edgesmith"
SITE_PATH = "mirror/models/plant/models"


@pytest.fixture(scope="module")
def hub_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_registry(tmp_path_factory.mktemp("hub"))
    yield server
    server.stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "site"
    folder.mkdir()
    server = start_registry(folder)
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Registry]:
    async with Registry(plain_http=True, backoff=PATIENCE) as registry:
        yield registry


@pytest_asyncio.fixture
async def hub(hub_registry: Server) -> Hub:
    hub = Hub(hub_registry.address)
    await hub.fill()
    return hub


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def export(hub: Hub, client: Registry, path: Path) -> Archive:
    gathering = await hub.gathered(client)
    await write(gathering.contents, client, path, backoff=PATIENCE)
    archive = Archive.open(path)
    archive.check()
    return archive


async def test_everything_arrives_under_its_name_with_what_hangs_on_it(
    hub: Hub, site: Server, client: Registry, tmp_path: Path
) -> None:
    archive = await export(hub, client, tmp_path / "a.tar")
    sent = await Push(archive, client, f"{site.address}/mirror").run()
    models = Repository(site.address, SITE_PATH)
    found = await client.raw(models.tagged(KEY))
    assert found is not None
    assert found == await client.raw(Reference.parse(hub.model)), "byte for byte"
    assert await client.manifest(models.pinned(hub.digests["fp32"])), "the finalist that the report names"
    for layer in (BASE_LAYER, MODEL_LAYER):
        assert await client.has_blob(models, layer.descriptor.digest)
    (bill,) = await client.referrers(models, Descriptor.of(found[1], MANIFEST).digest)
    assert bill.artifact_type == BILL.artifact_type
    manifest = await client.manifest(models.pinned(bill.descriptor.digest))
    assert manifest is not None
    assert await client.read_blob(models, manifest.layers[0]) == b'{"a": "bill"}'
    runtime = Reference.parse(hub.runtime)
    copied = Repository(site.address, "mirror/edgesmith/runtime").pinned(str(runtime.digest))
    assert await client.raw(copied) == await client.raw(runtime)
    assert sent.images[str(copied)] == "runtime"
    assert sent.uploaded == archive.size, "each blob was sent once; neighbours were mounted"


@pytest.mark.parametrize("prefix", ["", "/mirror", "/mirror/of-hub"])
async def test_a_site_finds_the_runtime_that_a_build_names_wherever_the_file_was_imported(
    hub: Hub, site: Server, client: Registry, tmp_path: Path, prefix: str
) -> None:
    archive = await export(hub, client, tmp_path / "a.tar")
    await Push(archive, client, f"{site.address}{prefix}").run()
    found = await Bases(client).of(f"{site.address}{prefix}/models/plant/models", wanted(hub.runtime).build)
    assert found is not None
    assert [layer.digest for layer in found.layers] == [BASE_LAYER.descriptor.digest]


async def test_the_file_is_the_same_each_time(hub: Hub, client: Registry, tmp_path: Path) -> None:
    await export(hub, client, tmp_path / "a.tar")
    await export(hub, client, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


async def test_a_second_import_sends_nothing(hub: Hub, site: Server, client: Registry, tmp_path: Path) -> None:
    archive = await export(hub, client, tmp_path / "a.tar")
    first = await Push(archive, client, site.address).run()
    again = await Push(archive, client, site.address).run()
    assert (again.uploaded, again.there, again.images) == (0, first.uploaded + first.there, first.images)
    (_,) = await client.referrers(Repository(site.address, "models/plant/models"), digest_of_model(hub))


def digest_of_model(hub: Hub) -> str:
    return hub.model.partition("@")[2]


async def test_an_import_that_was_cut_goes_on_where_it_stopped(
    hub: Hub, site: Server, client: Registry, tmp_path: Path
) -> None:
    archive = await export(hub, client, tmp_path / "a.tar")
    done: list[tuple[str, int]] = []

    def cut(how: str, size: int) -> None:
        done.append((how, size))
        if how == "uploaded" and size == BASE_LAYER.descriptor.size:
            site.stop()

    with pytest.raises(RegistryUnreachable):
        await Push(archive, client, site.address, cut).run()
    arrived = sum(size for how, size in done if how == "uploaded")
    again = start_registry(tmp_path / "site")
    try:
        models = Repository(again.address, "models/plant/models")
        assert await client.raw(models.tagged(KEY)) is None, "no tag before all that it names"
        sent = await Push(archive, client, again.address).run()
        assert arrived > 0
        assert sent.uploaded == archive.size - arrived
        assert await client.raw(models.tagged(KEY)) == await client.raw(Reference.parse(hub.model))
    finally:
        again.stop()


async def test_a_registry_that_goes_away_leaves_no_half_archive(hub: Hub, client: Registry, tmp_path: Path) -> None:
    gathering = await hub.gathered(client)
    for digest, (descriptor, source) in gathering.contents.sources.items():
        if digest == MODEL_LAYER.descriptor.digest:
            assert isinstance(source, Repository)
            gathering.contents.sources[digest] = (descriptor, Repository("127.0.0.1:9", source.name))
    with pytest.raises(RegistryUnreachable):
        await write(gathering.contents, client, tmp_path / "a.tar", backoff=PATIENCE)
    assert files(tmp_path) == []


async def test_a_registry_with_other_bytes_than_it_says_leaves_no_archive(
    hub: Hub, client: Registry, tmp_path: Path
) -> None:
    gathering = await hub.gathered(client)
    descriptor, source = gathering.contents.sources.pop(MODEL_LAYER.descriptor.digest)
    wrong = Descriptor(descriptor.media_type, BASE_LAYER.descriptor.digest, descriptor.size)
    gathering.contents.sources["sha256:" + "e" * 64] = (wrong, source)
    with pytest.raises((ArchiveError, RegistryRefused)):
        await write(gathering.contents, client, tmp_path / "a.tar", backoff=PATIENCE)
    assert files(tmp_path) == []


async def test_an_image_that_is_not_there_is_named(hub: Hub, client: Registry) -> None:
    missing = Wanted("model", Repository(hub.address, "models/plant/models").tagged("nothing"))
    with pytest.raises(ArchiveError, match="plant/models:nothing is not there"):
        await Gathering(client).add(missing)


async def test_a_blob_that_changed_after_the_check_is_refused_by_the_registry(
    hub: Hub, site: Server, client: Registry, tmp_path: Path
) -> None:
    archive = await export(hub, client, tmp_path / "a.tar")
    entries = entries_of((tmp_path / "a.tar").read_bytes())
    name = f"blobs/sha256/{MODEL_LAYER.descriptor.digest[7:]}"
    spoilt = [(one, b"!" + was[1:] if one.name == name else was) for one, was in entries]
    (tmp_path / "a.tar").write_bytes(as_tar(spoilt))
    with pytest.raises(ArchiveError, match="its name is another"):
        archive.check()
    with pytest.raises(RegistryRefused):
        await Push(archive, client, site.address).run()
    assert await client.raw(Repository(site.address, "models/plant/models").tagged(KEY)) is None


async def test_signatures_hold_after_the_way(
    hub_registry: Server, site: Server, client: Registry, tmp_path: Path
) -> None:
    pair = ec.generate_private_key(ec.SECP256R1())
    pem = pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    first = Hub(hub_registry.address)
    await first.fill()
    signed = PrivateKey.from_pem(pem, None).sign(Statement(digest_of_model(first), SIGNED))
    hub = Hub(hub_registry.address, hanging=(BILL, signed))
    await hub.fill()
    archive = await export(hub, client, tmp_path / "a.tar")
    await Push(archive, client, site.address).run()
    models, key = Repository(site.address, "models/plant/models"), PublicKey.from_pem(public)
    assert await look_for(client, models, digest_of_model(hub), key) == "Signed"
    (tmp_path / "key.pub").write_text(public)
    image = f"{models}@{digest_of_model(hub)}"
    words = ["verify", "--key", "key.pub", "--insecure-ignore-tlog", "--allow-http-registry", image]
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = await asyncio.to_thread(
        subprocess.run,
        [str(tool("cosign")), *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


async def test_a_folder_of_k3s_gets_one_file_whose_images_have_the_names_that_pods_use(
    hub: Hub, client: Registry, tmp_path: Path
) -> None:
    archive = await export(hub, client, tmp_path / "a.tar")
    (tmp_path / "images").mkdir()
    path = write_images(archive, "site.example:5000/mirror", tmp_path / "images")
    assert write_images(archive, "site.example:5000/mirror", tmp_path / "images") == path
    assert list((tmp_path / "images").iterdir()) == [path]
    files = {one.name: content for one, content in entries_of(path.read_bytes())}
    named = {one["digest"]: one["annotations"][IMAGE_NAME] for one in json.loads(files["index.json"])["manifests"]}
    place = f"site.example:5000/{SITE_PATH}"
    assert named == {digest: f"{place}@{digest}" for digest in (digest_of_model(hub), hub.digests["fp32"])}
    for digest in named:
        manifest = Manifest.from_bytes(files[f"blobs/sha256/{digest[7:]}"])
        for blob in (manifest.config, *manifest.layers):
            assert len(files[f"blobs/sha256/{blob.digest[7:]}"]) == blob.size


async def test_a_damaged_layer_leaves_nothing_in_the_folder_of_k3s(hub: Hub, client: Registry, tmp_path: Path) -> None:
    archive = await export(hub, client, tmp_path / "a.tar")
    data = bytearray((tmp_path / "a.tar").read_bytes())
    data[archive.blobs[MODEL_LAYER.descriptor.digest].place.offset] ^= 1
    (tmp_path / "a.tar").write_bytes(data)
    (tmp_path / "images").mkdir()
    with pytest.raises(ArchiveError):
        write_images(archive, "site.example:5000", tmp_path / "images")
    assert list((tmp_path / "images").iterdir()) == []


@pytest.mark.parametrize("more", ["", "+site1.2"])
async def test_helm_takes_the_chart_from_the_sites_registry(
    site: Server, client: Registry, tmp_path: Path, more: str
) -> None:
    chart = tmp_path / "edgesmith"
    shutil.copytree(CHART, chart)
    facts = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump(facts | {"version": f"{facts['version']}{more}"}))
    packed = chart_of(chart)
    assert packed.artifact.manifest == chart_of(chart).artifact.manifest, "the same files are the same bytes"
    gathering = Gathering(client)
    artifacts(gathering, [], [], chart)
    await write(gathering.contents, client, tmp_path / "a.tar")
    archive = Archive.open(tmp_path / "a.tar")
    await Push(archive, client, site.address).run()
    place = f"oci://{site.address}/charts/edgesmith"
    words = ["show", "crds", place, "--version", packed.version, "--plain-http"]
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = await asyncio.to_thread(
        subprocess.run, [str(tool("helm")), *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {one["kind"] for one in yaml.safe_load_all(done.stdout) if one} == {"CustomResourceDefinition"}


def test_a_folder_that_is_no_chart_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"a folder with a Chart\.yaml was expected"):
        chart_of(tmp_path)
