"""What a watch keeps, and what it refuses to take up; baselines that are none; what features are read."""

from __future__ import annotations

import json
import logging
import math
import weakref
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgesmith_runtime.drift.baseline import Baseline, BaselineError
from edgesmith_runtime.drift.observer import Drift
from edgesmith_runtime.drift.recording import FEWEST, baseline_of
from edgesmith_runtime.drift.state import FILE, keep, take_up
from edgesmith_runtime.drift.verdict import LONGEST, read_verdict, verdict_of
from edgesmith_runtime.drift.watch import TOGETHER, State, Watch
from edgesmith_runtime.metrics import Metrics
from edgesmith_runtime.observing import Run
from tests.runtime.drifting import DAY, SPAN, baseline_from, camera, independent, live

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


TEXT = ("length", "words", "digits", "capitals", "foreign")


def a_watch(cycle: float = DAY) -> Watch:
    return Watch(baseline_from(camera, 300), cycle)


def test_a_watch_goes_on_after_a_restart_as_if_there_had_been_none(tmp_path: Path) -> None:
    whole, first = a_watch(), a_watch()
    for watch in (whole, first):
        live(watch, camera, 27 * 3600, start=60)
    keep(first, tmp_path)
    second = a_watch()
    assert take_up(second, tmp_path)
    assert second.figures
    assert verdict_of(second) == verdict_of(first)
    for watch in (whole, second):
        live(watch, camera, int(DAY), start=27 * 3600 + 60, shift=np.array([0, 0, 0, 0.6]), seed=9)
    assert (second.state, second.since) == (whole.state, whole.since) == (State.DRIFTED, whole.since)
    assert [one.value for one in second.figures] == pytest.approx([one.value for one in whole.figures], rel=1e-3)
    assert (tmp_path / FILE).stat().st_size < 48 * 1024


