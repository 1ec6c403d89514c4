"""Builds of alternatives: held against the source that they may stand in for, in what they take, answer and score."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from candidates import FLOAT, INT64, made, node

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.decide.builds import BuildState
from edgesmith.decide.built_for_sites import wanted
from edgesmith.decide.contestants import contestants
from edgesmith.decide.judging import judged
from edgesmith.decide.settings import Settings
from edgesmith_builder.build import Built
from edgesmith_builder.contract import Artifact, BuildRequest, Reference
from edgesmith_builder.errors import DigestMismatch, InterfaceMismatch, ModelInvalid, ModelTooLarge, failure_of
from edgesmith_builder.metric.proportion import change_of
from edgesmith_builder.oci import Reference as ImageReference
from edgesmith_builder.oci import Registry
from edgesmith_runtime.bundle import BUNDLE_FILE

RNG = np.random.default_rng(3)
X = RNG.normal(size=(200, 4)).astype(np.float32)
RIGHT = (X[:, 0] > 0).astype(np.int64)
EXAMPLE = Path(__file__).parents[2] / "examples" / "predictive-maintenance"


def linear(
    feature: int = 0,
    *,
    inputs: tuple[str, int, list[Any]] = ("window", FLOAT, ["n", 4]),
    outputs: str = "probabilities",
    weight: float = 3.0,
    noise: float = 0.0,
    classes: int = 2,
    labels: list[str] | None = None,
) -> bytes:
    """A classifier that reads one feature, and another a little."""
    weights = np.zeros((4, classes), np.float32)
    weights[feature, :2] = -weight, weight
    weights[1, :2] = -noise, noise
    # Through a layer that is wide enough to be worth quantising, and back.
    wide, back = np.tile(weights, 256), np.tile(np.eye(classes, dtype=np.float32) / 256, (256, 1))
    nodes = [
        node("MatMul", [inputs[0], "wide"], ["hidden"]),
        node("MatMul", ["hidden", "back"], ["scores"]),
        node("Softmax", ["scores"], [outputs], axis=1),
    ]
    named = json.dumps(labels) if labels else None
    model = made(nodes, [inputs], [(outputs, FLOAT, ["n", classes])], {"wide": wide, "back": back}, named)
    return bytes(model.SerializeToString())


def request(world: Any, sets: Any, source: bytes, alternative: bytes, name: str = "other", **changes: Any) -> Any:
    """A build of an alternative to a source, over sets whose array is called `window`."""
    number = f"alternatives/{next(world.numbers)}"
    put = world.store.put
    evaluation = put(f"{number}/e.npz", sets.npz(window=X, labels=RIGHT))
    fields: dict[str, Any] = {
        "source": Artifact(uri=put(f"{number}/other", alternative)),
        "reference": Reference(source=Artifact(uri=put(f"{number}/source", source))),
        "calibration": Artifact(uri=put(f"{number}/c.npz", sets.npz(window=X[:50]))),
        "evaluation": Artifact(uri=evaluation),
        "precisions": ("fp32",),
    }
    return world.request(**{**fields, **changes}).model_copy(update={"alternative": name})


async def test_the_source_need_not_fit_the_device_that_the_alternative_is_for(world: Any, sets: Any) -> None:
    """It runs in the build alone; an alternative that is too large itself is refused."""
    light = linear(noise=0.1)
    heavy = onnx.load_from_string(linear())
    heavy.doc_string = "x" * 9000
    memory = len(light) + 1000
    built = await world.build(request(world, sets, heavy.SerializeToString(), light, device_memory=memory))
    assert built.report.precision == "fp32"
    with pytest.raises(ModelTooLarge, match=r"spec\.optimize\.alternatives\[other\]\.source\.uri .* is larger than"):
        await world.build(request(world, sets, light, heavy.SerializeToString(), device_memory=memory))


async def test_its_drop_is_counted_from_the_source_over_the_same_samples(world: Any, sets: Any) -> None:
    built = await world.build(request(world, sets, linear(), linear(noise=2.0), precisions=("fp32", "int8")))
    report = built.report
    wrong = int(((3 * X[:, 0] + 2 * X[:, 1] > 0) != RIGHT).sum())
    expected = change_of(wrong, 0, len(X))
    own = report.candidate("fp32")
    assert (report.reference_accuracy, report.source_accuracy) == (1.0, own.accuracy)
    assert own.accuracy == pytest.approx(1 - wrong / len(X), abs=1e-6)
    assert (own.accuracy_drop, own.accuracy_drop_error, own.lost, own.gained) == (
        (expected.drop, expected.error, wrong, 0)
    )
    assert own.agreement is None, "the alternative as it came agrees with itself"
    quantised = report.candidate("int8")
    assert quantised.rejected is None
    assert quantised.accuracy_drop == pytest.approx(own.accuracy_drop, abs=0.05)
    assert quantised.agreement is not None
    assert quantised.agreement > 0.95, "with the alternative itself, not with the source"


async def test_one_that_is_better_than_the_source_has_a_negative_drop(world: Any, sets: Any) -> None:
    built = await world.build(request(world, sets, linear(noise=2.0), linear()))
    drop, gained = built.report.candidate("fp32").accuracy_drop, built.report.candidate("fp32").gained
    assert drop is not None
    assert drop < -0.1
    assert gained == pytest.approx(-drop * len(X))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param(
            {"inputs": ("window", FLOAT, [1, 4])}, r"takes window FP32\[1,4\]; window FP32\[-1,4\]", id="a-fixed-batch"
        ),
        pytest.param(
            {"classes": 3}, r"answers probabilities FP32\[-1,3\]; probabilities FP32\[-1,2\]", id="a-class-more"
        ),
        pytest.param(
            {"labels": ["bad", "good"]}, r"names its classes 'bad', 'good'; 'good', 'bad'", id="other-classes"
        ),
    ],
)
async def test_one_that_takes_or_answers_otherwise_is_refused(
    changes: dict[str, Any], says: str, world: Any, sets: Any
) -> None:
    source = linear(labels=["good", "bad"])
    with pytest.raises(InterfaceMismatch, match=says) as caught:
        await world.build(request(world, sets, source, linear(**changes), name="gru"))
    failure = failure_of(caught.value)
    assert (failure.reason, failure.retry) == ("InterfaceMismatch", False)
    assert failure.message.startswith("spec.optimize.alternatives[gru].source.uri s3://")


async def test_an_output_more_or_less_is_another_interface(world: Any, sets: Any) -> None:
    weights = {"w": np.zeros((4, 2), np.float32)}
    nodes = [
        node("MatMul", ["window", "w"], ["scores"]),
        node("Softmax", ["scores"], ["probabilities"], axis=1),
        node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [("probabilities", FLOAT, ["n", 2]), ("label", INT64, ["n"])]
    both = made(nodes, [("window", FLOAT, ["n", 4])], outputs, weights).SerializeToString()
    with pytest.raises(InterfaceMismatch, match="label INT64"):
        await world.build(request(world, sets, linear(), both))
    with pytest.raises(InterfaceMismatch, match="label INT64"):
        await world.build(request(world, sets, both, linear()))


async def test_it_is_served_with_the_names_that_the_source_gives_classes(world: Any, sets: Any) -> None:
    built = await world.build(request(world, sets, linear(labels=["good", "bad"]), linear(noise=1.0)))
    assert (await bundle(world, built))["labels"] == ["good", "bad"]


async def test_what_is_wrong_with_the_source_is_said_of_the_source(world: Any, sets: Any) -> None:
    with pytest.raises(ModelInvalid, match=r"^spec\.source\.uri s3://"):
        await world.build(request(world, sets, b"no model", linear()))
    wanted = request(world, sets, linear(), linear())
    source = wanted.build.reference.source
    wrong = Reference(source=source.model_copy(update={"sha256": "0" * 64}))
    spoilt = wanted.model_copy(update={"build": wanted.build.model_copy(update={"reference": wrong})})
    with pytest.raises(DigestMismatch, match=r"^spec\.source\.sha256 is 0000"):
        await world.build(spoilt)


async def test_the_key_names_what_it_is_held_against_and_not_what_it_is_called(world: Any, sets: Any) -> None:
    wanted = request(world, sets, linear(), linear(noise=1.0))
    build = wanted.build
    assert build.key != build.model_copy(update={"reference": None}).key
    other = Reference(source=Artifact(uri="s3://m/elsewhere"))
    assert build.key != build.model_copy(update={"reference": other}).key
    there = Artifact(uri="s3://m/x", sha256="1" * 64)
    moved = there.model_copy(update={"uri": "s3://m/y"})
    keys = {build.model_copy(update={"reference": Reference(source=one)}).key for one in (there, moved)}
    assert len(keys) == 1
    first = await world.build(wanted)
    again = await world.build(wanted.model_copy(update={"alternative": "another"}))
    assert (again.image, again.cached) == (first.image, True)


async def test_the_pump_is_built_as_its_manifest_says_and_one_alternative_breaks_the_gate(world: Any) -> None:
    """From the example's EdgeModel through the operator's own builds to what its gates leave."""
    manifest = yaml.safe_load((EXAMPLE / "edgemodels.yaml").read_text())
    manifest["metadata"]["namespace"] = "plant"
    model = EdgeModel.model_validate(manifest)
    profile = DeviceProfile.model_validate(
        {
            "metadata": {"name": "generic-amd64"},
            "spec": {"nodeSelector": {"kubernetes.io/arch": "amd64"}, "platform": {"architecture": "amd64"}},
        }
    )
    settings = Settings(runtime_images={"onnxruntime": world.base}, builder_image="r/b@sha256:0", repository="r")
    for file in EXAMPLE.iterdir():
        if file.suffix in (".skops", ".onnx", ".npz"):
            world.store.put(f"pump/1/{file.name}", file.read_bytes())
    found = []
    for (_, name), build in wanted(model, (profile,), settings).items():
        repository = f"{world.registry}/plant/pump"
        alternative = name if build.reference else None
        asked = BuildRequest(build=build, repository=repository, plain_http=True, alternative=alternative)
        built: Built = await world.build(asked)
        found.append(judged(BuildState(profile, build, "Built", built.image, built.report, alternative=name), model))
    both = contestants(found, trial=True)
    drops = {one.name: float((one.accuracy_drop or "0").rstrip("%")) for one in both.finalists()}
    assert {"source/fp32", "svm/fp32", "forest/fp32"} <= set(drops)
    assert not any(name.startswith("gru") for name in drops)
    assert drops["source/fp32"] == 0.0
    assert drops["svm/fp32"] == pytest.approx(-9.0, abs=0.5)
    (gru,) = (one for one in both.states if one.alternative == "gru")
    assert gru.reason == "GatesFailed"
    assert "accuracy drops by 0.06" in gru.message
    assert "at most 0.0400 is allowed by spec.gates.maxAccuracyDrop" in gru.message


async def bundle(world: Any, built: Built) -> Any:
    """What the bundle of an image says of itself."""
    reference = ImageReference.parse(built.image)
    async with Registry(plain_http=True) as client:
        layer = (await world.manifest(built)).layers[-1]
        packed = io.BytesIO(await client.read_blob(reference.repository, layer))
    with tarfile.open(fileobj=packed) as archive:
        file = archive.extractfile(f"model/{BUNDLE_FILE}")
        assert file is not None
        return json.loads(file.read())
