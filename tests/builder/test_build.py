"""Whole builds against a real registry and a real object store."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgesmith_builder.cli import chosen
from edgesmith_builder.contract import (
    KEY_ANNOTATION,
    REPORT_ANNOTATION,
    Artifact,
    BuildReport,
    Gates,
    Platform,
)
from edgesmith_builder.errors import DatasetInvalid, GatesFailed, ModelInvalid, NoCandidate
from edgesmith_builder.oci import Manifest, Reference, Registry
from edgesmith_runtime.bundle import read_bundle
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.golden import Golden, replay


def report_of(manifest: Manifest) -> BuildReport:
    return BuildReport.model_validate_json(manifest.annotations[REPORT_ANNOTATION])


async def blob(image: str, index: int | None) -> bytes:
    """A layer's bytes, or the config's."""
    reference = Reference.parse(image)
    async with Registry(plain_http=True) as client:
        manifest = await client.manifest(reference)
        assert manifest is not None
        descriptor = manifest.config if index is None else manifest.layers[index]
        return await client.read_blob(reference.repository, descriptor)


async def test_int8_is_first_and_the_image_holds_a_bundle_that_serves(world: Any, tmp_path: Path) -> None:
    built = await world.build(world.request())
    manifest = await world.manifest(built)
    report = report_of(manifest)
    assert report.precision == "int8"
    assert report.reference_accuracy == 1.0
    assert report.samples == 64
    assert [candidate.precision for candidate in report.candidates] == ["int8", "fp32"]
    assert report.size == manifest.layers[-1].size
    assert manifest.layers[-1].media_type.endswith(".tar")

    members: dict[int, list[tarfile.TarInfo]] = {}
    for number in (-2, -1):
        with tarfile.open(fileobj=io.BytesIO(await blob(built.image, number))) as archive:
            members[number] = archive.getmembers()
            archive.extractall(tmp_path / "image", filter="data")
    assert {number: [member.name for member in layer] for number, layer in members.items()} == {
        -2: ["model", "model/inputs.npz"],
        -1: ["model", "model/answers.npz", "model/bundle.json", "model/model.onnx"],
    }
    assert {(entry.mtime, entry.uid, entry.gid) for layer in members.values() for entry in layer} == {(0, 0, 0)}
    bundle = read_bundle(tmp_path / "image" / "model")
    assert bundle.precision == "int8"
    assert "model" not in json.loads((bundle.folder / "bundle.json").read_text()), "whoever serves it says its name"
    engine = load_engine(bundle.engine, bundle.model_path, threads=1)
    parity = replay(engine, Golden.read(*bundle.golden_paths))
    assert parity.agreeing == parity.samples == 8


async def test_every_finalist_is_an_image_of_its_own_and_the_first_names_the_others(world: Any) -> None:
    request = world.request()
    built = await world.build(request)
    manifest = await world.manifest(built)
    report = report_of(manifest)
    first, other = report.finalists
    assert (first.precision, first.digest, first.size) == ("int8", None, report.size)
    assert (other.precision, other.size) == ("fp32", report.of(other).size)
    repository = Reference.parse(built.image).repository
    async with Registry(plain_http=True) as client:
        found = await client.manifest(repository.tagged(f"{request.build.key}-fp32"))
        assert found is not None
        assert found.digest == other.digest
        evidence = await client.referrers(repository, found.digest)
    assert found.layers[:-1] == manifest.layers[:-1], "base and golden inputs are shared"
    assert found.layers[-1].digest != manifest.layers[-1].digest
    assert report_of(found) == report.of(other)
    assert (report_of(found).precision, report_of(found).accuracy, report_of(found).agreement) == ("fp32", 1.0, None)
    assert report_of(found).finalists == ()
    assert evidence, "a bill of materials and provenance of its own"


async def test_of_one_rung_there_is_one_image(world: Any) -> None:
    request = world.request(precisions=("fp32",))
    built = await world.build(request)
    assert [(one.precision, one.digest) for one in report_of(await world.manifest(built)).finalists] == [("fp32", None)]
    repository = Reference.parse(built.image).repository
    async with Registry(plain_http=True) as client:
        assert await client.manifest(repository.tagged(f"{request.build.key}-fp32")) is None


async def test_gates_are_judged_of_what_is_pushed_and_build_nothing(world: Any) -> None:
    """The same key under all gates: every candidate is there, and the report has what each gate asks about."""
    request = world.request()
    built = await world.build(request)
    repository = Reference.parse(built.image).repository
    sizes = {}
    async with Registry(plain_http=True) as client:
        for one, tag in zip(built.report.finalists, (request.build.key, f"{request.build.key}-fp32"), strict=True):
            found = await client.manifest(repository.tagged(tag))
            assert found is not None
            sizes[one.precision] = sum(layer.size for layer in found.layers)
    assert {one.precision: one.image_size for one in built.report.candidates} == sizes
    between = Gates(max_image_size=min(sizes.values()))
    again = await world.build(request.model_copy(update={"gates": between}))
    assert (again.cached, again.image, again.report) == (True, built.image, built.report)
    assert chosen(again, None) == built.image
    smallest = min(sizes, key=lambda name: sizes[name])
    digests = {one.precision: one.digest or built.image.partition("@")[2] for one in built.report.finalists}
    assert chosen(again, between) == str(repository.pinned(digests[smallest]))
    with pytest.raises(GatesFailed, match="no candidate keeps the gates: int8: the image has") as caught:
        chosen(again, Gates(max_image_size=1))
    assert all(candidate.rejected for candidate in caught.value.candidates)


async def test_the_config_is_the_base_s_with_two_more_layers(world: Any) -> None:
    request = world.request()
    built = await world.build(request)
    config = json.loads(await blob(built.image, None))
    manifest = await world.manifest(built)
    assert config["rootfs"]["diff_ids"][-2:] == [layer.digest for layer in manifest.layers[-2:]]
    assert [entry.get("comment") for entry in config["history"]] == [None, "golden inputs", "model bundle"]
    assert len(config["rootfs"]["diff_ids"]) == len(manifest.layers) == 3
    assert config["config"]["Entrypoint"] == ["/serve"]
    assert config["config"]["Labels"] == {
        "of": "base",
        KEY_ANNOTATION: request.build.key,
    }
    assert config["created"] == "1970-01-01T00:00:00Z"


async def test_another_architecture_is_assembled_here(world: Any) -> None:
    built = await world.build(world.request(platform=Platform(architecture="arm64", variant="v8")))
    config = json.loads(await blob(built.image, None))
    assert config["architecture"] == "arm64"


async def test_the_same_key_gives_the_same_digest(world: Any, monkeypatch: Any) -> None:
    first = await world.build(world.request())
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    second = await world.build(world.request())
    assert first.image.partition("@")[2] == second.image.partition("@")[2]
    assert first.image != second.image, "two repositories, so that nothing was found made"
    reports = [report_of(await world.manifest(built)) for built in (first, second)]
    assert reports[0].finalists == reports[1].finalists


async def test_a_build_made_before_is_found_and_nothing_is_fetched(world: Any) -> None:
    request = world.request()
    built = await world.build(request)
    nobody = world.store.settings.__class__(host="127.0.0.1:1", secure=False, region="us-east-1")
    again = await world.build(request, settings=nobody)
    assert again.cached
    assert again.image == built.image


async def test_a_tag_that_somebody_else_put_there_is_replaced(world: Any) -> None:
    request = world.request()
    stranger = await world.build(world.request(repository=request.repository, precisions=("fp32",)))
    repository = Reference.parse(stranger.image).repository
    async with Registry(plain_http=True) as client:
        manifest = await client.manifest(Reference.parse(stranger.image))
        assert manifest is not None
        await client.push_manifest(repository.tagged(request.build.key), manifest.to_bytes())
    built = await world.build(request)
    assert not built.cached
    assert built.image != stranger.image


async def test_an_image_under_the_key_that_is_not_over_the_base_is_replaced(world: Any) -> None:
    """Anybody who may push can compute the key and copy the annotations."""
    request = world.request()
    built = await world.build(request)
    reference = Reference.parse(built.image)
    manifest = await world.manifest(built)
    async with Registry(plain_http=True) as client:
        forged = replace(manifest, layers=(manifest.layers[-1], *manifest.layers[-2:]))
        await client.push_manifest(reference.repository.tagged(request.build.key), forged.to_bytes())
        again = await world.build(request)
        assert not again.cached
        assert again.image == built.image
        found = await client.manifest(reference.repository.tagged(request.build.key))
    assert found is not None
    assert found.digest == reference.digest


async def test_an_image_of_one_layer_over_the_base_as_older_builders_made_them_is_replaced(world: Any) -> None:
    request = world.request()
    built = await world.build(request)
    manifest = await world.manifest(built)
    async with Registry(plain_http=True) as client:
        older = replace(manifest, layers=(*manifest.layers[:-2], manifest.layers[-1]))
        await client.push_manifest(Reference.parse(built.image).repository.tagged(request.build.key), older.to_bytes())
    again = await world.build(request)
    assert (again.cached, again.image) == (False, built.image)


async def test_another_model_over_the_same_evaluation_set_has_the_same_inputs_layer(
    world: Any, make_classifier: Any
) -> None:
    first = await world.manifest(await world.build(world.request()))
    model = make_classifier()
    tensor = model.graph.initializer[0]
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(0.9), tensor.name))
    uri = world.store.put("surface/trained-again.onnx", model.SerializeToString())
    second = await world.manifest(await world.build(world.request(source=Artifact(uri=uri))))
    assert first.layers[-2] == second.layers[-2]
    assert first.layers[-1].digest != second.layers[-1].digest


async def test_without_calibration_int8_is_passed_over_with_a_sentence(world: Any) -> None:
    built = await world.build(world.request(calibration=None))
    report = report_of(await world.manifest(built))
    assert report.precision == "fp32"
    assert report.candidates[0].rejected is not None
    assert report.candidates[0].rejected.startswith("calibration is absent")


async def test_without_any_set_fp32_is_built_with_seeded_golden_samples(world: Any) -> None:
    request = world.request(calibration=None, evaluation=None, precisions=("fp32",))
    built = await world.build(request)
    report = report_of(await world.manifest(built))
    assert (report.precision, report.accuracy, report.samples) == ("fp32", None, None)


async def test_nan_is_given_to_the_model_where_the_request_says_that_it_is_a_missing_value(
    world: Any, sets: Any
) -> None:
    """This one makes NaN of NaN, so it is the model that is at fault then."""
    images = sets.images(8)
    images[3, 0, 0, 0] = np.nan
    evaluation = Artifact(uri=world.store.put("surface/holes.npz", sets.npz(image=images, labels=np.arange(8) % 4)))
    with pytest.raises(DatasetInvalid, match="NaN or infinity"):
        await world.build(world.request(evaluation=evaluation))
    with pytest.raises(ModelInvalid, match=r"'scores' has NaN or infinity for sample 3 of spec\.evaluation"):
        await world.build(world.request(evaluation=evaluation, missing_values="NaN"))


async def test_a_model_for_one_sample_at_a_time(world: Any, make_classifier: Any) -> None:
    uri = world.store.put("surface/one.onnx", make_classifier(batch=1).SerializeToString())
    built = await world.build(world.request(source=Artifact(uri=uri)))
    assert report_of(await world.manifest(built)).reference_accuracy == 1.0


async def test_an_old_opset_is_raised_for_int8(world: Any, make_classifier: Any) -> None:
    uri = world.store.put("surface/old.onnx", make_classifier(opset=11).SerializeToString())
    built = await world.build(world.request(source=Artifact(uri=uri), precisions=("int8",)))
    assert report_of(await world.manifest(built)).precision == "int8"


async def test_class_names_come_from_the_model(world: Any, make_classifier: Any, tmp_path: Path) -> None:
    model = make_classifier()
    onnx.helper.set_model_props(model, {"labels": '["good","scratch","dent","hole"]'})
    uri = world.store.put("surface/named.onnx", model.SerializeToString())
    built = await world.build(world.request(source=Artifact(uri=uri)))
    with tarfile.open(fileobj=io.BytesIO(await blob(built.image, -1))) as archive:
        archive.extractall(tmp_path / "image", filter="data")
    document = json.loads((tmp_path / "image" / "model" / "bundle.json").read_text())
    assert tuple(document["labels"]) == ("good", "scratch", "dent", "hole")


async def test_base_layers_are_mounted_within_a_registry(world: Any, caplog: Any) -> None:
    with caplog.at_level("INFO", logger="edgesmith_builder"):
        await world.build(world.request())
    assert "base layer 1 of 1 mounted from the base" in caplog.text
    assert "int8: accuracy" in caplog.text


async def test_base_layers_are_streamed_from_another_registry(world: Any, second_registry: str, caplog: Any) -> None:
    with caplog.at_level("INFO", logger="edgesmith_builder"):
        there = await world.build(world.request(repository=f"{second_registry}/team/surface"))
    here = await world.build(world.request())
    assert "base layer 1 of 1 uploaded" in caplog.text
    assert there.image.partition("@")[2] == here.image.partition("@")[2]
    assert (await blob(there.image, 0)) == (await blob(here.image, 0))


async def test_a_registry_with_a_login(world: Any, locked_registry: str, login: Any) -> None:
    request = world.request(repository=f"{locked_registry}/team/surface")
    built = await world.build(request, credentials=login(locked_registry, "right-password"))
    assert built.image.startswith(f"{locked_registry}/team/surface@sha256:")


async def test_int8_is_close_to_fp32(world: Any) -> None:
    built = await world.build(world.request())
    report = report_of(await world.manifest(built))
    assert report.accuracy is not None
    assert report.accuracy >= 0.9
    assert np.isclose(report.accuracy_drop or 0.0, 1.0 - report.accuracy)


async def test_a_model_that_came_in_int8_is_packed_as_it_is(world: Any, tmp_path: Path) -> None:
    built = await world.build(world.request())
    with tarfile.open(fileobj=io.BytesIO(await blob(built.image, -1))) as archive:
        archive.extractall(tmp_path / "image", filter="data")
    made = (tmp_path / "image" / "model" / "model.onnx").read_bytes()
    uri = world.store.put("surface/quantised.onnx", made)
    again = await world.build(world.request(source=Artifact(uri=uri), calibration=None))
    report = report_of(await world.manifest(again))
    assert (report.precision, report.accuracy_drop) == ("int8", 0.0)
    assert [candidate.size for candidate in report.candidates] == [len(made), None]
    with pytest.raises(NoCandidate, match="fp32: the model came in int8, and there is no fp32 form of it"):
        await world.build(world.request(source=Artifact(uri=uri), precisions=("fp32",)))


async def test_a_model_whose_input_has_no_shape_is_built_with_the_axes_of_its_sets(world: Any, tmp_path: Path) -> None:
    name = world.source.removeprefix("s3://models/")
    world.store.client.fget_object(bucket_name="models", object_name=name, file_path=str(tmp_path / "source.onnx"))
    model = onnx.load_model(tmp_path / "source.onnx")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    uri = world.store.put("surface/shapeless.onnx", model.SerializeToString())
    built = await world.build(world.request(source=Artifact(uri=uri)))
    with tarfile.open(fileobj=io.BytesIO(await blob(built.image, -1))) as archive:
        archive.extractall(tmp_path / "image", filter="data")
    facts = json.loads((tmp_path / "image" / "model" / "bundle.json").read_text())
    assert [spec["shape"] for spec in facts["inputs"]] == [[-1, -1, -1, -1]]
    assert report_of(await world.manifest(built)).precision == "int8"