def spoil(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        line, _, sums = data.partition(b"\n")
        head = json.loads(line)
        change(head)
        return json.dumps(head).encode() + b"\n" + sums

    return changed


@pytest.mark.parametrize(
    "spoiled",
    [
        pytest.param(lambda data: data[:-4], id="cut off"),
        pytest.param(lambda data: data[:-1] + b"\x7f", id="a byte is another"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda _: b"[" * 100_000, id="nested"),
        pytest.param(spoil(lambda head: head.update(baseline="sha256:0")), id="of another model"),
        pytest.param(spoil(lambda head: head.update(cycle=3600.0)), id="of another cycle"),
        pytest.param(spoil(lambda head: head.update(formatVersion=1)), id="of the version before"),
        pytest.param(spoil(lambda head: head.update(state="Fine")), id="an unknown state"),
        pytest.param(spoil(lambda head: head.update(closed=99)), id="too many blocks"),
        pytest.param(spoil(lambda head: head.update(ends="soon")), id="no time"),
        pytest.param(spoil(lambda head: head.update(ends=10**400)), id="a time with too many digits for a float"),
        pytest.param(spoil(lambda head: head.pop("quiet")), id="a number is missing"),
    ],
)
def test_what_is_spoilt_is_begun_anew(tmp_path: Path, spoiled: Callable[[bytes], bytes]) -> None:
    watch = a_watch()
    live(watch, camera, 7200)
    keep(watch, tmp_path)
    (tmp_path / FILE).write_bytes(spoiled((tmp_path / FILE).read_bytes()))
    other = a_watch()
    assert not take_up(other, tmp_path)
    assert (other.samples, other.window.closed, other.window.sizes.sum()) == (0, 0, 0)
    live(other, camera, 1200)


def test_a_crash_while_it_is_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = a_watch()
    live(watch, camera, 7200)
    keep(watch, tmp_path)
    before = (tmp_path / FILE).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    live(watch, camera, 7200, start=7200)
    with pytest.raises(OSError, match="No space"):
        keep(watch, tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_an_observer_says_keeps_and_counts(tmp_path: Path) -> None:
    baseline, metrics = baseline_from(independent, 400), Metrics()
    drift, rng = Drift(baseline, 0.0, tmp_path), np.random.default_rng(1)

    def ask(count: int, shift: float) -> list[float]:
        found = []
        for number in range(count):
            run = Run({"x": (rng.standard_normal((1, 4)) + shift).astype(np.float32)}, {}, float(number))
            drift.observe(run)
            drift.idle(float(number))
            novelty = drift.novelty(run)
            assert novelty is not None
            found += novelty.tolist()
        return found

    usual = ask(300, 0.0)
    assert sum(value > 1 for value in usual) < 30
    assert drift.verdict.state.value == "Learning"
    assert min(ask(400, 8.0)) > 1
    several = drift.novelty(Run({"x": np.zeros((40, 4), np.float32)}, {}, 0.0))
    assert several is not None
    assert several.shape == (40,)
    assert several.max() < 1
    assert drift.novelty(Run({"z": np.zeros((1, 4), np.float32)}, {}, 0.0)) is None
    assert drift.verdict.state is State.DRIFTED
    assert {"novel", "sketch"} <= {name for name, *_ in drift.verdict.features}
    assert drift.verdict.features[0][0].startswith("x[")
    drift.tell(metrics)
    assert metrics.get("edgesmith_drifted") == 1
    assert metrics.get("edgesmith_drift_samples_total") == 700
    assert metrics.get("edgesmith_drift_psi", "x[0]") > metrics.get("edgesmith_drift_psi_limit", "x[0]")
    again = Drift(baseline, 0.0, tmp_path)
    assert again.verdict.key == drift.verdict.key, "drift that began is kept at once"


def test_a_state_that_turned_while_a_run_was_observed_is_said_and_kept_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    baseline, rng, at = baseline_from(independent, 400), np.random.default_rng(1), 1000.0
    caplog.set_level(logging.INFO, logger="edgesmith_runtime")
    drift = Drift(baseline, 0.0, tmp_path)

    def observe(shift: float) -> None:
        drift.observe(Run({"x": (rng.standard_normal((1, 4)) + shift).astype(np.float32)}, {}, at))

    observe(0.0)
    drift.idle(at)  # it is kept now, and not again for a while
    turns = [State.LEARNING]
    for shift, state in ((0.0, State.STEADY), (8.0, State.DRIFTED)):
        for _ in range(5000):
            observe(shift)
            at += 1e-3
            if drift._watch.state is state:
                break
        drift.idle(at)
        turns.append(state)
        assert Drift(baseline, 0.0, tmp_path).verdict.key == drift.verdict.key, "a crash would have it turn twice"
    said = [(one.__dict__["before"], one.__dict__["state"]) for one in caplog.records if one.getMessage() == "drift"]
    assert said == list(pairwise(turns))


def test_what_was_found_of_a_run_is_not_found_twice_and_nothing_of_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    drift, rng = Drift(baseline_from(independent, 400), 0.0, None), np.random.default_rng(1)
    long, short = (Run({"x": rng.standard_normal((rows, 4)).astype(np.float32)}, {}, 1.0) for rows in (40, 3))
    expected, all_of_it = drift.novelty(short), drift.novelty(long)
    drift.observe(long)
    again = drift.novelty(long)
    assert again is not None
    assert all_of_it is not None
    assert again.tolist() == all_of_it.tolist(), "of a long run it is known of the first samples alone"
    drift.observe(short)

    other = drift.novelty(Run({"x": np.full((3, 4), 8, np.float32)}, {}, 1.0))
    assert other is not None
    assert other.min() > 1, "it is of the run that was taken up"

    def found_again(*_: object) -> NDArray[np.float64]:
        raise AssertionError("it was found already")

    monkeypatch.setattr(drift._watch, "distances", found_again)
    known = drift.novelty(short)
    assert known is not None
    assert expected is not None
    assert known.tolist() == expected.tolist()
    kept = weakref.ref(short.inputs["x"])
    del short
    drift.idle(2.0)
    assert kept() is None


def test_it_is_called_again_at_the_end_of_a_span_and_when_what_changed_is_to_be_kept(tmp_path: Path) -> None:
    drift = Drift(baseline_from(independent, 400), DAY, tmp_path)
    assert drift.idle(1000.0) == SPAN
    assert drift.idle(2000.0) == SPAN - 1000
    assert drift.idle(1000.0 + SPAN) == SPAN
    drift.observe(Run({"x": np.zeros((1, 4), np.float32)}, {}, 3000.0))
    drift.idle(3000.0)
    drift.observe(Run({"x": np.zeros((1, 4), np.float32)}, {}, 3001.0))
    assert drift.idle(3001.0) == 59
    before = (tmp_path / FILE).read_bytes()
    assert drift.idle(3060.0) == 1000 + 2 * SPAN - 3060
    assert (tmp_path / FILE).read_bytes() != before
    assert Drift(baseline_from(independent, 400), 0.0, None).idle(1000.0) == math.inf


def test_a_verdict_is_short_and_reads_back() -> None:
    watch = Watch(baseline_from(independent, 400), 0.0)
    live(watch, independent, 7200, shift=3.0)
    said = verdict_of(watch)
    assert len(said.write()) < LONGEST / 2
    assert read_verdict(said.write()) == said
    assert 1 <= len(said.features) <= 5


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b'{"version":2}', b'{"version":1,"state":"x"}', b"[" * 2000, b" " * 9999,
             b'{"version":1,"features":[{"name":"x","value":1' + b"0" * 400 + b',"limit":1}]}'],
)  # fmt: skip
def test_what_is_no_verdict_is_none(text: bytes) -> None:
    assert read_verdict(text) is None


