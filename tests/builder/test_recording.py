"""Golden samples: few and small inputs, tight answers, and a bundle that passes on the machine that built it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from candidates import FLOAT, asked, built, made, node, numbers
from detector import detector, pictures

from edgesmith_builder.contract import Gates
from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import NoCandidate, RequestInvalid
from edgesmith_builder.gather import Inputs
from edgesmith_builder.ladder.rung import replayed
from edgesmith_builder.score import ScoreFailed, golden_inputs, record
from edgesmith_builder.score.asking import Answer
from edgesmith_builder.score.recording import on_grid
from edgesmith_builder.score.spread import spread
from edgesmith_builder.score.two_ways import SAMPLES, OtherWay
from edgesmith_runtime.bundle import read_bundle, write_bundle
from edgesmith_runtime.engine import Engine, load_engine
from edgesmith_runtime.golden import UNCOMPARED, Golden, places, replay
from edgesmith_runtime.tensors import TensorSpec


def golden_of(folder: Path) -> Golden:
    return Golden.read(*read_bundle(folder).golden_paths)


def whole(golden: Golden, name: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What was kept of an output, and its tolerances, by place: NaN where nothing is kept."""
    answers = golden.outputs[name]
    size = int(np.prod(answers.shapes[0]))
    values, allowed = np.full((len(golden), size), np.nan), np.full((len(golden), size), np.nan)
    ends = np.cumsum(answers.counts)
    for sample, (end, count) in enumerate(zip(ends, answers.counts, strict=True)):
        where = places(size, int(count), sample)
        values[sample, where] = answers.values[end - count : end]
        allowed[sample, where] = np.ldexp(1.0, answers.tolerances[end - count : end].astype(int))
    return values, allowed


def head(scores: float = 1.0) -> onnx.ModelProto:
    """Two coordinates in hundreds of pixels and a score from 0 to 1 for each of 50 places, in one output."""
    weights = {
        "box": np.abs(numbers(8, 100, seed=1)) * 50,
        "score": numbers(8, 50, seed=2),
        "boxes": np.array([-1, 50, 2]),
        "scores": np.array([-1, 50, 1]),
        "factor": np.array(scores, np.float32),
    }
    nodes = [
        *(node("MatMul", ["x", "box"], ["b0"]), node("Reshape", ["b0", "boxes"], ["b"])),
        *(
            node("MatMul", ["x", "score"], ["s0"]),
            node("Sigmoid", ["s0"], ["s1"]),
            node("Mul", ["s1", "factor"], ["s2"]),
        ),
        *(node("Reshape", ["s2", "scores"], ["s"]), node("Concat", ["b", "s"], ["y"], axis=2)),
    ]
    return made(nodes, [("x", FLOAT, ["n", 8])], [("y", FLOAT, ["n", 50, 3])], weights)


def test_a_tolerance_is_a_thousandth_of_its_channel_s_range_in_fp32_and_two_steps_of_256_in_int8(
    tmp_path: Path,
) -> None:
    for precision, least in (("fp32", 2.0**-10), ("int8", 2.0**-7)):
        folder = tmp_path / precision
        folder.mkdir()
        built(folder, head(400.0), {"x": numbers(50, 8)}, precisions=(precision,))
        values, allowed = whole(golden_of(folder / "work" / precision / "bundle"), "y")
        for channel in range(3):
            kept = values[:, channel::3]
            span = np.nanmax(kept) - np.nanmin(kept)
            assert span * least <= np.nanmax(allowed[:, channel::3]) <= 4 * span * least
            assert np.isfinite(kept).mean() == 1.0, "a small output is kept whole"


