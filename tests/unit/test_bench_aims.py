"""The aims that docs/benchmarks.md states are held by rows, so that `make bench --hold` notices a miss."""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import example_builds
import pytest
from contest import Pace
from example_builds import PLAIN, Measured
from row import Row
from snapshots import REPORT, model

from edgesmith_builder.contract import Finalist

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"

HELD = {
    "rollout with the build cached, three": ("rollout.py", "rollout with the build cached"),
    "bytes per node for a model update": ("row.py", "sent / file"),
    "the same for a detector of 354 kB": ("row.py", "sent / file"),
    "bad canary to the old version serving": ("rollout.py", "bad canary"),
    "p50 over HTTP, one client": ("serving.py", "runtime p50 over bare"),
    "throughput over HTTP": ("serving.py", "runtime throughput"),
    "p50 over gRPC, one client": ("serving.py", "runtime p50 over bare"),
    "throughput over gRPC": ("serving.py", "runtime throughput"),
    "first answer after the start": ("standing.py", "first answer after the start"),
    "server CPU at rest": ("standing.py", "server CPU at rest"),
    "server memory under load": ("standing.py", "at most"),
    "p50 of one client with requests run together": ("together.py", "p50, 1 client"),
    "watching for drift": ("drift_cost.py", "MICROSECONDS"),
    "the same, 64 sensor figures": ("drift_cost.py", "MICROSECONDS"),
    "processor time of that build": ("building.py", "build of MobileNetV2, work"),
    "`runtime-onnxruntime`": ("sizes.py", "75 MB, the aim"),
    "`runtime-openvino`": ("sizes.py", "75 MB, the aim"),
    "`runtime-litert`": ("sizes.py", "75 MB, the aim"),
    "p99 of four clients while": ("sampling_cost.py", "what"),
    "requests lost in a rollout": ("rollout.py", "requests lost in a rollout"),
    "operator start over 10,000": ("start.py", "operator start"),
    "operator memory at its peak": ("start.py", "operator peak memory"),
    "one pass of the planner": ("passes.py", "pass over"),
    "the same, half way": ("passes.py", "pass over"),
}
"""Which row holds an aim. Of the table its first words; of the benchmark a file, and words of what makes the row."""
ELSEWHERE = "requests right and wrong over both ports for an hour"
"""What `make soak` judges."""
CALLED = {"rollout.py": "bytes per node for a model update", "sizes.py": "update of a detector"}
"""Who asks `Row.of_update` for its two aims."""


def stated() -> dict[str, str]:
    """The first table of the page: what is measured, and its aim where there is one."""
    lines = (ROOT / "docs/benchmarks.md").read_text().splitlines()
    table = takewhile(
        lambda line: line.startswith("|"), lines[lines.index("| what | figure | against | ratio | aim |") :]
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table][2:]
    return {cells[0]: cells[-1] for cells in rows if cells[-1]}


def bounds(file: str, words: str) -> list[str]:
    """The bounds, as the code says them, of rows that some words make."""
    text = (BENCH / file).read_text()
    calls = [one for one in ast.walk(ast.parse(text)) if isinstance(one, ast.Call)]
    held = [(call, one.value) for call in calls for one in call.keywords if one.arg in ("most", "least")]
    return [ast.unparse(bound) for call, bound in held if words in (ast.get_source_segment(text, call) or "")]


def test_every_aim_of_the_table_has_a_row_that_holds_it() -> None:
    aims = stated()
    assert len(aims) > 15
    for what in aims:
        if what.startswith(ELSEWHERE):
            continue
        (words,) = [words for words in HELD if what.startswith(words)]
        assert bounds(*HELD[words]), f"{what}: nothing of bench/{HELD[words][0]} holds it to {aims[what]}"
    for words in HELD:
        assert any(what.startswith(words) for what in aims), f"{words}: there is no such aim"


