"""Golden samples: kept exactly, compared element by element with a tolerance each."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgesmith_runtime.bundle import TensorSpec
from edgesmith_runtime.golden import UNCOMPARED, Answers, Golden, GoldenError, places, replay

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


class Recorded:
    """An engine that answers sample after sample what a test tells it."""

    inputs = (TensorSpec("x", "FP32", (-1, 1)),)
    outputs = (TensorSpec("y", "FP32", (-1, 2)),)

    def __init__(self, answers: Sequence[NDArray[Any]]) -> None:
        self.answers = list(answers)

    def infer(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None, *, busy: bool = False
    ) -> dict[str, NDArray[Any]]:
        assert inputs["x"].shape == (1, 1)
        assert outputs == ("y",)
        assert not busy
        return {"y": self.answers.pop(0)}

    @property
    def warning(self) -> None:
        return None

    def settle(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def _golden(outputs: Any, tolerance: float = 0.05) -> Golden:
    array = np.asarray(outputs, np.float32)
    return Golden.of({"x": np.zeros((len(array), 1), np.float32)}, {"y": array}, tolerance)


RECORDED = [[0.0, 10.0], [5.0, 2.0]]  # range 10: a tolerance of 0.05 allows 0.5

CASES: dict[str, tuple[list[Any], int, float]] = {
    "equal": ([[[0, 10]], [[5, 2]]], 2, 0.0),
    "within": ([[[0.4, 10]], [[5, 2.4]]], 2, 0.8),
    "one outside": ([[[0.6, 10]], [[5, 2]]], 1, 1.2),
    "no batch axis in the answer": ([[0, 10], [5, 2]], 2, 0.0),
    "another shape": ([[[0, 10, 0]], [[5, 2]]], 1, np.inf),
    "nothing": ([np.zeros((1, 0)), [[5, 2]]], 1, np.inf),
    "not a number": ([[[np.nan, 10]], [[5, 2]]], 1, np.inf),
    "infinite": ([[[0, np.inf]], [[5, 2]]], 1, np.inf),
}


@pytest.mark.parametrize(("answers", "agreeing", "worst"), CASES.values(), ids=CASES.keys())
def test_parity(answers: list[Any], agreeing: int, worst: float) -> None:
    engine = Recorded([np.asarray(answer, np.float32) for answer in answers])
    parity = replay(engine, _golden(RECORDED))
    assert (parity.samples, parity.agreeing) == (2, agreeing)
    assert parity.worst == pytest.approx(worst, abs=1e-6)
    assert parity.passed == (agreeing == 2)
    assert parity.fraction == agreeing / 2
    assert parity.message.startswith(f"{agreeing} of 2 golden samples agree")


def test_a_sample_that_disagrees_is_told_with_its_numbers() -> None:
    parity = replay(Recorded([np.array([[0, 9]], "f4"), np.array([[5, 2]], "f4")]), _golden(RECORDED))
    assert parity.message == (
        "1 of 2 golden samples agree, output 'y' of sample 0 has 9 at element 1; expected 10 within 0.5"
    )


def _kept(shapes: Any, counts: Any, values: Any, tolerances: Any) -> Golden:
    answers = Answers(
        np.array(shapes, np.int64), np.array(counts, np.int64), np.asarray(values), np.array(tolerances, np.int16)
    )
    return Golden({"x": np.zeros((len(counts), 1), np.float32)}, {"y": answers})


def test_every_element_has_a_tolerance_of_its_own() -> None:
    """A box in pixels and a score in one output: what is nothing to the one is all to the other."""
    golden = _kept([[1, 2]], [2], np.array([300.0, 0.9], "f4")[places(2, 2, 0)], np.array([1, -8])[places(2, 2, 0)])
    assert replay(Recorded([np.array([[301.5, 0.9]], "f4")]), golden).passed
    assert not replay(Recorded([np.array([[300, 0.89]], "f4")]), golden).passed
    assert not replay(Recorded([np.array([[303, 0.9]], "f4")]), golden).passed


def test_an_element_that_is_not_compared_may_be_anything() -> None:
    golden = _kept(
        [[1, 2]], [2], np.array([-np.inf, 1], "f4")[places(2, 2, 0)], np.array([UNCOMPARED, -8])[places(2, 2, 0)]
    )
    for value in (-np.inf, np.nan, -104.5, 1e38):
        assert replay(Recorded([np.array([[value, 1]], "f4")]), golden).passed


def test_answers_of_another_size_each_and_empty_ones_are_compared() -> None:
    """A detector that finds nothing, then something."""
    golden = _kept([[0, 2], [3, 2]], [0, 4], np.arange(6, dtype="f4")[places(6, 4, 1)], [-8] * 4)
    found = np.arange(6, dtype="f4").reshape(3, 2)
    assert replay(Recorded([np.zeros((0, 2), "f4"), found]), golden).passed
    assert not replay(Recorded([np.zeros((1, 2), "f4"), found]), golden).passed
    assert not replay(Recorded([np.zeros((0, 2), "f4"), found[:2]]), golden).passed
    assert not replay(Recorded([np.zeros((0, 2), "f4"), found + 1]), golden).passed


@pytest.mark.parametrize(("size", "count"), [(1, 1), (2, 2), (10, 10), (8400 * 85, 850), (4420 * 4, 400), (1000, 7)])
def test_the_elements_that_are_kept_are_spread_over_the_answer(size: int, count: int) -> None:
    chosen = np.concatenate([places(size, count, sample) for sample in range(3)])
    assert len({*places(size, count, 1).tolist()}) == count
    assert 0 <= chosen.min() <= chosen.max() < size
    for channels in (4, 85):
        if size % channels == 0:
            assert set(chosen % channels) == set(range(channels)), "every channel, where it is the last axis"
            assert set(chosen // (size // channels)) == set(range(channels)), "and where it is the first"


def test_integers_are_compared_exactly_beyond_what_a_float_holds() -> None:
    golden = Golden.of({"x": np.zeros((1, 1), np.float32)}, {"y": np.array([[2**60, 1]])}, 1e-20)
    assert replay(Recorded([np.array([[2**60, 1]])]), golden).passed


def test_a_constant_output_must_be_met_closely() -> None:
    assert not replay(Recorded([np.array([[1.001]], np.float32)]), _golden([[1.0]])).passed


def test_another_type_does_not_agree() -> None:
    assert not replay(Recorded([np.array([[0, 10]]), np.array([[5, 2]])]), _golden(RECORDED)).passed


def test_recorded_infinities_agree_with_themselves() -> None:
    assert replay(Recorded([np.array([[np.inf, np.nan]], np.float32)]), _golden([[np.inf, np.nan]])).passed


def test_text_must_be_equal() -> None:
    text = np.array([["yes"]], np.object_)
    golden = Golden.of({"x": np.zeros((1, 1), np.float32)}, {"y": text}, 0.05)
    assert replay(Recorded([text.copy()]), golden).passed
    parity = replay(Recorded([np.array([["no"]], np.object_)]), golden)
    assert parity.message == "0 of 1 golden samples agree, output 'y' of sample 0 is 'no'; expected 'yes'"


def test_what_is_written_is_read_and_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    text = np.array([["grüße", "", "日本"]], np.object_)
    golden = Golden.of({"x": text}, {"y": text, "z": np.ones((1, 3), np.float32)}, 0.05)
    for name in ("a", "b"):
        golden.write(tmp_path / f"{name}.in", tmp_path / f"{name}.out")
    again = Golden.read(tmp_path / "a.in", tmp_path / "a.out")
    assert again.inputs["x"].tolist() == text.tolist()
    assert again.inputs["x"].dtype == again.outputs["y"].values.dtype == np.object_
    assert again.outputs["z"].tolerances.tolist() == golden.outputs["z"].tolerances.tolist()
    assert (tmp_path / "a.in").read_bytes() == (tmp_path / "b.in").read_bytes()
    assert (tmp_path / "a.out").read_bytes() == (tmp_path / "b.out").read_bytes()


def test_inputs_do_not_change_with_the_answers_and_are_compressed(tmp_path: Path) -> None:
    inputs = {"x": np.zeros((2, 10_000), np.float32)}
    for name, answer in (("a", 1.0), ("b", 2.0)):
        golden = Golden.of(inputs, {"y": np.full((2, 3), answer, np.float32)}, 0.05)
        golden.write(tmp_path / f"{name}.in", tmp_path / f"{name}.out")
    assert (tmp_path / "a.in").read_bytes() == (tmp_path / "b.in").read_bytes()
    assert (tmp_path / "a.in").stat().st_size < 1000


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    bad: Any = np.array([{"a": 1}], np.object_)
    np.savez(tmp_path / "g.npz", allow_pickle=True, x=bad)
    with pytest.raises(GoldenError, match="cannot be read as golden samples: Object arrays"):
        Golden.read(tmp_path / "g.npz", tmp_path / "g.npz")


@pytest.mark.parametrize("member", ["x.npy", "other.x.npy", "shape..npy", "value.npy", "shape.x.npy"])
def test_other_members_are_refused(tmp_path: Path, member: str) -> None:
    _golden(RECORDED).write(tmp_path / "in", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out", "a") as archive, archive.open(member, "w") as stream:
        np.lib.format.write_array(stream, np.zeros(1))
    with pytest.raises(GoldenError, match="expected shape, count, value, tolerance"):
        Golden.read(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04broken"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "g.npz").write_bytes(content)
    with pytest.raises(GoldenError, match="cannot be read as golden samples"):
        Golden.read(tmp_path / "g.npz", tmp_path / "g.npz")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"counts": np.array([2, 3])}, r"keeps \[2, 3\] elements of \[2, 2\]"),
        ({"counts": np.array([2, 1])}, "has 4 elements and 4 tolerances; expected 3"),
        ({"tolerances": np.zeros(3, np.int16)}, "has 4 elements and 3 tolerances; expected 4"),
        ({"shapes": np.array([2, 2])}, "expected a row and a number each"),
        ({"values": np.zeros(4, complex)}, "has type complex128; expected numbers or text"),
    ],
)
def test_answers_that_do_not_fit_together_are_refused(changes: dict[str, Any], words: str) -> None:
    golden = _golden(RECORDED)
    with pytest.raises(GoldenError, match=words):
        Golden(golden.inputs, {"y": replace(golden.outputs["y"], **changes)})


def test_numbers_of_samples_must_agree() -> None:
    with pytest.raises(GoldenError, match=r"differ in their number of samples \(1 in input 'x', 2 in output 'y'\)"):
        Golden.of({"x": np.zeros((1, 1))}, {"y": np.zeros((2, 1))}, 0.05)
