"""Golden samples: kept exactly, compared with a tolerance."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgesmith_runtime.bundle import TensorSpec
from edgesmith_runtime.golden import Golden, GoldenError, replay

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

    def close(self) -> None:
        raise NotImplementedError


def _golden(outputs: Any) -> Golden:
    array = np.asarray(outputs, np.float32)
    return Golden({"x": np.zeros((len(array), 1), np.float32)}, {"y": array})


RECORDED = [[0.0, 10.0], [5.0, 2.0]]  # range 10: a tolerance of 0.05 allows 0.5

CASES: dict[str, tuple[list[Any], int, float]] = {
    "equal": ([[[0, 10]], [[5, 2]]], 2, 0.0),
    "within": ([[[0.4, 10]], [[5, 2.4]]], 2, 0.04),
    "one outside": ([[[0.6, 10]], [[5, 2]]], 1, 0.06),
    "no batch axis in the answer": ([[0, 10], [5, 2]], 2, 0.0),
    "another shape": ([[[0, 10, 0]], [[5, 2]]], 1, np.inf),
    "not a number": ([[[np.nan, 10]], [[5, 2]]], 1, np.inf),
    "infinite": ([[[0, np.inf]], [[5, 2]]], 1, np.inf),
}


@pytest.mark.parametrize(("answers", "agreeing", "worst"), CASES.values(), ids=CASES.keys())
def test_parity(answers: list[Any], agreeing: int, worst: float) -> None:
    engine = Recorded([np.asarray(answer, np.float32) for answer in answers])
    parity = replay(engine, _golden(RECORDED), 0.05)
    assert (parity.samples, parity.agreeing) == (2, agreeing)
    assert parity.worst == pytest.approx(worst, abs=1e-6)
    assert parity.passed == (agreeing == 2)
    assert parity.fraction == agreeing / 2
    assert parity.message.startswith(f"{agreeing} of 2 golden samples agree")


def test_a_constant_output_must_be_met_closely() -> None:
    assert not replay(Recorded([np.array([[1.001]], np.float32)]), _golden([[1.0]]), 0.05).passed


def test_another_type_does_not_agree() -> None:
    assert not replay(Recorded([np.array([[0, 10]]), np.array([[5, 2]])]), _golden(RECORDED), 0.05).passed


def test_recorded_infinities_agree_with_themselves() -> None:
    assert replay(Recorded([np.array([[np.inf, np.nan]], np.float32)]), _golden([[np.inf, np.nan]]), 0.05).passed


def test_text_must_be_equal() -> None:
    text = np.array([["yes"]], np.object_)
    golden = Golden({"x": np.zeros((1, 1), np.float32)}, {"y": text})
    assert replay(Recorded([text.copy()]), golden, 0.05).passed
    assert not replay(Recorded([np.array([["no"]], np.object_)]), golden, 0.05).passed


def test_text_survives_the_file(tmp_path: Path) -> None:
    text = np.array([["grüße", "", "日本"]], np.object_)
    Golden({"x": text}, {"y": text}).write(tmp_path / "g.npz")
    again = Golden.read(tmp_path / "g.npz")
    assert again.inputs["x"].tolist() == text.tolist()
    assert again.inputs["x"].dtype == np.object_


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    bad: Any = np.array([{"a": 1}], np.object_)
    np.savez(tmp_path / "g.npz", allow_pickle=True, **{"input.x": bad, "output.y": bad})
    with pytest.raises(GoldenError, match="cannot be read as golden samples: Object arrays"):
        Golden.read(tmp_path / "g.npz")


@pytest.mark.parametrize("member", ["x.npy", "input..txt", "other.x.npy", "input..npy"])
def test_other_members_are_refused(tmp_path: Path, member: str) -> None:
    with zipfile.ZipFile(tmp_path / "g.npz", "w") as archive:
        archive.writestr(member, b"")
    with pytest.raises(GoldenError, match=r"expected 'input\.<name>\.npy'"):
        Golden.read(tmp_path / "g.npz")


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04broken"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "g.npz").write_bytes(content)
    with pytest.raises(GoldenError, match="cannot be read as golden samples"):
        Golden.read(tmp_path / "g.npz")


def test_numbers_of_samples_must_agree() -> None:
    with pytest.raises(GoldenError, match=r"differ in their number of samples \(1 in input 'x', 2 in output 'y'\)"):
        Golden({"x": np.zeros((1, 1))}, {"y": np.zeros((2, 1))})
