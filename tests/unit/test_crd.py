"""The CRDs are what the types make them, and structural."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgesmith.api.crd import files, main

ROOT = Path(__file__).parents[2]
FOLDERS = [folder for folder in (ROOT / "crds", ROOT / "charts/edgesmith/crds") if folder.is_dir()]


def schemas(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in a schema."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from schemas(inner, f"{path}.{name}")
    if "items" in schema:
        yield from schemas(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from schemas(schema["additionalProperties"], f"{path}{{}}")


WITH_A_PATTERN = {
    "EdgeModel.spec.feedback.retraining.job.resources.limits{}",
    "EdgeModel.spec.feedback.retraining.job.resources.requests{}",
    "EdgeModel.spec.feedback.sample.bytesPerDay",
    "EdgeModel.spec.feedback.sample.bytesPerSecond",
    "EdgeModel.spec.feedback.sample.diskBytes",
    "EdgeModel.spec.gates.maxImageSize",
    "EdgeModel.spec.gates.maxMemory",
    "EdgeModel.spec.serving.resources.limits{}",
    "EdgeModel.spec.serving.resources.requests{}",
}
"""Quantities, a number or text, whose expression is readable."""

ALL = [
    found
    for content in files().values()
    for found in schemas(
        yaml.safe_load(content)["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
        yaml.safe_load(content)["spec"]["names"]["kind"],
    )
]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
@pytest.mark.parametrize("name", sorted(files()))
def test_what_is_committed_is_what_the_types_make(folder: Path, name: str) -> None:
    assert (folder / name).read_text() == files()[name], "run: make generate"


def test_writing_into_several_folders(tmp_path: Path) -> None:
    assert main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert {path.name for path in (tmp_path / "b").iterdir()} == set(files())
    assert main([]) == 2


@pytest.mark.parametrize(("path", "schema"), ALL, ids=[path for path, _ in ALL])
def test_each_schema_is_structural_and_described(path: str, schema: dict[str, Any]) -> None:
    assert path.endswith(".metadata") or schema.get("description")
    assert schema.get("x-kubernetes-int-or-string") or schema.get("type") in {
        "object", "array", "string", "integer", "number", "boolean",
    }  # fmt: skip
    assert not {"$ref", "allOf", "oneOf", "nullable", "title"} & set(schema)
    if schema.get("type") == "array":
        assert "items" in schema
    if schema.get("type") == "object" and not path.endswith(".metadata"):
        assert ("properties" in schema) != ("additionalProperties" in schema)


def test_references_between_fields_have_rules_with_messages() -> None:
    rules = [rule for _, schema in ALL for rule in schema.get("x-kubernetes-validations", [])]
    assert rules
    assert all(rule["rule"] and rule["message"] for rule in rules)


def test_no_one_has_to_read_a_regular_expression_to_write_an_edgemodel() -> None:
    """The API server shows a pattern as it stands, and a rule by its message."""
    spec = {path for path, schema in ALL if path.startswith("EdgeModel.spec.") and "pattern" in schema}
    assert spec == WITH_A_PATTERN


def test_a_rule_is_not_asked_of_what_does_not_fit_the_pattern() -> None:
    """Else a duration that is none would be told twice, the second time as an error of conversion."""
    (jitter,) = [schema for path, schema in ALL if path == "EdgeModel.spec.gates.replayInterval"]
    fits, least, most = (rule["rule"] for rule in jitter["x-kubernetes-validations"])
    assert fits == r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$')"
    assert least == f"!{fits} || (duration(self) == duration('0s') || duration(self) >= duration('1m'))"
    assert most == f"!{fits} || duration(self) <= duration('8760h')"


def test_the_default_of_a_list_has_no_empty_fields() -> None:
    defaults = {path: schema["default"] for path, schema in ALL if isinstance(schema.get("default"), list)}
    assert defaults["EdgeModel.spec.rollout.steps"][0] == {"nodes": 1, "bake": "2m"}


def test_lists_that_several_writers_share_are_maps() -> None:
    keys = {path: schema.get("x-kubernetes-list-map-keys") for path, schema in ALL}
    assert keys["EdgeModel.status.conditions"] == ["type"]
    assert keys["EdgeModel.status.variants"] == ["profile"]
    assert keys["EdgeModel.status.pending"] == ["name"]
