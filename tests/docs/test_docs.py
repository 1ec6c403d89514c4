"""Documentation that lags fails here: fields, conditions, reasons and metrics must be on their page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from edgesmith.api.conditions import ConditionType, Reason
from edgesmith.controller.metrics import METRICS as OPERATOR_METRICS
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


@pytest.mark.parametrize("name", sorted(metric.name for metric in RUNTIME_METRICS))
def test_each_metric_of_the_runtime_is_on_its_page(name: str) -> None:
    assert f"`{name}`" in (DOCS / "runtime.md").read_text()


@pytest.mark.parametrize("name", sorted(metric.name for metric in OPERATOR_METRICS))
def test_each_metric_of_the_operator_is_on_its_page(name: str) -> None:
    assert f"`{name}`" in (DOCS / "operator.md").read_text()


@pytest.mark.parametrize("page", [*sorted(DOCS.rglob("*.md")), ROOT / "README.md"], ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing
