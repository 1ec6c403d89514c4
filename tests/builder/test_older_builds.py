"""Builds for a base image whose ONNX Runtime is older than the builder's: what is packed is what that one reads."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import onnx
import pytest
from rebase_site import manifest_of

from edgesmith_builder.contract import Artifact, Earlier, Toolchain
from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.oci import Reference, Registry
from edgesmith_builder.pack import VERSION_LABEL

OLD, SAME, OTHER = ({VERSION_LABEL: version} for version in ("1.19.2", "1.19.1", "1.23.2"))


@pytest.fixture
def newer_source(world: Any, make_classifier: Any) -> Artifact:
    """The classifier in a set of operators that came long after ONNX Runtime 1.19."""
    model = make_classifier(opset=26)
    model.ir_version = 13
    return Artifact(uri=world.store.put("surface/newer.onnx", model.SerializeToString()))


async def over(world: Any, push_base: Any, labels: dict[str, str]) -> str:
    base: str = await push_base(world.registry, labels=labels)
    return base


async def models_in(image: str, finalists: Any) -> list[onnx.ModelProto]:
    """The model of each finalist's image."""
    found = []
    repository = Reference.parse(image).repository
    for finalist in finalists:
        reference = repository.pinned(finalist.digest) if finalist.digest else Reference.parse(image)
        layer = (await manifest_of(reference)).layers[-1]
        async with Registry(plain_http=True) as client:
            packed = await client.read_blob(repository, layer)
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            file = archive.extractfile("model/model.onnx")
            assert file is not None
            found.append(onnx.load_from_string(file.read()))
    return found


def numbers(model: onnx.ModelProto) -> tuple[int, int]:
    return max(one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), model.ir_version


async def test_every_candidate_is_what_the_older_one_reads_and_is_measured(
    world: Any, push_base: Any, newer_source: Artifact
) -> None:
    base = await over(world, push_base, OLD)
    built = await world.build(world.request(source=newer_source, base=base))
    assert [one.precision for one in built.report.finalists] == ["int8", "fp32"]
    for model in await models_in(built.image, built.report.finalists):
        opset, ir_version = numbers(model)
        assert opset <= 21
        assert ir_version <= 10
    assert built.report.engine_version == "1.19.2"
    words = (
        "The model came in opset 26, and ONNX's converter wrote it in opset 21 for ONNX Runtime 1.19.2, "
        "which serves it."
    )
    assert [one.warnings for one in built.report.finalists] == [(words,), (words,)]
    whole = built.report.candidate("fp32")
    assert (whole.accuracy, whole.agreement) == (1.0, 1.0)
    assert whole.agreement_samples, "what was rewritten is asked, though nothing was quantised"


async def test_where_the_image_says_nothing_the_model_stays_as_it_came(world: Any, newer_source: Artifact) -> None:
    built = await world.build(world.request(source=newer_source, precisions=("fp32",)))
    (model,) = await models_in(built.image, built.report.finalists)
    assert numbers(model) == (26, 13)
    assert (built.report.engine_version, built.report.warnings) == (None, ())


async def test_the_profile_s_word_counts_before_the_image_s(world: Any, push_base: Any, newer_source: Artifact) -> None:
    base = await over(world, push_base, OLD)
    built = await world.build(
        world.request(source=newer_source, base=base, engine_version="1.24", precisions=("fp32",))
    )
    (model,) = await models_in(built.image, built.report.finalists)
    assert numbers(model) == (25, 13)
    assert built.report.engine_version == "1.24"


async def test_what_cannot_be_written_so_is_refused_by_what_the_image_says(world: Any, push_base: Any) -> None:
    node = onnx.helper.make_node("Swish", ["image"], ["scores"])
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["batch", 4]) for name in ("image", "scores")]
    graph = onnx.helper.make_graph([node], "graph", ends[:1], ends[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 24)], ir_version=8)
    source = Artifact(uri=world.store.put("surface/swish.onnx", model.SerializeToString()))
    request = world.request(
        source=source, base=await over(world, push_base, OLD), calibration=None, evaluation=None, precisions=("fp32",)
    )
    with pytest.raises(ModelInvalid, match=r"1\.19\.2, which serves it \(as its base image says\)$"):
        await world.build(request)


@pytest.mark.parametrize(("labels", "rebased"), [(SAME, "yes"), (OTHER, "no"), ({}, "no")])
async def test_layers_are_taken_over_between_bases_of_one_release_alone(
    labels: dict[str, str], rebased: str, world: Any, push_base: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "edgesmith_builder")
    files = {
        role: Artifact(uri=uri, sha256=world.digest(uri))
        for role in ("source", "calibration", "evaluation")
        for uri in [getattr(world, role)]
    }
    request = world.request(base=await over(world, push_base, OLD), precisions=("fp32",), **files)
    before = await world.build(request)
    known = Earlier(digest=before.image.partition("@")[2], bundle=request.build.bundle_key("Edgesmith"))
    newer = request.build.model_copy(update={"base": await over(world, push_base, {**labels, "of": "another"})})
    after = await world.build(request.model_copy(update={"build": newer, "earlier": known}))
    assert (f"re-based from {before.image}" in caplog.text) is (rebased == "yes")
    assert (after.report.rebased_from is not None) is (rebased == "yes")
    assert ("is for ONNX Runtime 1.19.2, and the base has " in caplog.text) is (rebased == "no")


async def test_another_engine_reads_no_onnx(world: Any, push_base: Any, newer_source: Artifact) -> None:
    base = await over(world, push_base, OLD)
    request = world.request(source=newer_source, base=base, toolchain=Toolchain(name="OpenVINO", precisions=("fp32",)))
    built = await world.build(request)
    assert built.report.engine_version is None
    assert [one.precision for one in built.report.finalists] == ["fp32"]
