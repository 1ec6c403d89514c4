"""Profiles that nothing can be built or served for: one condition that says what to change, and nothing else stops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from clusters import Cluster, labels, publish, three_nodes
from snapshots import SETTINGS, model, node, profile, said, sentence

from edgesmith.decide.builds import build_for
from edgesmith.decide.refusals import refusal, usable
from edgesmith.decide.serving import serving
from edgesmith.decide.toolchain import base_image, flavour_of, toolchain_of

OTHER = f"other:5000/mine/runtime@sha256:{'7' * 64}"
KEPT = "; its nodes keep what they run."


@pytest.mark.parametrize(
    ("spec", "reason", "says"),
    [
        pytest.param(
            {"toolchain": {"options": {"reduceRanges": "true"}}},
            "ProfileInvalid",
            "spec.toolchain.options has 'reduceRanges'; one of activations, perChannel, reduceRange, weights was "
            "expected for ONNXRuntime",
            id="an unknown option",
        ),
        pytest.param(
            {"toolchain": {"options": {"activations": "int4"}}},
            "ProfileInvalid",
            "spec.toolchain.options.activations is 'int4'; uint8 or int8 was expected",
            id="an unknown value",
        ),
        pytest.param(
            {"toolchain": {"precisions": ["fp16"]}},
            "ProfileInvalid",
            "spec.toolchain.precisions has fp16, which ONNXRuntime does not make; int8, "
            "int8-mixed, int8-dynamic or fp32 was expected",
            id="a precision that is not made",
        ),
        pytest.param(
            {"toolchain": {"precisions": ["fp32", "fp32"]}},
            "ProfileInvalid",
            "spec.toolchain.precisions is fp32, fp32; each precision once was expected",
            id="a precision twice",
        ),
        pytest.param(
            {"toolchain": {"precisions": ["int8", "fp32"], "impossible": {"int8": "no such units."}}},
            "ProfileInvalid",
            "spec.toolchain.precisions has int8, which spec.toolchain.impossible says cannot be run (no such units); "
            "one of the two was expected",
            id="an impossible precision",
        ),
        pytest.param(
            {"toolchain": {"name": "EdgeTPU", "impossible": {"int8": "no"}}},
            "ProfileInvalid",
            "spec.toolchain.impossible has int8, all that EdgeTPU tries by itself; spec.toolchain.precisions was "
            "expected",
            id="nothing left",
        ),
        pytest.param(
            {"runtime": {"engineVersion": "1.8.1"}},
            "ProfileInvalid",
            "spec.runtime.engineVersion is 1.8.1; 1.16 or newer was expected, since what an older ONNX Runtime reads "
            "is not known",
            id="an engine whose version nobody knows",
        ),
        pytest.param(
            {"toolchain": {"name": "LiteRT"}, "runtime": {"engineVersion": "1.23.2"}},
            "ProfileInvalid",
            "spec.runtime.engineVersion is 1.23.2, the version of ONNX Runtime, and LiteRT is run by litert; it was "
            "expected to be absent",
            id="a version of an engine that does not run it",
        ),
        pytest.param(
            {"toolchain": {"name": "QNN"}},
            "BuilderImageNotSet",
            "QNN compiles with its vendor's packages, which the builder of this installation has not; the Helm value "
            "image.builders.qnn was expected",
            id="no builder with a vendor's packages",
        ),
        pytest.param(
            {"toolchain": {"name": "QNN", "options": {"soc": "QCS8550"}}, "hardware": {"soc": "QCS6490"}},
            "ProfileInvalid",
            "spec.toolchain.options.soc is QCS8550 and spec.hardware.soc is QCS6490; the same was expected of both",
            id="a binary for another system on chip",
        ),
        pytest.param(
            {"toolchain": {"name": "QNN"}, "hardware": {"soc": "QCS9100"}},
            "ProfileInvalid",
            "spec.toolchain.options.soc is QCS6490 and spec.hardware.soc is QCS9100; the same was expected of both",
            id="a binary for another system on chip by default",
        ),
        pytest.param(
            {"toolchain": {"name": "LiteRT"}, "runtime": {"server": "Triton", "baseImage": OTHER}},
            "ProfileInvalid",
            "spec.runtime.server is Triton, which does not run what LiteRT makes; Edgesmith was expected",
            id="a server that runs something else",
        ),
        pytest.param(
            {"toolchain": {"name": "TensorRT"}, "runtime": {"baseImage": OTHER}},
            "ProfileInvalid",
            "spec.runtime.server is Edgesmith, which does not run what TensorRT makes; Triton was expected",
            id="a toolchain for another server",
        ),
        pytest.param(
            {"runtime": {"server": "Triton"}},
            "RuntimeImageNotSet",
            "it needs a runtime base image with triton, and spec.runtime.baseImage is absent; that or the Helm value "
            "image.runtime.triton was expected",
            id="no image with Triton",
        ),
        pytest.param(
            {"toolchain": {"compilerImage": OTHER}},
            "ProfileInvalid",
            f"spec.toolchain.compilerImage is {OTHER}, and ONNXRuntime takes none; none was expected",
            id="a compiler for nothing",
        ),
        pytest.param(
            {"toolchain": {"name": "EdgeTPU"}},
            "CompilerNotSet",
            "the compiler of EdgeTPU is its vendor's and no part of the builder; a compiled file in the EdgeModel's "
            "spec.compiled or an image with the compiler in spec.toolchain.compilerImage was expected",
            id="no compiler",
        ),
        pytest.param(
            {"toolchain": {"name": "EdgeTPU", "compilerImage": OTHER}},
            "RuntimeImageNotSet",
            "it needs a runtime base image with litert, and spec.runtime.baseImage is absent; that or the Helm value "
            "image.runtime.litert was expected",
            id="a compiler, and LiteRT's image is what the Edge TPU's engine needs",
        ),
        pytest.param(
            {"toolchain": {"name": "LiteRT"}},
            "RuntimeImageNotSet",
            "it needs a runtime base image with litert, and spec.runtime.baseImage is absent; that or the Helm value "
            "image.runtime.litert was expected",
            id="no image of the flavour",
        ),
    ],
)
def test_a_profile_that_cannot_be_used_is_one_condition_and_stops_nothing_else(
    spec: dict[str, Any], reason: str, says: str
) -> None:
    cluster = Cluster(
        edge_model=model(deviceProfiles={"names": ["amd64", "board"]}),
        profiles=(profile(), profile("board", **spec)),
        nodes={"e1": node("e1"), "b1": node("b1", "board")},
    )
    plan = cluster.run(25)
    assert sentence(plan) == f"DeviceProfile 'board': {says}{KEPT}"
    for condition in ("Stalled", "ProfilesResolved"):
        assert said(plan)[condition] == ("True" if condition == "Stalled" else "False", reason)
    assert said(plan)["BuildsReady"] == ("True", "Succeeded")
    assert {job.profile for job in cluster.jobs.values()} <= {"amd64"}
    assert labels(cluster)["b1"] is None
    assert labels(cluster)["e1"], "the other profile's nodes are served"


def test_nodes_of_a_profile_that_became_wrong_keep_what_they_run() -> None:
    cluster = three_nodes()
    cluster.run(16)
    before = labels(cluster)
    cluster.profiles = (profile(toolchain={"options": {"nothing": "x"}}),)
    publish(cluster, "b")
    plan = cluster.run(10)
    assert (plan.moves, plan.builds, plan.revisions, plan.deletes) == ((), (), (), ())
    assert labels(cluster) == before
    (variant,) = plan.status.variants
    assert (variant.reason, variant.nodes.ready) == ("ProfileInvalid", 3)
    cluster.profiles = (profile(),)
    assert said(cluster.run(25))["Ready"] == ("True", "Succeeded")


def test_a_selector_that_picks_only_refused_profiles_says_why_and_not_that_it_picks_none() -> None:
    wrong = profile("board", toolchain={"name": "QNN"})
    found = usable(model(deviceProfiles={"selector": {}}), (wrong,), SETTINGS)
    assert (found.profiles, tuple(found.refused)) == ((), ("board",))
    cluster = Cluster(edge_model=model(deviceProfiles={"selector": {}}), profiles=(wrong,), nodes={})
    assert "image.builders.qnn" in sentence(cluster.run(1))


PI: dict[str, Any] = {"hardware": {"memory": "1Gi"}}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"gates": {"maxMemory": "1025Mi"}}, "the EdgeModel's spec.gates.maxMemory is 1025Mi; "),
        (
            {"serving": {"resources": {"limits": {"memory": "2Gi"}}}},
            "the EdgeModel's spec.serving.resources.limits.memory is 2Gi; ",
        ),
        (
            {"serving": {"resources": {"requests": {"memory": 2**31}}}},
            "the EdgeModel's spec.serving.resources.requests.memory is 2147483648; ",
        ),
        (
            {"serving": {"resources": {"limits": {"memory": "9999999Ti"}}}},
            "the EdgeModel's spec.serving.resources.limits.memory is 9999999Ti; ",
        ),
    ],
)
def test_more_memory_than_the_device_has_is_refused_before_anything_is_built(spec: dict[str, Any], says: str) -> None:
    cluster = Cluster(
        edge_model=model(deviceProfiles={"names": ["amd64", "pi"]}, **spec),
        profiles=(profile(), profile("pi", **PI)),
        nodes={"e1": node("e1"), "p1": node("p1", "pi")},
    )
    plan = cluster.run(3)
    assert said(plan)["Stalled"] == ("True", "DeviceTooSmall")
    expected = f"DeviceProfile 'pi': {says}at most 1Gi was expected, its spec.hardware.memory{KEPT}"
    assert sentence(plan) == expected
    assert {job.profile for job in cluster.jobs.values()} == {"amd64"}


def test_what_fits_the_device_is_not_refused() -> None:
    spec: dict[str, Any] = {"gates": {"maxMemory": "1Gi"}, "serving": {"resources": {"limits": {"memory": "1Gi"}}}}
    assert refusal(model(**spec), profile(**PI), SETTINGS) is None
    assert refusal(model(gates={"maxMemory": "900Gi"}), profile(), SETTINGS) is None, "it says nothing of its memory"


def test_a_profile_that_asks_for_more_than_it_has_gives_way_to_the_edge_model() -> None:
    greedy = profile(**PI, runtime={"resources": {"limits": {"memory": "2Gi"}}})
    found = refusal(model(), greedy, SETTINGS)
    assert found
    assert found.reason == "ProfileInvalid"
    assert "spec.runtime.resources.limits.memory is 2Gi; at most 1Gi was expected" in found.message
    own = model(serving={"resources": {"limits": {"memory": "512Mi"}}})
    assert refusal(own, greedy, SETTINGS) is None


def test_the_default_limit_is_no_more_than_the_device_has() -> None:
    spec: dict[str, Any] = {"gates": {"maxMemory": "900Mi"}}
    limits = [
        serving(model(**spec), at, "r/i@sha256:0", SETTINGS).resources["limits"]["memory"]
        for at in (profile(), profile(**PI))
    ]
    assert limits == ["1800Mi", "1024Mi"]


def test_the_builder_is_told_the_memory_of_the_device() -> None:
    assert build_for(model(), profile(**PI), SETTINGS).device_memory == 2**30
    assert build_for(model(), profile(), SETTINGS).device_memory is None


def test_the_builder_is_told_the_version_of_the_engine_and_makes_another_build_for_it() -> None:
    plain, told = (
        build_for(model(), profile(runtime=runtime), SETTINGS) for runtime in ({}, {"engineVersion": "1.19.2"})
    )
    assert (plain.engine_version, told.engine_version) == (None, "1.19.2")
    assert plain.key != told.key
    assert plain.bundle_key("Edgesmith") != told.bundle_key("Edgesmith")


def test_impossible_precisions_are_left_out_of_the_toolchains_own() -> None:
    board = profile(toolchain={"impossible": {"int8": "no"}})
    assert toolchain_of(board).precisions == ("fp32",)
    assert refusal(model(), board, SETTINGS) is None


def test_a_kind_of_int8_can_be_impossible_alone() -> None:
    board = profile(toolchain={"impossible": {"int8-dynamic": "no"}})
    assert toolchain_of(board).precisions == ("int8", "int8-mixed", "fp32")
    mixed = {"precisions": ["fp32", "int8-mixed"], "impossible": {"int8": "no"}}
    found = refusal(model(), profile(toolchain=mixed), SETTINGS)
    assert found is not None
    assert "spec.toolchain.precisions has int8-mixed, which spec.toolchain.impossible says" in found.message


def test_a_variant_is_made_over_the_image_of_its_engine_or_the_profiles_own() -> None:
    litert = {"name": "LiteRT"}
    both = replace(SETTINGS, runtime_images={**SETTINGS.runtime_images, "litert": "r/l@sha256:0"})
    assert base_image(profile(), both) == both.runtime_images["onnxruntime"]
    assert base_image(profile(toolchain=litert), both) == "r/l@sha256:0"
    assert base_image(profile(toolchain=litert), SETTINGS) is None
    own = profile(toolchain=litert, runtime={"baseImage": OTHER})
    assert build_for(model(), own, SETTINGS).base == OTHER
    assert refusal(model(), own, SETTINGS) is None
    assert flavour_of(profile(runtime={"server": "Triton"})) == "triton"


COMPILED = {"toolchain": "EdgeTPU", "uri": "s3://models/parts/a/compiled.tflite", "sha256": "c" * 64}
CORAL: dict[str, Any] = {"toolchain": {"name": "EdgeTPU", "compilerImage": OTHER}, "runtime": {"baseImage": OTHER}}


def test_a_build_is_made_of_the_file_that_the_edge_model_brings_compiled_or_else_by_the_image_with_the_compiler() -> (
    None
):
    board = profile("coral", **CORAL)
    made = build_for(model(), board, SETTINGS)
    assert (made.compiled, made.toolchain.compiler_image) == (None, OTHER)
    brought = build_for(model(compiled=[COMPILED]), board, SETTINGS)
    assert brought.compiled is not None
    assert (brought.compiled.uri, brought.compiled.sha256) == (COMPILED["uri"], COMPILED["sha256"])
    assert brought.toolchain.compiler_image is None, "what is not used decides no build"
    assert brought.key != made.key
    plain = model(compiled=[COMPILED])
    assert build_for(plain, profile(), SETTINGS).key == build_for(model(), profile(), SETTINGS).key
    without = profile("coral", **CORAL | {"toolchain": {"name": "EdgeTPU"}})
    assert refusal(plain, without, SETTINGS) is None