def test_scores_that_are_lost_beside_boxes_do_not_pass_for_the_recorded_ones(tmp_path: Path) -> None:
    built(tmp_path, head(), {"x": numbers(50, 8)}, precisions=("fp32",))
    golden = golden_of(tmp_path / "work" / "fp32" / "bundle")
    for factor, passes in ((1.0, True), (1.0001, True), (0.99, False), (0.0, False)):
        (tmp_path / "other.onnx").write_bytes(head(factor).SerializeToString())
        parity = replay(load_engine("onnxruntime", tmp_path / "other.onnx", threads=1), golden)
        assert parity.passed == passes, parity.message


def recorded(engine: Engine, inputs: Inputs, other: OtherWay, more: Samples | None = None) -> Golden:
    """The golden answers of a model in fp32 that is small."""
    known = inputs.answers.outputs
    return record(engine, inputs.golden, other=other, more=more, known=known, precision="fp32", model_size=1000)


def test_what_two_ways_of_computing_differ_by_widens_the_tolerance_and_a_size_that_differs_is_left_out(
    tmp_path: Path,
) -> None:
    model = outputs(
        [node("MatMul", ["x", "w"], ["y"]), node("Relu", ["y"], ["z"]), node("Identity", ["y"], ["n"])],
        [(name, FLOAT, ["n", 4]) for name in ("y", "z", "n")],
        w=numbers(8, 4),
    )
    _, inputs = asked(tmp_path, model, {"x": numbers(30, 8)})
    engine = load_engine("onnxruntime", inputs.model.path, threads=1)
    others = [engine.infer(inputs.golden.feed(sample)) for sample in range(len(inputs.golden))]
    others[3]["y"] = others[3]["y"] + np.array([0, 0, 0, 0.1], np.float32)
    others[2]["n"] = others[2]["n"][:, :2]
    golden = recorded(engine, inputs, lambda _: others)
    assert set(golden.outputs) == {"y", "z"}
    _, allowed = whole(golden, "y")
    assert (allowed[:, 3] == 1.0).all(), "eight times a tenth, rounded up to a power of two"
    assert allowed[:, :3].max() < 0.05
    other = [{name: array[:, :2] for name, array in answer.items()} for answer in others]
    with pytest.raises(ScoreFailed, match="the size of every output depends on the last bits"):
        recorded(engine, inputs, lambda _: other)


def test_what_two_ways_differ_by_is_taken_of_more_samples_than_the_golden_ones(tmp_path: Path) -> None:
    """Golden samples that both ways answer alike, by luck, say nothing of the next device's way."""
    model = outputs([node("MatMul", ["x", "w"], ["y"])], [("y", FLOAT, ["n", 4])], w=numbers(8, 4))
    _, inputs = asked(tmp_path, model, {"x": numbers(100, 8)})
    engine = load_engine("onnxruntime", inputs.model.path, threads=1)
    assert inputs.calibration is not None
    sizes = []

    def other(samples: Samples) -> list[Answer]:
        sizes.append(len(samples))
        answers = [engine.infer(samples.feed(index)) for index in range(len(samples))]
        if len(samples) > len(inputs.golden):
            answers[11]["y"] = answers[11]["y"] + np.array([0, 0, 0.2, 0], np.float32)
            answers[12]["y"] = answers[12]["y"][:, :2]
        return answers

    golden = recorded(engine, inputs, other, more=inputs.calibration)
    assert sizes == [len(inputs.golden), SAMPLES]
    _, allowed = whole(golden, "y")
    assert (allowed[:, 2] == 0.5).all(), "twice 0.2, rounded up to a power of two"
    assert allowed[:, [0, 1, 3]].max() < 0.05


def outputs(nodes: list[onnx.NodeProto], outs: list[Any], **weights: Any) -> onnx.ModelProto:
    return made(nodes, [("x", FLOAT, ["n", 8])], outs, weights)


