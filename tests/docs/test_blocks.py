"""Every block of YAML on the pages is what it says: parts of objects as the CRDs have them, values as the chart has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types of its own
import pytest
import yaml
from pydantic import ValidationError

from edgesmith.api.deviceprofile import DeviceProfileSpec
from edgesmith.api.edgemodel import EdgeModelSpec
from edgesmith.api.model import Model
from edgesmith.cli.profile.schema import faults

ROOT = Path(__file__).resolve().parents[2]
PAGES = (*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", *sorted((ROOT / "examples").rglob("*.md")))
KINDS = {"EdgeModel": "edgemodels", "DeviceProfile": "deviceprofiles"}
OTHERS = ({"mirrors", "configs"}, {"ignoreDifferences", "syncPolicy"})
"""The fields of what is neither ours nor an object: K3s' registries.yaml, and a part of Argo CD's Application."""
HEX = "a" * 64
CUT = ((r"sha256:…", f"sha256:{HEX}"), (r"\b[0-9a-f]{2,63}…|(?<=sha256: )…", HEX), (r", …(?=[}\]])", ""))
"""What pages cut short: digests, and fields that do not matter there."""

Schema = dict[str, Any]


def blocks() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every document of every block, with its page."""
    for page in PAGES:
        for block in re.findall(r"^ *```yaml\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE):
            text = block
            for cut, whole in CUT:
                text = re.sub(cut, whole, text)
            for document in yaml.safe_load_all(text):
                yield str(page.relative_to(ROOT)), document


def schema_of(plural: str) -> Schema:
    """The schema of a CRD, without what needs the whole object: rules, and which fields are required."""
    crd = yaml.safe_load((ROOT / f"crds/{plural}.edgesmith.dev.yaml").read_text())
    found: Schema = _lenient(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    return found


def _lenient(part: Any) -> Any:
    if isinstance(part, dict):
        left_out = {"x-kubernetes-validations"} | ({"required"} if isinstance(part.get("required"), list) else set())
        return {key: _lenient(value) for key, value in part.items() if key not in left_out}
    return [_lenient(one) for one in part] if isinstance(part, list) else part


SCHEMAS = {kind: schema_of(plural) for kind, plural in KINDS.items()}
SPECS: dict[str, type[Model]] = {"EdgeModel": EdgeModelSpec, "DeviceProfile": DeviceProfileSpec}
VALUES: Schema = json.loads((ROOT / "charts/edgesmith/values.schema.json").read_text()) | {"required": []}


def of_kind(kind: str, document: dict[str, Any]) -> list[str]:
    """What the schema of a kind and the operator itself have against an object of which only a part is there."""
    found = list(faults(SCHEMAS[kind], document, ""))
    try:
        SPECS[kind].model_validate(document.get("spec", {}))
    except ValidationError as error:
        found += [f"{one['loc']}: {one['msg']}" for one in error.errors() if one["type"] != "missing"]
    return found


def wrong(document: dict[str, Any]) -> list[str]:
    """Why a document is none of what it could be, a line for each; nothing where it is one of them."""
    if set(document) in OTHERS or document.get("kind", "EdgeModel") not in SCHEMAS:
        return []
    if "kind" in document:
        return of_kind(document["kind"], document)
    found = {kind: of_kind(kind, document) for kind in SCHEMAS}
    found |= {f"{kind}.spec": of_kind(kind, {"spec": document}) for kind in SCHEMAS}
    values = jsonschema.Draft7Validator(_lenient(VALUES))
    found["values of the chart"] = [error.message for error in values.iter_errors(document)]
    if not all(found.values()):
        return []
    return [f"as {place}: {'; '.join(why)}" for place, why in found.items()]


@pytest.mark.parametrize(
    ("page", "document"), [pytest.param(*one, id=f"{one[0]}-{number}") for number, one in enumerate(blocks())]
)
def test_a_block_is_what_the_crds_or_the_chart_take(page: str, document: dict[str, Any]) -> None:
    assert wrong(document) == [], page


@pytest.mark.parametrize(
    "text",
    [
        "spec: {rollout: {maxUnavailabel: 1}}",
        "rollout: {steps: [{nodes: 1, bake: soon}]}",
        "hardware: {memory: lots}",
        "profiles: {instal: [generic-amd64]}",
        "profiles: {install: generic-amd64}",
        "kind: EdgeModel\nspec: {source: {uri: http://x}}",
        "nothing: ours",
    ],
)
def test_what_is_wrong_would_be_found(text: str) -> None:
    assert wrong(yaml.safe_load(text)) != []
