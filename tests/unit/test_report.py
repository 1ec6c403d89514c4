"""What `edgesmith report` prints and draws of the status."""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
from pathlib import Path
from typing import Any

import pytest
from snapshots import model

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.cli import report
from edgesmith.cli.chart import HEIGHT, WIDTH, Chart, Dot, Text

TRIED: dict[str, Any] = {
    "profile": "pi",
    "buildKey": "k1",
    "node": "pi-7",
    "winner": "fp32",
    "device": {"processor": "Cortex-A72"},
    "finalists": [
        {
            "precision": "int8", "image": "r@sha256:1", "size": 1500, "accuracy": "97.10%", "accuracyError": "1.20%",
            "accuracyDrop": "0.20%", "accuracyDropError": "0.85%", "latency": "9.000ms", "memory": 2_000_000,
            "reason": "Passed", "verdict": "fp32 is faster.",
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
    assert header.split() == [name for name in report.HEADER if name not in ("MULTIPLICATIONS", "RENAMED")]
    words = ["pi", "int8", "97.10% ± 1.20%", "0.20% ± 0.85%", "9.000ms", "2.0 MB", "1.5 kB", "pi-7 (Cortex-A72)"]
    assert re.split(r" {3,}", int8) == [*words, "fp32 is faster."]
    assert fp32.endswith("It was chosen by <latency>.")
    assert "There was no other to choose from." in panel


def test_what_pruning_left_has_a_column_where_something_was_pruned() -> None:
    int8, fp32 = dict(TRIED["finalists"][0]), dict(TRIED["finalists"][1])
    pruned = {**int8, "precision": "int8-pruned", "multiplications": "47.92%"}
    trial = {**TRIED, "finalists": [pruned, int8, fp32]}
    header, first, second, _ = report.as_text(reported(PI, trials=(trial,))).splitlines()
    assert header.split() == [name for name in report.HEADER if name != "RENAMED"]
    at = header.index("MULTIPLICATIONS")
    assert (first[at : at + 6], second[at : at + 6]) == ("47.92%", "-     ")
    assert "int8-pruned" in first


def test_programs_get_the_same_by_name() -> None:
    rows = json.loads(report.as_json(reported(PI)))
    assert [(one["candidate"], one["latency"]) for one in rows] == [("int8", "9.000ms"), ("fp32", "3.000ms")]


def test_a_score_says_how_well_it_is_known_in_every_form() -> None:
    unlabelled = {**PANEL, "accuracy": None, "agreement": "98.20%", "agreementError": "0.94%"}
    alone = {**PANEL, "profile": "other", "accuracyError": "1.31%"}
    out = {**OUT, "alternative": None, "accuracyError": "4.10%"}
    rows = report.rows_of(reported(PI, unlabelled, {**alone, "refused": [out]}))
    assert [one.score for one in rows] == [
        "97.10% ± 1.20%", "97.30%", "98.20% ± 0.94%", "97.30% ± 1.31%", "77.00% ± 4.10%",
    ]  # fmt: skip
    assert [one["score"] for one in json.loads(report.as_json(reported(PI)))] == ["97.10% ± 1.20%", "97.30%"]
    assert "97.10% ± 1.20%" in report.chart_of(reported(PI)).page([("SCORE",), (rows[0].score,)])


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


RIVALS = {
    "profile": "pi",
    "buildKey": "k1",
    "node": "pi-7",
    "winner": "gru/fp32",
    "finalists": [
        {
            "alternative": name, "precision": "fp32", "image": f"r@sha256:{name}", "size": 1500, "accuracy": "97.10%",
            "latency": f"{ms}ms", "reason": "Passed", "verdict": f"{name} it is.",
        }
        for name, ms in (("source", 3), ("gru", 2), ("knn", 9))
    ],
}  # fmt: skip
"""A trial of a source and alternatives to it."""
BUILDS = [
    {"alternative": "source", "buildKey": "k1", "state": "Built"},
    {"alternative": "gru", "buildKey": "k8", "state": "Built"},
    {"alternative": "knn", "buildKey": "k9", "state": "Built"},
    {"alternative": "lstm", "buildKey": "k7", "state": "Failed", "message": "It takes other inputs."},
]
OUT = {"alternative": "gru", "precision": "int8", "message": "it drops by 0.2", "accuracy": "77.00%"}
GRU = {**PI, "buildKey": "k8", "alternative": "gru", "precision": "fp32", "builds": BUILDS, "refused": [OUT]}


def test_candidates_of_alternatives_are_named_after_them_and_those_that_are_out_say_why() -> None:
    rows = report.rows_of(reported(GRU, trials=(RIVALS,)))
    assert [(one.candidate, one.score, one.verdict) for one in rows] == [
        ("source/fp32", "97.10%", "source it is."),
        ("gru/fp32", "97.10%", "gru it is."),
        ("knn/fp32", "97.10%", "knn it is."),
        ("gru/int8", "77.00%", "It is out: it drops by 0.2."),
        ("lstm", "", "It is out: It takes other inputs."),
    ]


def test_tensors_that_were_renamed_have_a_column_where_there_are_some() -> None:
    named = [{**one, "renamed": "input.1 -> data"} if one["alternative"] == "gru" else one for one in BUILDS]
    model = reported({**GRU, "builds": named}, trials=(RIVALS,))
    assert [(one.candidate, one.renamed) for one in report.rows_of(model) if one.renamed] == [
        ("gru/fp32", "input.1 -> data"),
        ("gru/int8", "input.1 -> data"),
    ]
    header, *lines = report.as_text(model).splitlines()
    assert "RENAMED" in header.split()
    assert [line.split()[1] for line in lines if "input.1 -> data" in line] == ["gru/fp32", "gru/int8"]
    alone = reported({**GRU, "builds": named, "refused": []}, trials=())
    assert report.rows_of(alone)[0].renamed == "input.1 -> data"


def test_an_alternative_whose_candidates_are_all_out_has_no_further_line() -> None:
    failed = [{**one, "state": "Failed", "message": "No candidate keeps the gates."} for one in BUILDS]
    rows = report.rows_of(reported({**GRU, "builds": failed}, trials=()))
    assert [row.candidate for row in rows if "No candidate keeps" in row.verdict] == ["source", "knn", "lstm"]
    assert [row.verdict for row in rows if row.candidate == "gru/int8"] == ["It is out: it drops by 0.2."]


def test_each_alternative_has_a_colour_in_the_picture() -> None:
    chart = report.chart_of(reported(GRU, trials=(RIVALS,)))
    colours = [mark.colour for mark in chart.marks() if isinstance(mark, Dot)]
    texts = [mark.words for mark in chart.marks() if isinstance(mark, Text)]
    assert len(set(colours)) == 3
    assert {"source/fp32, pi", "gru/fp32, pi (chosen)", "knn/fp32, pi"} <= set(texts)


def test_without_measurements_there_is_no_picture() -> None:
    with pytest.raises(ValueError, match="no device has tried candidates of EdgeModel parts"):
        report.chart_of(reported(PANEL))


def test_the_png_has_the_pictures_size() -> None:
    data = report.chart_of(reported(PI)).png()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) == (WIDTH, HEIGHT)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def reported_pi(_found: object) -> EdgeModel:
        return reported(PI)

    monkeypatch.setattr(report, "asked_for", reported_pi)


def write(png: Path | None, html: Path | None) -> None:
    named = {"png": str(png) if png else None, "html": str(html) if html else None, "output": "json"}
    report.run(argparse.Namespace(**named))


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("kind", ["png", "html"])
def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"r.{kind}"
    path.write_text("before")
    free, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, most))
    try:
        with pytest.raises(OSError, match=re.escape(str(path))):
            write(**{"png": None, "html": None, kind: path})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (free, most))
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [(path.name, "before")]
    write(**{"png": None, "html": None, kind: path})
    assert path.read_bytes()[:15] in (report.chart_of(reported(PI)).png()[:15], b"<!doctype html>")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.usefixtures("asked")
def test_where_one_file_cannot_be_drawn_none_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chart, "page", lambda *_: "\ud800")
    with pytest.raises(UnicodeEncodeError):
        write(tmp_path / "r.png", tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("asked")
def test_a_pipe_takes_a_page_and_stays_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write(None, tmp_path / "pipe")
        assert os.read(reading, 15) == b"<!doctype html>"
    finally:
        os.close(reading)
    assert (tmp_path / "pipe").is_fifo()