ODD: dict[str, onnx.ModelProto] = {
    "a constant": outputs(
        [node("MatMul", ["x", "w"], ["y"]), node("Identity", ["t"], ["temperature"])],
        [("y", FLOAT, ["n", 4]), ("temperature", FLOAT, [1])],
        w=numbers(8, 4),
        t=np.array([0.07], np.float32),
    ),
    "nothing found": outputs(
        [node("Greater", ["x", "limit"], ["k"]), node("NonZero", ["k"], ["found"])],
        [("found", onnx.TensorProto.INT64, [2, "k"])],
        limit=np.array(1e3, np.float32),
    ),
    "findings of any number": outputs(
        [
            node("Greater", ["x", "limit"], ["k"]),
            node("Compress", ["x", "flat"], ["c"]),
            node("NonZero", ["k"], ["found"]),
        ],
        [("found", onnx.TensorProto.INT64, [2, "k"]), ("c", FLOAT, ["k"])],
        limit=np.array(0.5, np.float32),
        flat=np.array([True, False, True]),
    ),
    "minus infinity": outputs(
        [node("Mul", ["x", "k"], ["u"]), node("Softmax", ["u"], ["v"]), node("Log", ["v"], ["y"])],
        [("y", FLOAT, ["n", 8])],
        k=np.array(100, np.float32),
    ),
    "at its bound": outputs(
        [node("Clip", ["x", "low", "high"], ["y"])],
        [("y", FLOAT, ["n", 8])],
        low=np.array(90, np.float32),
        high=np.array(100, np.float32),
    ),
    "zero": outputs([node("Sub", ["x", "x"], ["y"])], [("y", FLOAT, ["n", 8])]),
    "large and hardly changing": outputs(
        [node("MatMul", ["x", "w"], ["s"]), node("Add", ["s", "b"], ["y"])],
        [("y", FLOAT, ["n", 4])],
        w=numbers(8, 4) * np.float32(1e-3),
        b=np.full(4, 1e4, np.float32),
    ),
}


@pytest.mark.parametrize("model", ODD.values(), ids=ODD)
@pytest.mark.parametrize("sets", [{"x": numbers(30, 8)}, {"x": numbers(1, 8)}, None], ids=["set", "one", "none"])
def test_an_odd_output_has_a_bundle_that_passes_where_it_was_built(
    tmp_path: Path, model: onnx.ModelProto, sets: Any
) -> None:
    outcome = built(tmp_path, model, sets, precisions=("fp32",))
    assert outcome.winner.layers
    (tmp_path / "again").mkdir()
    replayed(tmp_path / "work" / "fp32" / "bundle", 1, dict)


def test_a_constant_is_held_to_a_thousandth_of_itself_and_an_infinity_to_nothing(tmp_path: Path) -> None:
    built(tmp_path, ODD["a constant"], {"x": numbers(30, 8)}, precisions=("fp32",))
    _, allowed = whole(golden_of(tmp_path / "work" / "fp32" / "bundle"), "temperature")
    assert 0.07 / 1024 <= allowed.max() <= 0.07 / 512
    (tmp_path / "b").mkdir()
    built(tmp_path / "b", ODD["minus infinity"], {"x": numbers(30, 8)}, precisions=("fp32",))
    answers = golden_of(tmp_path / "b" / "work" / "fp32" / "bundle").outputs["y"]
    assert np.array_equal(np.isinf(answers.values), answers.tolerances == UNCOMPARED)
    assert 0 < np.isinf(answers.values).sum() < answers.values.size


def test_a_number_near_ten_thousand_is_held_to_what_a_float_holds_of_it(tmp_path: Path) -> None:
    built(tmp_path, ODD["large and hardly changing"], {"x": numbers(30, 8)}, precisions=("fp32",))
    _, allowed = whole(golden_of(tmp_path / "work" / "fp32" / "bundle"), "y")
    assert 0.05 < allowed.min() <= allowed.max() < 0.5


