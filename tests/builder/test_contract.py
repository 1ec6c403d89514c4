"""The build key: what it holds, and what it leaves out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError, create_model

from edgesmith_builder.contract import (
    FLAVOURS,
    TOOLCHAINS,
    TOOLS,
    Artifact,
    Build,
    BuilderFlavour,
    BuildRequest,
    Candidate,
    EngineName,
    Gates,
    Platform,
    Toolchain,
    ToolchainName,
    tools_of,
)
from edgesmith_builder.errors import RequestInvalid
from edgesmith_builder.request import check_request

PLAIN = Build(
    source=Artifact(uri="s3://models/parts.onnx"),
    platform=Platform(architecture="arm64"),
    toolchain=Toolchain(precisions=("int8", "fp32")),
    base="hub:5000/runtime@sha256:" + "0" * 64,
    tools=tools_of("ONNXRuntime"),
)


def test_a_field_that_a_later_release_adds_leaves_the_text_that_is_hashed_as_it_was() -> None:
    later = create_model("Later", __base__=Build, folded=(bool, False))
    facts = json.loads(PLAIN.to_json())
    assert later.model_validate(facts).to_json() == PLAIN.to_json()
    assert later.model_validate(facts | {"folded": True}).to_json() != PLAIN.to_json()


DEFAULTS: dict[str, Any] = {
    "metric": "Accuracy",
    "metricOptions": {},
    "output": None,
    "trustPickle": False,
    "missingValues": "Refuse",
    "pruning": None,
    "picture": None,
    "reference": None,
    "engineVersion": None,
    "deviceMemory": None,
    "compiled": None,
    "calibration": None,
    "evaluation": None,
}
"""Those of the builder below. They are left out of the key, so whoever changes one sets `TOOLS.builder` anew too."""


def test_a_default_does_not_change_without_the_version_of_the_builder() -> None:
    facts = PLAIN.model_dump(mode="json", by_alias=True)
    given = {"model", "source", "platform", "toolchain", "base", "tools"}
    assert (TOOLS.builder, {name: value for name, value in facts.items() if name not in given}) == ("8", DEFAULTS)


def with_options(**options: str) -> Build:
    return PLAIN.model_copy(update={"toolchain": Toolchain(precisions=("int8", "fp32"), options=options)})


def test_an_option_that_asks_for_its_default_is_no_other_build() -> None:
    assert with_options(reduceRange="true").key == PLAIN.key
    assert with_options(reduceRange="false").key != PLAIN.key
    assert with_options(reduceRange="false").toolchain.settings == PLAIN.toolchain.settings | {"reduceRange": "false"}


@pytest.mark.parametrize(
    ("toolchain", "says"),
    [
        (
            {"options": {"reduceRanges": "true"}},
            r"toolchain.options has 'reduceRanges'; one of activations, .*expected",
        ),
        ({"options": {"reduceRange": "no"}}, r"toolchain.options.reduceRange is 'no'; true or false was expected"),
        ({"precisions": ("fp32", "int8", "fp32")}, r"toolchain.precisions is fp32, int8, fp32; each precision once"),
        (
            {"precisions": ("fp16",)},
            r"precisions has fp16, which ONNXRuntime does not make; int8, int8-mixed, int8-dynamic or fp32 was",
        ),
        ({"name": "LiteRT", "options": {"a": "b"}}, r"toolchain.options has 'a'; none was expected for LiteRT"),
    ],
)
def test_a_builder_refuses_what_its_toolchain_does_not_know(toolchain: dict[str, Any], says: str) -> None:
    asked = PLAIN.model_copy(update={"toolchain": Toolchain(**{"precisions": ("fp32",), **toolchain})})
    with pytest.raises(RequestInvalid, match=says):
        check_request(BuildRequest(build=asked, repository="hub:5000/parts"))


@pytest.mark.parametrize("name", sorted(TOOLCHAINS))
def test_each_row_of_the_toolchains_is_whole(name: ToolchainName) -> None:
    facts = TOOLCHAINS[name]
    assert set(facts.precisions) <= set(facts.makes)
    assert len(set(facts.precisions)) == len(facts.precisions) > 0
    assert facts.engine in get_args(EngineName)
    for option in facts.options.values():
        assert option.default in option.values
        assert option.meaning.endswith(".")
    assert set(TOOLCHAINS) == set(get_args(ToolchainName))


def locked_by(name: str) -> dict[str, str]:
    lines = (Path(__file__).parents[2] / "requirements" / f"{name}.txt").read_text().splitlines()
    return dict(line.split()[0].split("==") for line in lines if "==" in line and not line.startswith(" "))


def test_the_tools_of_the_key_are_those_that_the_lock_installs() -> None:
    locked = locked_by("builder")
    named = TOOLS.model_dump(exclude={"builder"}, exclude_none=True)
    assert {name: locked[name.replace("_", "-")] for name in named} == named


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_builder_with_a_vendors_packages_has_the_others_in_the_same_versions(flavour: BuilderFlavour) -> None:
    common, locked = locked_by("builder"), locked_by(f"builder-{flavour}")
    assert common.items() <= locked.items()
    assert {name: locked[name.replace("_", "-")] for name in FLAVOURS[flavour]} == FLAVOURS[flavour]


@pytest.mark.parametrize("name", sorted(TOOLCHAINS))
def test_a_build_names_the_tools_of_its_own_toolchain_and_no_others(name: ToolchainName) -> None:
    facts = TOOLCHAINS[name]
    assert tools_of(name).model_dump(exclude_none=True).keys() == {"builder", *facts.tools}
    assert set(FLAVOURS[facts.builder] if facts.builder else ()) <= set(facts.tools)


def keys() -> dict[ToolchainName, str]:
    """The key of the same build with each toolchain, by a builder of this release."""
    plain = PLAIN.model_copy(update={"tools": None})
    asked = {name: Toolchain(name=name, precisions=facts.makes[:1]) for name, facts in TOOLCHAINS.items()}
    return {name: plain.model_copy(update={"toolchain": toolchain}).key for name, toolchain in asked.items()}


@pytest.mark.parametrize(
    ("tool", "toolchains"),
    [
        ("ai_edge_litert", {"LiteRT", "EdgeTPU"}),
        ("openvino", {"OpenVINO"}),
        ("onnx", {"ONNXRuntime", "OpenVINO", "TensorRT", "QNN"}),
        ("builder", set(TOOLCHAINS)),
    ],
)
def test_a_new_tool_makes_builds_of_its_own_toolchains_anew_and_no_others(
    tool: str, toolchains: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys()
    monkeypatch.setattr("edgesmith_builder.contract.build.TOOLS", TOOLS.model_copy(update={tool: "9"}))
    assert {name for name, key in keys().items() if before[name] != key} == toolchains


def test_a_vendors_package_is_in_the_keys_of_its_toolchain_only(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys()
    monkeypatch.setattr("edgesmith_builder.contract.build.FLAVOURS", {"qnn": {"onnxruntime_qnn": "2.8.0"}})
    assert {name for name, key in keys().items() if before[name] != key} == {"QNN"}


def test_a_copy_with_another_field_has_another_key_though_the_first_one_was_asked_for() -> None:
    key = PLAIN.key
    other = PLAIN.model_copy(update={"base": f"registry/base@sha256:{'7' * 64}"})
    assert other.key != key
    assert PLAIN.model_copy(deep=True, update={"output": "scores"}).key != key
    assert other == PLAIN.model_copy(update={"base": other.base}), (
        "one that knows its key is equal to one that does not"
    )
    assert PLAIN.key == key


def test_a_request_that_names_no_tools_is_one_for_those_of_this_builder() -> None:
    assert PLAIN.model_copy(update={"tools": None}).key == PLAIN.key


@pytest.mark.parametrize("tool", ["builder", "onnx", "onnxruntime", "scikit_learn", "skl2onnx"])
def test_a_builder_with_other_tools_refuses(tool: str) -> None:
    other = PLAIN.model_copy(update={"tools": tools_of("ONNXRuntime").model_copy(update={tool: "0.1"})})
    with pytest.raises(RequestInvalid, match=rf"build.tools.{tool} is 0.1 but this builder has"):
        check_request(BuildRequest(build=other, repository="hub:5000/parts"))


def test_a_builder_refuses_a_tool_that_its_toolchain_does_not_use() -> None:
    other = PLAIN.model_copy(update={"tools": TOOLS})
    with pytest.raises(
        RequestInvalid, match=r"build.tools.ai_edge_litert is \S+ but this builder has no use for it; the"
    ):
        check_request(BuildRequest(build=other, repository="hub:5000/parts"))


@pytest.mark.parametrize("bound", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("gate", ["max_accuracy_drop", "min_accuracy", "max_error", "min_agreement"])
def test_a_gate_is_a_number(gate: str, bound: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Gates.model_validate({gate: bound})


def test_a_number_that_json_has_no_word_for_is_no_text() -> None:
    for number in (float("inf"), float("-inf"), float("nan")):
        with pytest.raises(ValueError, match="JSON compliant"):
            Candidate(precision="int8", accuracy=number).to_json()
