"""What all tiers share: their order, cheap before dear, so that a mistake shows in seconds."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from needs import LEFT_OUT, REQUIRE_ALL

# As in the programs, which set it for themselves; before a test imports numpy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Others have the cores while a test runs: how long an example takes, or to make one, shows nothing.
settings.register_profile("starved", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("starved")

TIERS = {"api": 1, "cluster": 2}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and run unit before api before cluster."""
    here = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        if folder in TIERS:
            item.add_marker(folder)
    items.sort(key=lambda item: max((TIERS.get(mark.name, 0) for mark in item.iter_markers()), default=0))


Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _said((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _said((yield))


def _said(report: Report) -> Report:
    """In a whole run, a skip that is not listed at its end is a failure: nothing is left out in silence."""
    if os.environ.get(REQUIRE_ALL) == "1" and report.skipped and not hasattr(report, "wasxfail"):
        reason = _reason(report)
        if LEFT_OUT not in reason:
            report.outcome = "failed"
            report.longrepr = f"{reason} (a whole run skips nothing: use needs.lacking, or needs.left_out and say why)"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was left out and why."""
    reasons = Counter(_reason(report).partition(LEFT_OUT)[2] for report in terminalreporter.getreports("skipped"))
    reasons.pop("", None)
    if reasons:
        terminalreporter.section("left out")
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} of the tests: {reason}")
