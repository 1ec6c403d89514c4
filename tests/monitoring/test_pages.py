"""What the operator and servers say of themselves, as Prometheus' own tool wants it said."""

from __future__ import annotations

import subprocess

import pytest
from services import tool

from edgesmith.controller.metrics import METRICS as OPERATORS
from edgesmith.controller.metrics import Numbers
from edgesmith_runtime.metrics import METRICS as SERVERS
from edgesmith_runtime.metrics import Metrics


def servers_page() -> str:
    """A server's page with a value of each metric."""
    metrics = Metrics()
    for one in SERVERS:
        labels = ["x"] * len(one.labels)
        if one.kind == "histogram":
            metrics.observe(one.name, *labels, value=1.0)
        else:
            metrics.put(one.name, *labels, value=1.0)
    return metrics.text()


def operators_page() -> str:
    """The operator's, likewise."""
    numbers = Numbers()
    for one in OPERATORS:
        if one.type == "histogram":
            numbers.observe(one, 1.0)
        elif one.type == "counter":
            numbers.count(one, label="x" if one.labels else "")
        elif one.labels:
            numbers.families({one: lambda labels=one.labels: {("x",) * len(labels): 1.0}})  # type: ignore[misc]
        else:
            numbers.gauges({one: lambda: 1.0})
    return numbers.render()


PAGES = {"a server's": servers_page, "the operator's": operators_page}


def checked(page: str) -> tuple[int, str]:
    """What promtool makes of it, and what it says."""
    done = subprocess.run(
        [str(tool("promtool")), "check", "metrics"],
        input=page,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", PAGES)
def test_promtool_finds_nothing_to_improve(name: str) -> None:
    page = PAGES[name]()
    declared = SERVERS if name == "a server's" else OPERATORS
    assert all(f"\n{one.name}" in page for one in declared), "the page has a value of each"
    assert checked(page) == (0, "")


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ("# TYPE x counter\n# HELP x X.\nx 1\n", "_total"),
        ("# TYPE x_milliseconds gauge\n# HELP x_milliseconds X.\nx_milliseconds 1\n", "seconds"),
        ("# TYPE x gauge\nx 1\n", "no help"),
    ],
)
def test_promtool_would_find_it(wrong: str, word: str) -> None:
    status, said = checked(operators_page() + wrong)
    assert status != 0
    assert word in said