@pytest.mark.parametrize("target", ["bench", "bench/scale.py"])
def test_what_make_measures_with_is_found_as_it_and_the_docs_say(target: str) -> None:
    (path,) = re.findall(rf"^\t@PYTHONPATH=(\S+) \$\(PY\) {target}$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    written = re.escape(path.replace(".:", ".:operator:builder:runtime:"))
    documented = (ROOT / "docs/benchmarks.md").read_text()
    assert re.search(rf"^PYTHONPATH={written} (\\\n  )?python {target} ", documented, re.MULTILINE)
    told = os.environ | {"PYTHONPATH": path}
    said = subprocess.run([sys.executable, target, "--help"], cwd=ROOT, env=told, capture_output=True, check=False)
    assert said.returncode == 0, said.stderr.decode()


def test_a_part_that_breaks_keeps_no_other_from_being_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def breaks() -> list[Row]:
        raise SystemExit("no bucket")

    main = runpy.run_path(str(BENCH / "__main__.py"))
    parts = {"one": breaks, "two": lambda: [Row("after it", 1.0, "s")]}
    patched = main["main"].__globals__ | {"PARTS": parts, "RESULTS": tmp_path / "results.json"}
    monkeypatch.setattr(sys, "argv", ["bench"])
    for name, value in patched.items():
        monkeypatch.setitem(main["main"].__globals__, name, value)
    assert main["main"]() == 1
    said = capsys.readouterr().out
    assert "after it" in said
    assert "not measured: one" in said
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize("what", ["rollout with the build cached, three", "bad canary to", "requests lost"])
def test_a_bound_is_the_one_that_is_stated(what: str) -> None:
    (aim,) = [aim for name, aim in stated().items() if name.startswith(what)]
    (where,) = [where for name, where in HELD.items() if name.startswith(what)]
    (bound,) = bounds(*where)
    assert float(bound) == float(aim.removeprefix("≤ "))


def test_the_p99_beside_samples_has_the_bound_that_is_stated() -> None:
    text = (BENCH / "sampling_cost.py").read_text()
    (aim,) = {aim for name, aim in stated().items() if name.startswith("p99 of four clients")}
    assert re.search(r"^P99 = (.*)$", text, re.MULTILINE).group(1) == aim.removeprefix("≤ ")  # type: ignore[union-attr]
    assert bounds("sampling_cost.py", "what") == ["P99 if share == 0.99 else None"]


@pytest.mark.parametrize(
    ("sent", "file", "reached"),
    [
        (477_000, 467_000, [True, True]),
        (1_060_000, 1_000_000, [False, False]),
        (330_000, 300_000, [False, False]),
        (10_030_000, 10_000_000, [True, False]),
        (112_000, 100_000, [False, True]),
    ],
)
def test_an_update_is_held_to_both_of_its_aims(sent: int, file: int, reached: list[bool]) -> None:
    assert [one.reached for one in Row.of_update("an update", sent, file)] == reached
    aim = {aim for name, aim in stated().items() if "update" in name or "detector" in name}
    assert aim == {"≤ 1.05 and 20 kB"}


def test_updates_of_a_rollout_and_of_a_detector_are_held_to_them() -> None:
    for file, name in CALLED.items():
        assert re.search(rf"\*Row\.of_update\(f?\"{name}", (BENCH / file).read_text())


def won(monkeypatch: pytest.MonkeyPatch, work: float, *, vnni: bool = True, convolutional: bool = True) -> Row:
    """What is said of an example whose int8 takes so many milliseconds, where plain fp32 takes one."""
    monkeypatch.setattr(example_builds, "has_vnni", lambda: vnni)
    report = REPORT.model_copy(update={"finalists": (Finalist(precision="int8", size=1),)})
    paces = {"int8": Pace((work,), (work,)), PLAIN: Pace((1.0,), (1.0,))}
    found = example_builds._rows(Measured("parts", model(), report, convolutional, paces, None))
    (row,) = [one for one in found if one.reached is not None]
    assert row.name == "parts: int8 wins"
    return row


def test_a_winner_is_never_slower_than_fp32_and_with_vnni_convolutions_are_twice_as_fast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not won(monkeypatch, 0.6).reached
    assert won(monkeypatch, 0.5).reached
    for other in ({"vnni": False}, {"convolutional": False}):
        assert won(monkeypatch, 1.0, **other).reached
        assert not won(monkeypatch, 1.1, **other).reached


def test_mobilenet_is_held_to_the_same() -> None:
    assert bounds("quantization.py", 'mine.against(paces["fp32"])') == ["CONVOLUTIONS if has_vnni() else NEVER_SLOWER"]
