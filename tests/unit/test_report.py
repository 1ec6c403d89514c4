"""What `edgesmith report` prints and draws of the status."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from snapshots import model

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.cli import report
from edgesmith.cli.chart import HEIGHT, WIDTH, Dot, Text

TRIED: dict[str, Any] = {
    "profile": "pi",
    "buildKey": "k1",
    "node": "pi-7",
    "winner": "fp32",
    "device": {"processor": "Cortex-A72"},
    "finalists": [
        {
            "precision": "int8", "image": "r@sha256:1", "size": 1500, "accuracy": "97.10%", "accuracyDrop": "0.20%",
            "accuracyDropError": "0.85%", "latency": "9.000ms", "memory": 2_000_000, "reason": "Passed",
            "verdict": "fp32 is faster.",
        },
        {
            "precision": "fp32", "image": "r@sha256:2", "size": 6000, "accuracy": "97.30%", "accuracyDrop": "0.00%",
            "latency": "3.000ms", "memory": 3_000_000, "reason": "Passed", "verdict": "It was chosen by <latency>.",
        },
    ],
}  # fmt: skip


def reported(*variants: dict[str, Any], trials: tuple[Any, ...] = (TRIED,)) -> EdgeModel:
    status = {"variants": list(variants), "trials": list(trials)}
    return model().model_copy(update={"status": status})


PI = {"profile": "pi", "buildKey": "k1", "state": "Complete", "metric": "Accuracy"}
PANEL = {
    "profile": "panel", "buildKey": "k2", "state": "Complete", "precision": "fp32", "accuracy": "97.30%",
    "latency": "2.1ms", "size": 6000,
}  # fmt: skip


def test_every_candidate_has_a_line() -> None:
    header, int8, fp32, panel = report.as_text(reported(PI, PANEL)).splitlines()
    assert header.split() == [name for name in report.HEADER if name != "MULTIPLICATIONS"]
    words = ["pi", "int8", "97.10%", "0.20% ± 0.85%", "9.000ms", "2.0 MB", "1.5 kB", "pi-7 (Cortex-A72)"]
    assert re.split(r" {3,}", int8) == [*words, "fp32 is faster."]
    assert fp32.endswith("It was chosen by <latency>.")
    assert "There was no other to choose from." in panel


def test_what_pruning_left_has_a_column_where_something_was_pruned() -> None:
    int8, fp32 = dict(TRIED["finalists"][0]), dict(TRIED["finalists"][1])
    pruned = {**int8, "precision": "int8-pruned", "multiplications": "47.92%"}
    trial = {**TRIED, "finalists": [pruned, int8, fp32]}
    header, first, second, _ = report.as_text(reported(PI, trials=(trial,))).splitlines()
    assert header.split() == list(report.HEADER)
    at = header.index("MULTIPLICATIONS")
    assert (first[at : at + 6], second[at : at + 6]) == ("47.92%", "-     ")
    assert "int8-pruned" in first


def test_programs_get_the_same_by_name() -> None:
    rows = json.loads(report.as_json(reported(PI)))
    assert [(one["candidate"], one["latency"]) for one in rows] == [("int8", "9.000ms"), ("fp32", "3.000ms")]


def test_a_trial_of_a_build_before_is_not_shown() -> None:
    assert report.as_text(reported({**PI, "buildKey": "k3"})) == "Nothing was measured yet for EdgeModel parts."


def test_the_picture_has_a_point_for_each_in_its_frame() -> None:
    chart = report.chart_of(reported(PI))
    dots = [mark for mark in chart.marks() if isinstance(mark, Dot)]
    texts = [mark.words for mark in chart.marks() if isinstance(mark, Text)]
    assert len(dots) == 2
    slow, fast = dots
    assert slow.x > fast.x, "latency grows to the right"
    assert slow.y > fast.y, "accuracy grows upwards"
    assert slow.colour != fast.colour
    assert {"int8, pi", "fp32, pi (chosen)", "p95 latency in ms", "Accuracy in %"} <= set(texts)
    assert all(0 < dot.x < WIDTH and 0 < dot.y < HEIGHT for dot in dots)


def test_the_page_needs_nothing_else_and_holds_the_table() -> None:
    page = report.chart_of(reported(PI)).page([("A", "B"), ("<latency>", "c")])
    assert page.count("<circle") == 2
    assert "&lt;latency&gt;" in page
    assert not re.search(r"(src|href)=|url\(", page)


def test_without_measurements_there_is_no_picture() -> None:
    with pytest.raises(ValueError, match="no device has tried candidates of EdgeModel parts"):
        report.chart_of(reported(PANEL))


def test_the_png_has_the_pictures_size(tmp_path: Path) -> None:
    report.chart_of(reported(PI)).png(tmp_path / "r.png")
    data = (tmp_path / "r.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) == (WIDTH, HEIGHT)
