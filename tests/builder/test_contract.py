"""The build key: what it holds, and what it leaves out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import create_model

from edgesmith_builder.build import check_request
from edgesmith_builder.contract import TOOLS, Artifact, Build, BuildRequest, Platform
from edgesmith_builder.errors import RequestInvalid

PLAIN = Build(
    model="parts",
    source=Artifact(uri="s3://models/parts.onnx"),
    platform=Platform(architecture="arm64"),
    ladder=("int8", "fp32"),
    base="hub:5000/runtime@sha256:" + "0" * 64,
    tools=TOOLS,
)


def test_a_field_that_a_later_release_adds_leaves_the_text_that_is_hashed_as_it_was() -> None:
    later = create_model("Later", __base__=Build, folded=(bool, False))
    facts = json.loads(PLAIN.to_json())
    assert later.model_validate(facts).to_json() == PLAIN.to_json()
    assert later.model_validate(facts | {"folded": True}).to_json() != PLAIN.to_json()


DEFAULTS = {
    "metric": "Accuracy",
    "output": None,
    "missingValues": "Refuse",
    "gates": {"maxAccuracyDrop": None, "minAccuracy": None, "minAgreement": 0.8, "maxImageSize": None},
    "quantization": {"activations": "uint8", "weights": "int8", "perChannel": True, "reduceRange": True},
    "calibration": None,
    "evaluation": None,
}
"""Those of the builder below. They are left out of the key, so whoever changes one sets `TOOLS.builder` anew too."""


def test_a_default_does_not_change_without_the_version_of_the_builder() -> None:
    facts = PLAIN.model_dump(mode="json", by_alias=True)
    given = {"model", "source", "platform", "ladder", "base", "tools"}
    assert (TOOLS.builder, {name: value for name, value in facts.items() if name not in given}) == ("2", DEFAULTS)


def test_the_tools_of_the_key_are_those_that_the_lock_installs() -> None:
    lines = (Path(__file__).parents[2] / "requirements" / "builder.txt").read_text().splitlines()
    locked = dict(line.removesuffix(" \\").split("==") for line in lines if "==" in line and not line.startswith(" "))
    assert (locked["onnx"], locked["onnxruntime"]) == (TOOLS.onnx, TOOLS.onnxruntime)


def test_a_request_that_names_no_tools_is_one_for_those_of_this_builder() -> None:
    assert PLAIN.model_copy(update={"tools": None}).key == PLAIN.key


@pytest.mark.parametrize("tool", ["builder", "onnx", "onnxruntime"])
def test_a_builder_with_other_tools_refuses(tool: str) -> None:
    other = PLAIN.model_copy(update={"tools": TOOLS.model_copy(update={tool: "0.1"})})
    with pytest.raises(RequestInvalid, match=rf"build.tools.{tool} is 0.1 but this builder has"):
        check_request(BuildRequest(build=other, repository="hub:5000/parts"))
