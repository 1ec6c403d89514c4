"""What an export takes: the builds that the status names, and manifests that a site can apply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import BILL, CONFIGURED, CONTENT, IMAGE, KEY, ArchiveError, Hub
from authority import Authority
from services import Server, start_registry
from snapshots import SETTINGS, model

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.archive.gather import Gathering, Wanted
from edgesmith.archive.opened import Archive
from edgesmith.archive.roots import Root
from edgesmith.archive.write import write
from edgesmith.cli.archive.exporting import as_json, images_of
from edgesmith.cli.archive.manifests import bare, with_digests
from edgesmith.cli.archive.registries import Registries
from edgesmith.decide.settings import Settings
from edgesmith_builder.contract import base_tag
from edgesmith_builder.oci import BytesBlob, Descriptor, Reference, Referrer, Registry, Repository, speaks_https
from edgesmith_builder.oci.content import INDEX, MANIFEST, canonical, digest_of
from edgesmith_builder.oci.referrers import Listed, list_tag, with_entries

RAW = {
    "apiVersion": "edgesmith.dev/v1alpha1",
    "kind": "EdgeModel",
    "metadata": {
        "name": "parts",
        "namespace": "plant",
        "uid": "u",
        "resourceVersion": "7",
        "labels": {"team": "a"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "note": "kept"},
    },
    "status": {"conditions": []},
}


def looked_at(field: str, uri: str, digit: str) -> dict[str, str]:
    at = "2030-01-01T00:00:00Z"
    return {"field": field, "uri": uri, "sha256": digit * 64, "validator": "v", "resolvedAt": at}


def test_a_site_gets_the_spec_and_nothing_that_the_hub_wrote() -> None:
    assert bare(RAW | {"spec": {"a": 1}}) == {
        "apiVersion": "edgesmith.dev/v1alpha1",
        "kind": "EdgeModel",
        "metadata": {"name": "parts", "namespace": "plant", "labels": {"team": "a"}, "annotations": {"note": "kept"}},
        "spec": {"a": 1},
    }


def test_digests_that_the_hub_found_out_are_filled_in_wherever_the_file_stands() -> None:
    spec: dict[str, Any] = {
        "source": {"uri": "s3://mod/a.onnx"},
        "compiled": [{"toolchain": "EdgeTPU", "uri": "s3://mod/a.tflite"}],
        "evaluation": {"uri": "s3://mod/e.npz", "sha256": "e" * 64},
        "optimize": {
            "alternatives": [
                {"name": "lstm", "source": {"uri": "s3://mod/l.onnx", "sha256": "f" * 64}},
                {"name": "gru", "source": {"uri": "s3://mod/g.onnx"}},
            ]
        },
        "gates": {"minAccuracy": "90%"},
        "deviceProfiles": {"names": ["amd64"]},
    }
    entries = [
        looked_at("source", "s3://mod/a.onnx", "a") | {"bytes": 700},
        looked_at("compiled[EdgeTPU]", "s3://mod/a.tflite", "b"),
        looked_at("optimize.alternatives[gru].source", "s3://mod/g.onnx", "c"),
        looked_at("calibration", "s3://mod/none.npz", "d"),
    ]
    status = {"sources": entries}
    read = EdgeModel.model_validate(
        {"metadata": {"name": "parts", "namespace": "plant"}, "spec": spec, "status": status}
    )
    found = with_digests(RAW | {"spec": spec}, read)["spec"]
    assert found["source"] == {"uri": "s3://mod/a.onnx", "sha256": "a" * 64, "bytes": 700}
    assert found["compiled"][0]["sha256"] == "b" * 64
    assert [one["source"]["sha256"] for one in found["optimize"]["alternatives"]] == ["f" * 64, "c" * 64]
    assert found["evaluation"]["sha256"] == "e" * 64
    assert "calibration" not in found
    assert "sha256" not in spec["source"], "what was read is left as it was"
    again = read.model_copy(update={"status": {"sources": entries[:1] + entries[2:]}})
    with pytest.raises(ArchiveError, match=r"plant/parts has no digest for spec\.compiled\[EdgeTPU\] yet; wait until"):
        with_digests(RAW | {"spec": spec}, again)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_registry(tmp_path_factory.mktemp("hub"))
    yield server
    server.stop()


def built(image: str) -> EdgeModel:
    """An EdgeModel whose status names an image for a build."""
    nodes = {"desired": 0, "updated": 0, "ready": 0, "notReady": 0, "failed": 0}
    variant = {"profile": "amd64", "buildKey": KEY, "image": image, "state": "Built", "nodes": nodes}
    return model().model_copy(update={"status": {"observedGeneration": 1, "variants": [variant]}})


async def test_every_candidate_and_the_runtime_are_taken_along(registry: Server) -> None:
    hub = Hub(registry.address)
    await hub.fill()
    settings = Settings({"onnxruntime": hub.runtime}, None, f"{registry.address}/models", operator_image=hub.runtime)
    async with Registry(plain_http=True) as client:
        gathering = Gathering(client)
        found = await images_of(gathering, [({}, built(hub.model))], settings, [])
        listed = {(root.role, root.tag, root.descriptor.digest) for root in gathering.contents.roots}
    assert listed >= {("model", KEY, hub.model.partition("@")[2]), ("model", None, hub.digests["fp32"])}
    assert [(one.role, str(one.reference)) for one in found] == [("runtime", hub.runtime), ("operator", hub.runtime)]


async def test_what_looks_for_room_for_a_large_image_is_taken_along(registry: Server) -> None:
    hub = Hub(registry.address, namespace="large", large=True)
    await hub.fill()
    settings = Settings({"onnxruntime": hub.runtime}, None, f"{registry.address}/models")
    large = built(hub.model)
    large = large.model_copy(update={"metadata": large.metadata.model_copy(update={"namespace": "large"})})
    async with Registry(plain_http=True) as client:
        gathering = Gathering(client)
        await images_of(gathering, [({}, large)], settings, [])
    digest = hub.digests["base"]
    assert ("model", base_tag(digest), digest) in {
        (root.role, root.tag, root.descriptor.digest) for root in gathering.contents.roots
    }


@pytest.mark.parametrize("of", [None, Descriptor.of(b"another", MANIFEST)])
async def test_what_a_list_names_and_hangs_elsewhere_is_left_where_it_is(
    registry: Server, tmp_path: Path, of: Descriptor | None
) -> None:
    hub = Hub(registry.address, namespace=f"stray-{'other' if of else 'none'}")
    await hub.fill()
    models = Reference.parse(hub.model).repository
    content = BytesBlob(b'{"a": "stray"}', BILL.artifact_type)
    raw = Referrer(BILL.artifact_type, content).to_bytes(of or Descriptor.of(b"", MANIFEST))
    raw = canonical({key: value for key, value in json.loads(raw).items() if of or key != "subject"})
    stray = Listed(Descriptor.of(raw, MANIFEST), BILL.artifact_type)
    subject = hub.model.partition("@")[2]
    async with Registry(plain_http=True) as client:
        await client.push_blob(models, content)
        (bill,) = await client.referrers(models, subject)
        await client.push_manifest(models.pinned(stray.descriptor.digest), raw)
        await client.push_manifest(models.tagged(list_tag(subject)), with_entries(None, [stray, bill]), INDEX)
        assert stray in await client.referrers(models, subject)
        gathering = await hub.gathered(client)
        await write(gathering.contents, client, tmp_path / "parts.tar")
    archive = Archive.open(tmp_path / "parts.tar")
    archive.check()
    assert stray.descriptor.digest not in archive.documents
    assert content.descriptor.digest not in archive.blobs
    assert bill.descriptor.digest in archive.documents


async def test_an_image_under_the_key_that_is_not_the_statuss_is_not_taken(registry: Server) -> None:
    hub = Hub(registry.address)
    await hub.fill()
    settings = Settings({"onnxruntime": hub.runtime}, None, f"{registry.address}/models")
    other = f"{hub.model.partition('@')[0]}@sha256:{'e' * 64}"
    async with Registry(plain_http=True) as client:
        with pytest.raises(ArchiveError, match=f"sha256:{'e' * 64} was expected by the status"):
            await images_of(Gathering(client), [({}, built(other))], settings, [])


async def test_a_build_that_is_not_made_yet_is_named() -> None:
    waiting = built("").model_copy(update={"status": {**built("x").status}})
    waiting.status["variants"][0].pop("image")
    waiting.status["variants"][0]["message"] = "Building for amd64."
    async with Registry(plain_http=True) as client:
        with pytest.raises(ArchiveError, match=r"plant/parts has no build for amd64 yet: Building for amd64\."):
            await images_of(Gathering(client), [({}, waiting)], SETTINGS, [])


async def test_an_edgemodel_that_was_edited_since_its_builds_is_not_exported() -> None:
    edited = built("127.0.0.1:9/models@sha256:" + "a" * 64)
    edited = edited.model_copy(update={"metadata": edited.metadata.model_copy(update={"generation": 2})})
    async with Registry(plain_http=True) as client:
        with pytest.raises(
            ArchiveError, match=r"plant/parts has not been looked at .* is 1 and metadata\.generation 2"
        ):
            await images_of(Gathering(client), [({}, edited)], SETTINGS, [])


async def test_http_is_spoken_to_the_registry_of_builds_and_to_others_without_tls(
    registry: Server, tmp_path: Path
) -> None:
    authority = Authority.make(tmp_path / "authority")
    (tmp_path / "tls").mkdir()
    (tmp_path / "plain").mkdir()
    secure = start_registry(tmp_path / "tls", tls=authority.sign("registry"))
    plain = start_registry(tmp_path / "plain")
    hub = Hub(registry.address, namespace="apart")
    await hub.fill()
    settings = Settings(
        {"onnxruntime": hub.runtime},
        None,
        f"{registry.address}/models",
        plain_http=True,
        registry_ca=authority.pem,
    )
    try:
        named = [await operator_in(one, authority) for one in (secure, plain)]
        async with Registries(settings, None, attempts=1) as client:
            gathering = Gathering(client)
            for image in (hub.model, *named):
                await gathering.add(Wanted("operator", Reference.parse(image)))
            await write(gathering.contents, client, tmp_path / "a.tar")
    finally:
        secure.stop()
        plain.stop()
    archive = Archive.open(tmp_path / "a.tar")
    archive.check()
    assert {one.partition("@")[2] for one in named} <= {root.descriptor.digest for root in archive.roots}


async def operator_in(server: Server, authority: Authority) -> str:
    """An image in a registry, which speaks TLS or does not."""
    place = Repository.parse(f"{server.address}/edgesmith/operator")
    async with Registry(not await speaks_https(server.address), authorities=authority.pem) as client:
        for blob in (CONTENT, CONFIGURED):
            await client.push_blob(place, blob)
        return str(place.pinned(await client.push_manifest(place.pinned(digest_of(IMAGE)), IMAGE, MANIFEST)))


def test_programs_are_told_of_all_that_is_in_the_file() -> None:
    descriptor = Descriptor.of(b"{}", MANIFEST)
    roots = [Root(descriptor, "model", "models/plant/models", KEY), Root(descriptor, "referrer", "models/plant/models")]
    told = json.loads(as_json(roots, Path("parts.tar"), 10240))
    where = {"repository": "models/plant/models", "digest": descriptor.digest}
    assert told == {
        "file": "parts.tar",
        "bytes": 10240,
        "images": [{"role": "model", "tag": KEY, **where}, {"role": "referrer", "tag": None, **where}],
    }