def of(
    samples: list[dict[str, Any]], outputs: list[dict[str, Any]] | None = None, classes: str | None = None
) -> Baseline:
    axes = {name: np.asarray(array).ndim - 1 for name, array in samples[0].items()}
    made = baseline_of(zip(samples, outputs or [{}] * len(samples), strict=True), axes, seed="s", classes=classes)
    assert made is not None
    return made


def test_the_same_samples_give_the_same_bytes_which_read_back() -> None:
    one, two = baseline_from(camera, 300), baseline_from(camera, 300)
    assert one.write() == two.write()
    assert Baseline.read(one.write()).write() == one.write()
    assert len(one.write()) < 8 * 1024


def test_the_largest_baseline_has_some_tens_of_kilobytes() -> None:
    rng = np.random.default_rng(1)
    samples = [{name: rng.standard_normal((1, 32)).astype(np.float32) for name in "abcd"} for _ in range(1000)]
    made = of(samples)
    assert len(made.names) == 64, "two tensors of 32; the others do not fit"
    assert len(made.write()) < 40 * 1024


def test_too_few_samples_make_no_baseline() -> None:
    few: list[Any] = [({"x": np.ones((1, 2), np.float32)}, {})] * (FEWEST - 1)
    assert baseline_of(few, {"x": 1}, seed="s", classes=None) is None


@pytest.mark.parametrize(
    ("array", "features"),
    [
        pytest.param(np.ones((1, 1), np.float32), ["x"], id="one number"),
        pytest.param(np.ones((1, 3), np.int64), ["x[0]", "x[1]", "x[2]"], id="few numbers"),
        pytest.param(np.ones((1, 16, 16, 3), np.uint8), ["x.brightness", "x.channel[2]", "x.projection[7]"], id="last"),
        pytest.param(np.ones((1, 3, 16, 16), np.float32), ["x.sharpness", "x.channel[2]"], id="channels first"),
        pytest.param(np.ones((1, 28, 28), np.float32), ["x.contrast", "x.projection[0]"], id="grey"),
        pytest.param(np.ones((1, 1, 5000), np.float32), ["x.mean", "x.roughness", "x.projection[3]"], id="a signal"),
        pytest.param(np.array([["a b", "c"]], object), ["x.length", "x.words", "x.digits"], id="texts"),
        pytest.param(np.array(["a b"], object), ["x.length", "x.foreign"], id="a text each"),
        pytest.param(np.array([5], np.int64), ["x"], id="a number each"),
        pytest.param(np.array([True]), ["x"], id="a yes or no each"),
        pytest.param(np.array([[1 << 63]], np.uint64), ["x"], id="a large number"),
    ],
)
def test_features_are_named_after_what_a_tensor_is(array: np.ndarray[Any, Any], features: list[str]) -> None:
    made = of([{"x": array}] * FEWEST)
    assert set(features) <= set(made.names)
    watch = Watch(Baseline.read(made.write()), 0.0)
    assert (watch.see({"x": array}, {}, 0.0) <= 1).all()


