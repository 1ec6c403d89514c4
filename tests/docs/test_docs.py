"""Documentation that lags fails here: fields, conditions, reasons and metrics must be on their page."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from edgesmith.api.conditions import ConditionType, Reason
from edgesmith.cluster.services import GOING_SECONDS
from edgesmith.controller.metrics import METRICS as OPERATOR_METRICS
from edgesmith.controller.passes import STALLED_SECONDS
from edgesmith.controller.queue import FIRST_RETRY, LONGEST_RETRY
from edgesmith_builder.contract import FailureReason
from edgesmith_runtime.metrics import METRICS as RUNTIME_METRICS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def test_tables_of_the_resources_are_as_the_crds_say() -> None:
    check = [sys.executable, str(ROOT / "hack/generate_docs.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout.strip()}; run: make generate"


@pytest.mark.parametrize("word", [*ConditionType, *Reason])
def test_each_condition_and_reason_is_on_the_edgemodel_page(word: str) -> None:
    assert f"`{word}`" in (DOCS / "edgemodel.md").read_text()


@pytest.mark.parametrize("reason", get_args(FailureReason))
def test_each_failure_of_a_build_is_on_the_builder_page(reason: str) -> None:
    assert f"`{reason}`" in (DOCS / "builder.md").read_text()


@pytest.mark.parametrize("name", sorted(folder.parent.name for folder in ROOT.glob("examples/*/README.md")))
def test_each_example_is_on_the_examples_page(name: str) -> None:
    assert f"[`{name}`](../examples/{name}/README.md)" in (DOCS / "examples.md").read_text()


@pytest.mark.parametrize("line", (ROOT / "requirements/published.in").read_text().splitlines()[1:])
def test_each_published_package_is_on_the_examples_page_in_its_version(line: str) -> None:
    assert f"`{line.split('==', maxsplit=1)[0]}` {line.split('==')[1]} " in (DOCS / "examples.md").read_text()


@pytest.mark.parametrize("name", sorted(metric.name for metric in RUNTIME_METRICS))
def test_each_metric_of_the_runtime_is_on_its_page(name: str) -> None:
    assert f"`{name}`" in (DOCS / "runtime.md").read_text()


@pytest.mark.parametrize("name", sorted(metric.name for metric in OPERATOR_METRICS))
def test_each_metric_of_the_operator_is_on_its_page(name: str) -> None:
    assert f"`{name}`" in (DOCS / "operator.md").read_text()


PLAN_LINES = re.findall(r'f?"  ([a-z]+) +(?:[{a-z])', (ROOT / "operator/edgesmith/cli/plan.py").read_text())
"""The words that lines of a plan begin with."""


@pytest.mark.parametrize("word", sorted(set(PLAN_LINES)))
def test_each_line_of_a_plan_is_on_the_page_of_the_command_line(word: str) -> None:
    assert f"\n| `{word}` | " in (DOCS / "cli.md").read_text()


def test_the_lines_of_a_plan_are_found() -> None:
    assert {"build", "hold", "move", "nodes", "strategy", "then"} <= set(PLAN_LINES)


@pytest.mark.parametrize("name", sorted(path.name for path in DOCS.glob("decisions/*.md")))
def test_each_decision_is_linked_from_the_page_that_it_is_about(name: str) -> None:
    assert any(f"decisions/{name}" in page.read_text() for page in DOCS.glob("*.md"))


@pytest.mark.parametrize("program", ["operator/edgesmith", "builder/edgesmith_builder", "runtime/edgesmith_runtime"])
def test_each_folder_of_a_program_is_on_the_page_of_the_architecture(program: str) -> None:
    page = (DOCS / "architecture.md").read_text()
    folders = [path.parent.name for path in (ROOT / program).glob("*/__init__.py")]
    assert folders
    assert [folder for folder in folders if f"{folder}/" not in page] == []


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every EdgeModel and DeviceProfile of the pages and the examples, with the place where it stands."""
    for page in (*sorted(DOCS.rglob("*.md")), ROOT / "README.md", *sorted((ROOT / "examples").rglob("*.yaml"))):
        text = page.read_text()
        blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE) if page.suffix == ".md" else [text]
        for block in blocks:
            for document in yaml.safe_load_all(block):
                if isinstance(document, dict) and document.get("kind") in {"EdgeModel", "DeviceProfile"}:
                    yield str(page.relative_to(ROOT)), document


def unknown(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    """The fields of a value that its schema does not have; kubectl would refuse them."""
    if isinstance(value, list):
        for item in value:
            yield from unknown(schema.get("items", {}), item, f"{path}[]")
    if isinstance(value, dict) and "properties" in schema:
        for name, item in value.items():
            if name not in schema["properties"]:
                yield f"{path}.{name}"
            yield from unknown(schema["properties"].get(name, {}), item, f"{path}.{name}")


@pytest.mark.parametrize(("place", "document"), [pytest.param(*one, id=one[0]) for one in manifests()])
def test_manifests_have_no_field_that_the_crd_does_not_know(place: str, document: dict[str, Any]) -> None:
    plural = f"{document['kind'].lower()}s"
    crd = yaml.safe_load((ROOT / f"crds/{plural}.edgesmith.dev.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert list(unknown(schema, document["spec"], "spec")) == [], place


PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", *sorted((ROOT / "examples").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    missing = []
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text()):
        other = page.parent / target if target else page
        if not other.exists() or (anchor and anchor not in anchors(other.read_text())):
            missing.append(f"{target}#{anchor}")
    assert not missing


def anchors(text: str) -> set[str]:
    """What a link may name of a page: its headings, as GitHub makes anchors of them."""
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        again = (f"{slug}-{number}" for number in itertools.count(1))
        found.add(slug if slug not in found else next(one for one in again if one not in found))
    return found


def test_anchors_are_as_github_makes_them() -> None:
    page = "# `a.b` and [C's](d.md)\n\n```sh\n# not me\n```\n\n## Twice\n## Twice\n## Snake_case, Größe / x\n"
    assert anchors(page) == {"ab-and-cs", "twice", "twice-1", "snake_case-größe--x"}


def test_when_what_was_refused_is_tried_again_is_on_the_operators_page() -> None:
    page = (DOCS / "operator.md").read_text()
    (refused,) = [line for line in page.splitlines() if line.startswith("| the API server refuses ")]
    assert refused.endswith(f"; tried again on a change, or after {STALLED_SECONDS:g} s |")
    (going,) = [line for line in page.splitlines() if "`kubectl replace --force`" in line]
    assert f" every {GOING_SECONDS:g} s " in going
    (silent,) = [line for line in page.splitlines() if line.startswith("| the API server does not answer")]
    assert f"after {FIRST_RETRY:g}, {2 * FIRST_RETRY:g}, {4 * FIRST_RETRY:g} … {LONGEST_RETRY:g} s" in silent
