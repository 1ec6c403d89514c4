"""The rules for Prometheus, run by the real promtool: each alert fires when it should and is quiet when it should."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from services import tool
from yaml_files import read

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "charts/edgesmith/files/rules.yaml"
CASES = Path(__file__).with_name("rules.yaml")
PAGE = (ROOT / "docs/monitoring.md").read_text()

rules: list[dict[str, Any]] = [rule for group in read(RULES)["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in rules if "alert" in rule}
RECORDED = [rule["record"] for rule in rules if "record" in rule]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run([str(tool("promtool")), *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_promtool_takes_the_rules_and_finds_nothing_to_improve() -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_case_comes_out_as_written(tmp_path: Path) -> None:
    (tmp_path / "cases.yaml").write_text(CASES.read_text().replace("[RULES]", f"[{RULES}]"))
    done = promtool("test", "rules", str(tmp_path / "cases.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_that_is_changed_is_noticed(tmp_path: Path) -> None:
    """promtool fails where a case and a rule part; it would be silent if it did not find the rules."""
    changed = RULES.read_text().replace("edgesmith_ready == 0", "edgesmith_ready == 1")
    (tmp_path / "rules.yaml").write_text(changed)
    (tmp_path / "cases.yaml").write_text(CASES.read_text().replace("[RULES]", "[rules.yaml]"))
    done = promtool("test", "rules", str(tmp_path / "cases.yaml"))
    assert done.returncode != 0
    assert "EdgeModelServerNotReady" in done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = [case for test in read(CASES)["tests"] for case in test.get("alert_rule_test", [])]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == set(ALERTS)
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == set(ALERTS)


def test_every_recording_rule_has_a_case() -> None:
    tests = read(CASES)["tests"]
    asked = {case["expr"] for test in tests for case in test.get("promql_expr_test", [])}
    assert asked == set(RECORDED)


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_every_alert_is_on_its_page_with_its_severity(name: str) -> None:
    assert f"\n| `{name}` | {ALERTS[name]['labels']['severity']} | " in PAGE


def test_the_page_has_no_rule_that_is_not_there() -> None:
    assert set(re.findall(r"^\| `(Edge\w+)` ", PAGE, re.MULTILINE)) == set(ALERTS)
    assert re.findall(r"^\| `(edgemodel\w*:\S+)` ", PAGE, re.MULTILINE) == RECORDED