def picture(level: float, noise: float, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    ramp = np.linspace(-40, 40, 32)[:, np.newaxis] + np.zeros((32, 32))
    return np.clip(ramp + level + noise * rng.standard_normal((32, 32)), 0, 255).astype(np.uint8)[np.newaxis]


def blurred(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray((image + np.roll(image, 1, 2).astype(int)) // 2, np.uint8)


@pytest.mark.parametrize(
    ("changed", "feature"),
    [
        pytest.param(lambda image: (image // 2).astype(np.uint8), "x.brightness", id="darker"),
        pytest.param(
            lambda image: ((image + np.roll(image, 1, 2).astype(int)) // 2).astype(np.uint8),
            "x.sharpness",
            id="blurred",
        ),
        pytest.param(lambda image: np.rot90(image, 1, (1, 2)).copy(), "x.projection", id="turned"),
    ],
)
def test_what_changes_a_picture_is_named(changed: Callable[[Any], Any], feature: str) -> None:
    rng = np.random.default_rng(1)
    made = of([{"x": picture(rng.normal(120, 10), 8, rng)} for _ in range(400)])
    watch = Watch(made, 0.0)
    for number in range(3700):
        watch.see({"x": changed(picture(rng.normal(120, 10), 8, rng))}, {}, float(number))
    assert watch.state is State.DRIFTED
    worst = [one.name for one in watch.figures if one.ratio > 1 and one.name.startswith("x.")]
    assert any(name.startswith(feature) for name in worst[:3]), worst


def test_confidence_and_classes_are_watched_and_an_output_that_nobody_asked_for_is_no_drift() -> None:
    rng = np.random.default_rng(1)

    def answered(share: float) -> dict[str, Any]:
        best = int(rng.random() < share)
        sure = 0.7 + 0.2 * rng.random()
        return {"y": np.array([[sure, 1 - sure] if best else [1 - sure, sure]], np.float32)}

    samples = [{"x": rng.standard_normal((1, 2)).astype(np.float32)} for _ in range(500)]
    made = of(samples, [answered(0.5) for _ in samples], classes="y")
    assert made.names[-2:] == ("y.confidence", "y.class")
    silent, other = Watch(made, 0.0), Watch(made, 0.0)
    for number in range(3700):
        sample = {"x": rng.standard_normal((1, 2)).astype(np.float32)}
        silent.see(sample, {}, float(number))
        other.see(sample, answered(0.9), float(number))
    assert silent.state is State.STEADY
    assert other.state is State.DRIFTED
    assert next(one.name for one in other.figures if one.name not in TOGETHER) == "y.class"


def test_labels_as_text_are_answers_like_others() -> None:
    inputs = [{"x": np.array([f"part {n}"], object)} for n in range(60)]
    made = of(inputs, [{"label": np.array(["fine" if n % 3 else "broken"], object)} for n in range(60)])
    assert set(made.names) == {f"{t}.{of}" for t in ("x", "label") for of in TEXT}
    watch = Watch(made, 0.0)
    several = {"x": np.array(["part 1", "part 2"], object)}
    assert watch.see(several, {"label": np.array(["fine", "fine"], object)}, 0.0).shape == (2,)
    assert watch.window.span.counts[0].sum() == 2


def test_boxes_are_no_answer_of_a_sample() -> None:
    boxes = [{"boxes": np.ones((count % 5, 6), np.float32)} for count in range(60)]
    made = of([{"x": np.ones((1, 2), np.float32)}] * 60, boxes)
    assert made.names == ("x[0]", "x[1]")


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.update(formatVersion=2),
        lambda found: found.update(samples=-1),
        lambda found: found.update(seed=5),
        lambda found: found["readings"][0].update(kind="magic"),
        lambda found: found["readings"][0].update(count=10**9),
        lambda found: found["edges"].pop(),
        lambda found: found["edges"][0].reverse(),
        lambda found: found["counts"][0].__setitem__(0, -1),
        lambda found: found["sketch"].update(width=0),
        lambda found: found["sketch"]["mean"].pop(),
        lambda found: found["sketch"].update(far="x"),
        lambda found: found["sketch"].update(features=99),
        lambda found: found.pop("edges"),
    ],
)
def test_a_baseline_that_is_none_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    found = json.loads(baseline_from(independent, 100).write())
    change(found)
    with pytest.raises(BaselineError, match=r"^baseline "):
        Baseline.read(json.dumps(found).encode())