def test_golden_samples_of_a_sorted_set_are_of_every_class(tmp_path: Path) -> None:
    x, w = numbers(200, 8), numbers(8, 4, seed=2)
    labels = (x @ w).argmax(axis=1)
    order = np.argsort(labels, kind="stable")
    model = outputs([node("MatMul", ["x", "w"], ["y"])], [("y", FLOAT, ["n", 4])], w=w)
    for number, evaluation in enumerate(({"x": x[order], "labels": labels[order]}, None)):
        (tmp_path / str(number)).mkdir()
        _, inputs = asked(tmp_path / str(number), model, {"x": x[order]}, evaluation)
        kinds = (inputs.golden.inputs["x"] @ w).argmax(axis=1)
        assert {*kinds.tolist()} == {0, 1, 2, 3}, "by their labels, or by their distance"


def test_a_candidate_that_does_not_answer_the_same_twice_is_refused_in_words(tmp_path: Path) -> None:
    """Random numbers begin anew with every session; this one's was asked before its answers were recorded."""
    nodes = [
        *(node("MatMul", ["x", "a"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "b"], ["s"])),
        *(node("RandomUniformLike", ["s"], ["noise"], high=1000.0), node("Add", ["s", "noise"], ["y"])),
    ]
    model = outputs(nodes, [("y", FLOAT, ["n", 8])], a=numbers(8, 256), b=numbers(256, 8))
    outcome = built(tmp_path, model, {"x": numbers(50, 8)}, gates=Gates(min_agreement=0.0))
    assert outcome.winner.candidate.precision == "fp32"
    assert "its bundle fails on the machine that built it: 0 of 8 golden samples agree, output 'y'" in (
        outcome.candidates[0].rejected or ""
    )


def test_a_bundle_that_fails_where_it_was_built_is_refused_in_words(tmp_path: Path) -> None:
    built(tmp_path, ODD["a constant"], {"x": numbers(30, 8)}, precisions=("fp32",))
    good = read_bundle(tmp_path / "work" / "fp32" / "bundle")
    golden = Golden.read(*good.golden_paths)
    write_bundle(
        tmp_path / "bad", engine=good.engine, precision="fp32", model_file=good.model_path,
        inputs=good.inputs, outputs=good.outputs, labels=None,
        golden=Golden({"x": golden.inputs["x"][::-1]}, golden.outputs),
    )  # fmt: skip
    with pytest.raises(
        ScoreFailed, match=r"fails on the machine that built it: 0 of 8 golden samples agree, output 'y'"
    ):
        replayed(tmp_path / "bad", 1, dict)


def test_an_answer_that_is_nan_is_not_recorded(tmp_path: Path) -> None:
    """The samples that the source is asked for are finite; one of the golden ones is not."""
    model = outputs([node("Sqrt", ["x"], ["y"])], [("y", FLOAT, ["n", 8])])
    positive = np.abs(numbers(300, 8)) + 1
    wanted, inputs = asked(tmp_path, model, {"x": positive})
    from dataclasses import replace  # noqa: PLC0415 - one user

    from edgesmith_builder.build import climb  # noqa: PLC0415 - one user

    bad = replace(inputs, golden=Samples({"x": -positive[:2]}, {"x": 2}, batches=True))
    (tmp_path / "work").mkdir()
    with pytest.raises(
        NoCandidate, match="fp32: it does not work: the output 'y' has NaN or infinity for golden sample 0"
    ):
        climb(wanted, bad, 0, tmp_path / "work", 1)


def test_an_update_moves_little_more_than_the_model_and_none_of_the_inputs(tmp_path: Path) -> None:
    """The inputs of a detector are larger than the detector, and so are its answers."""
    found = {}
    for name, seed in (("one", 10), ("two", 20)):
        (tmp_path / name).mkdir()
        outcome = built(tmp_path / name, detector(seed), {"image": pictures(4)}, gates=Gates(min_agreement=0.0))
        assert outcome.winner.candidate.precision == "int8"
        inputs, model = outcome.winner.layers
        file = outcome.winner.candidate.size
        assert file is not None
        assert 300_000 < file < 600_000
        assert model.descriptor.size <= 1.05 * file + 20_000
        golden = golden_of(tmp_path / name / "work" / "int8" / "bundle")
        assert inputs.descriptor.size <= 1_400_000 // 4 + 10_000
        assert 1 <= len(golden) <= 8
        assert sum(int(output.counts.sum()) for output in golden.outputs.values()) * 6 <= 8192 + file / 64
        for output in golden.outputs.values():
            assert output.counts.min() >= 100
        found[name] = outcome.winner.layers
    assert found["one"][0].descriptor == found["two"][0].descriptor, "they do not change with the model"
    assert found["one"][1].descriptor != found["two"][1].descriptor


def test_golden_answers_are_on_a_grid_as_fine_as_their_tolerance() -> None:
    values = numbers(80, seed=5)
    exponents = np.full(80, -7)
    rounded = on_grid(values, exponents)
    assert rounded.dtype == np.float32
    assert np.abs(rounded - values).max() <= 2.0**-8
    assert np.array_equal(on_grid(values * np.float32(1 + 1e-6), exponents), rounded)
    assert np.array_equal(on_grid(np.zeros(80, np.float32), exponents), np.zeros(80))
    assert not np.signbit(on_grid(np.full(80, -1e-9, np.float32), exponents)).any()


@pytest.mark.parametrize(
    ("labels", "count", "picked"),
    [
        (None, 4, [1, 3, 5, 7]),
        (None, 1, [4]),
        (None, 8, list(range(8))),
        ([0, 0, 0, 0, 1, 1, 2, 2], 3, [2, 5, 7]),
        ([0, 0, 0, 0, 0, 0, 0, 1], 4, [1, 3, 5, 7]),
        (["a"] * 6 + ["b", "c"], 3, [3, 6, 7]),
        ([0, 1, 2, 3, 4, 5, 6, 7], 2, [2, 6]),
    ],
)
def test_golden_samples_are_spread_over_the_set_and_its_classes(labels: Any, count: int, picked: list[int]) -> None:
    assert spread(count, 8, None if labels is None else np.array(labels)) == picked


def noise(count: int, size: int) -> Samples:
    return Samples({"x": numbers(count, size)}, {"x": 2}, batches=True)


@pytest.mark.parametrize(
    ("size", "source", "count"),
    [(100, 0, 8), (4000, 0, 4), (40_000, 0, 1), (40_000, 1_000_000, 1), (40_000, 5_000_000, 6), (4000, 1_000_000, 8)],
)
def test_golden_inputs_are_bounded_by_the_model_and_one_is_taken_in_any_case(
    size: int, source: int, count: int
) -> None:
    chosen = golden_inputs(noise(20, size), [], source)
    assert len(chosen) == count
    assert len(golden_inputs(noise(20, size), [], int(source * 1.02))) == count, "a little more is no other bound"


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (TensorSpec("x", "FP32", (-1, 1, 8, 8)), (8, 1, 8, 8)),
        (TensorSpec("x", "FP32", (1, 3)), (8, 3)),
        (TensorSpec("x", "INT64", (4, 2)), (8, 4, 2)),
        (TensorSpec("x", "FP64", ()), (8,)),
    ],
)
def test_golden_inputs_without_a_set_are_seeded(spec: TensorSpec, shape: tuple[int, ...]) -> None:
    first, second = golden_inputs(None, [spec], 0), golden_inputs(None, [spec], 0)
    assert first.inputs["x"].shape == shape
    assert np.array_equal(first.inputs["x"], second.inputs["x"])
    assert spec.accepts(first.feed(0)["x"].shape)


@pytest.mark.parametrize("spec", [TensorSpec("x", "FP32", (-1, 3, -1, -1)), TensorSpec("x", "BYTES", (-1, 1))])
def test_golden_inputs_of_open_size_and_of_text_need_a_set(spec: TensorSpec) -> None:
    with pytest.raises(RequestInvalid, match=r"'x' is \w+\[-1,.*\]; a data set was expected"):
        golden_inputs(None, [spec], 0)
