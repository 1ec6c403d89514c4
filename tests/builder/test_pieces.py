"""The builder's pure parts, and what only a small test can reach."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesmith_builder.contract import BuildReport, Candidate, Finalist, Gates, Precision
from edgesmith_builder.dataset import read_npz, samples_for
from edgesmith_builder.errors import DatasetInvalid, DatasetMismatch, NoCandidate, RequestInvalid
from edgesmith_builder.gates import doubts, judge, rejection
from edgesmith_builder.ladder import Attempt, walk
from edgesmith_builder.pack import write_layer
from edgesmith_builder.progress import size_text
from edgesmith_builder.source import StoreSettings
from edgesmith_runtime.tensors import TensorSpec

Measured = tuple[BuildReport, Candidate]


def measured_as(metric: dict[str, Any], **facts: Any) -> Measured:
    candidate = Candidate(precision="int8", **facts)
    return BuildReport(precision="int8", size=1, samples=400, candidates=(candidate,), **metric), candidate


def scored(value: float, drop: float = 0.0, error: float | None = None, **metric: Any) -> Measured:
    return measured_as(metric, accuracy=value, accuracy_drop=drop, accuracy_drop_error=error)


def other(**facts: Any) -> Measured:
    return measured_as({}, **facts)


RMSE: dict[str, Any] = {"metric": "RMSE", "higher": False}
DROP, LEAST = Gates(max_accuracy_drop=0.01), Gates(min_accuracy=0.9)
NEAR = other(agreement=0.79, agreement_where="y")


@pytest.mark.parametrize(
    ("measured", "gates", "words"),
    [
        pytest.param(scored(0.9, 0.01), Gates(), None, id="no-gates"),
        pytest.param(scored(0.97, 0.01), DROP, None, id="drop-exactly-allowed"),
        pytest.param(scored(0.9, 0.3 - 0.2), Gates(max_accuracy_drop=0.1), None, id="drop-but-for-the-last-bit"),
        pytest.param(scored(0.96, 0.02), DROP, "accuracy drops by 0.0200", id="drop-too-large"),
        pytest.param(scored(0.99, -0.01), Gates(max_accuracy_drop=0.0), None, id="better-than-the-source"),
        pytest.param(scored(0.9), LEAST, None, id="accuracy-exactly"),
        pytest.param(scored(0.89), LEAST, "at least 0.9000", id="accuracy-too-low"),
        pytest.param(scored(7.0, 0.02, **RMSE), DROP, "RMSE rises by 0.0200 of itself to 7.0000", id="error-rises"),
        pytest.param(scored(7.0, **RMSE), Gates(max_error=7.0), None, id="error-exactly"),
        pytest.param(scored(7.1, **RMSE), Gates(max_error=7.0), "RMSE is 7.1000; at most 7.0000", id="error-large"),
        pytest.param(other(agreement=0.8, agreement_where="y"), Gates(), None, id="agreement-exactly"),
        pytest.param(NEAR, Gates(), "to 0.7900 only, in y", id="agreement-low"),
        pytest.param(other(agreement=0.98), Gates(min_agreement=0.99), "at least 0.9900", id="agreement-asked"),
        pytest.param(other(agreement=0.0), Gates(min_agreement=0.0), None, id="agreement-not-asked"),
        pytest.param(other(image_size=100), Gates(max_image_size=100), None, id="size-exactly"),
        pytest.param(other(image_size=101), Gates(max_image_size=100), "101 bytes", id="size-too-large"),
        pytest.param(other(), Gates(min_accuracy=1.0), None, id="not-measured"),
    ],
)
def test_gates(measured: Measured, gates: Gates, words: str | None) -> None:
    said = rejection(*measured, gates)
    assert (said is None) == (words is None)
    assert words is None or words in str(said)


@pytest.mark.parametrize(
    ("drop", "error", "gate", "words"),
    [
        pytest.param(0.009, 0.01, 0.01, None, id="told apart: the drop counts"),
        pytest.param(0.002, 0.02, 0.01, "by 0.0020, known to 0.0200 either way only over 400 samples", id="not told"),
        pytest.param(0.002, 0.02, 0.01, "so by 0.0220 for all that they tell", id="its upper bound"),
        pytest.param(0.002, 0.02, 0.01, "an evaluation set of about 1600 samples would tell", id="how many would"),
        pytest.param(-0.015, 0.02, 0.01, None, id="better by so much that even the bound passes"),
        pytest.param(0.002, None, 0.01, None, id="the source itself"),
        pytest.param(0.0, 0.02, 0.0, None, id="nothing may be lost over these samples"),
        pytest.param(0.0025, 0.0001, 0.0, "drops by 0.0025", id="and something is"),
    ],
)
def test_a_drop_that_so_few_samples_cannot_tell_is_held_by_its_upper_bound(
    drop: float, error: float | None, gate: float, words: str | None
) -> None:
    said = rejection(*scored(0.9, drop, error), Gates(max_accuracy_drop=gate))
    assert (said is None) == (words is None)
    assert words is None or words in str(said)


def test_a_gate_of_nothing_is_told_to_be_about_these_samples_alone() -> None:
    (words,) = doubts(*scored(0.9, 0.0, 0.02), Gates(max_accuracy_drop=0.0))
    assert "over these 400 samples alone; over others the drop may be 0.0200" in words
    assert doubts(*scored(0.9, 0.0, 0.02), Gates(max_accuracy_drop=0.03)) == ()
    assert doubts(*scored(0.9, 0.0), Gates(max_accuracy_drop=0.0)) == ()


def report(*candidates: Candidate) -> BuildReport:
    images = tuple(Finalist(precision=one.precision, size=1, warnings=("slow",)) for one in candidates[:2])
    return BuildReport(precision="int8", size=1, samples=400, candidates=candidates, finalists=images)


def test_gates_choose_among_the_images_and_say_of_each_other_candidate_why_it_is_out() -> None:
    facts = {"accuracy": 0.9, "accuracy_drop": 0.0, "accuracy_drop_error": 0.02}
    made = report(
        Candidate(precision="int8", agreement=0.7, agreement_where="y"),
        Candidate(precision="fp16", **facts),
        Candidate(precision="fp32", rejected="it cannot be made"),
    )
    found = judge(made, Gates(max_accuracy_drop=0.0))
    assert [one.precision for one in found.finalists] == ["fp16"]
    doubted, slow = found.finalists[0].warnings
    assert "counted over these 400 samples alone" in doubted
    assert slow == "slow"
    assert list(found.refused) == ["int8", "fp32"]
    assert "to 0.7000 only, in y" in found.refused["int8"]
    assert found.words.endswith("; fp32: it cannot be made")
    assert [one.precision for one in judge(made, Gates(min_agreement=0.5)).finalists] == ["int8", "fp16"]


def test_a_candidate_whose_image_is_not_there_is_out() -> None:
    made = report(Candidate(precision="int8"), Candidate(precision="fp16"), Candidate(precision="fp32"))
    assert judge(made, Gates()).refused == {"fp32": "its image is not in the registry, or nothing vouches for it"}


def attempt(rejected: set[str]) -> Any:
    def of(precision: Precision) -> Attempt:
        return Attempt(Candidate(precision=precision, rejected="it is bad" if precision in rejected else None))

    return of


def test_every_rung_that_works_is_a_finalist() -> None:
    outcome = walk(("int8", "fp16", "fp32"), attempt({"fp16"}))
    assert [one.candidate.precision for one in outcome.finalists] == ["int8", "fp32"]
    assert outcome.winner.candidate.precision == "int8"
    assert [one.rejected for one in outcome.candidates] == [None, "it is bad", None]


def test_nobody_wins() -> None:
    with pytest.raises(NoCandidate, match="int8: it is bad; fp32: it is bad") as caught:
        walk(("int8", "fp32"), attempt({"int8", "fp32"}))
    assert len(caught.value.candidates) == 2


def test_a_layer_is_the_same_wherever_and_whenever_it_is_made(tmp_path: Path) -> None:
    digests = set()
    for number, mode in enumerate((0o600, 0o644)):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in ("b", "a") if number else ("a", "b"):
            (folder / name).write_bytes(name.encode() * 1000)
            (folder / name).chmod(mode)
        layer = write_layer("model", folder.iterdir(), tmp_path / f"{number}.tar").descriptor
        data = (tmp_path / f"{number}.tar").read_bytes()
        assert (layer.size, layer.digest) == (len(data), "sha256:" + hashlib.sha256(data).hexdigest())
        digests.add(layer.digest)
        assert len(data) == 512 + 2 * (512 + 1024) + 1024, "headers, two blocks of content each, the end"
        with tarfile.open(tmp_path / f"{number}.tar") as archive:
            assert archive.getnames() == ["model", "model/a", "model/b"]
            assert archive.extractfile("model/b").read() == b"b" * 1000  # type: ignore[union-attr]
    assert len(digests) == 1


def write(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        pytest.param({"a.txt": b"x"}, "members NAME.npy only", id="not-an-array"),
        pytest.param({}, "holds 0 arrays", id="nothing"),
        pytest.param({f"{i}.npy": npy([1]) for i in range(4097)}, "holds 4097 arrays", id="too-many"),
        pytest.param({"a.npy": b"\x93NUMPY\x01\x00"}, "a header that cannot be read", id="cut-off-header"),
        pytest.param({"a.npy": npy([1, 2])[:-1]}, "bytes where 16 were expected", id="cut-off-data"),
        pytest.param({"a.npy": npy([1, 2]) + b"x"}, "bytes where 16 were expected", id="too-much-data"),
        pytest.param({"a.npy": npy([1 + 2j])}, "numbers or text were expected", id="complex"),
        pytest.param({"a.npy": npy(3)}, "at least one sample", id="no-axis"),
        pytest.param({"a.npy": npy(np.zeros(300))}, "at most 2.0 kB", id="too-large"),
    ],
)
def test_npz_files_that_are_refused(tmp_path: Path, members: dict[str, bytes], words: str) -> None:
    path = write(tmp_path / "set.npz", members)
    (tmp_path / "out").mkdir()
    limit = 2000 if "kB" in words else 1 << 20
    with pytest.raises(DatasetInvalid, match=words):
        read_npz(path, field="spec.evaluation.uri s3://m/set.npz", folder=tmp_path / "out", limit=limit)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.ones((3, 2))), np.arange(4)])
def test_npz_files_that_are_read(tmp_path: Path, save: Any, array: Any) -> None:
    save(tmp_path / "set.npz", image=array, labels=np.zeros(2, np.uint8))
    (tmp_path / "out").mkdir()
    read = read_npz(tmp_path / "set.npz", field="x", folder=tmp_path / "out")
    assert list(read) == ["image", "labels"]
    assert np.array_equal(read["image"], array)


def test_a_path_in_a_zip_goes_nowhere(tmp_path: Path) -> None:
    path = write(tmp_path / "set.npz", {"../../escape.npy": npy([1, 2])})
    (tmp_path / "out").mkdir()
    assert list(read_npz(path, field="x", folder=tmp_path / "out")) == ["../../escape"]
    assert not list(tmp_path.glob("escape*"))
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["0"]


def test_samples_of_a_model_without_a_batch_axis() -> None:
    samples = samples_for({"x": np.zeros((5, 3), np.float32)}, [TensorSpec("x", "FP32", (3,))], field="f", labels=None)
    assert not samples.batches
    assert [feed["x"].shape for _, feed in samples.feeds(32)] == [(3,)] * 5


def test_samples_of_several_inputs_count_the_same() -> None:
    specs = [TensorSpec("x", "FP32", (-1, 3)), TensorSpec("y", "INT64", (-1,))]
    arrays: dict[str, Any] = {"x": np.zeros((5, 3), np.float32), "y": np.zeros(4, np.int64)}
    with pytest.raises(DatasetMismatch, match="5 in 'x', 4 in 'y'"):
        samples_for(arrays, specs, field="f", labels=None)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"AWS_ENDPOINT_URL": "minio:9000"}, "http://HOST:PORT or https://HOST:PORT was expected"),
        ({"AWS_ENDPOINT_URL": "http://user:pa55@minio"}, "an address with a login in it"),
        ({"AWS_ACCESS_KEY_ID": "x"}, "AWS_ACCESS_KEY_ID but no AWS_SECRET_ACCESS_KEY"),
        ({"AWS_SECRET_ACCESS_KEY": "pa55"}, "AWS_SECRET_ACCESS_KEY but no AWS_ACCESS_KEY_ID"),
    ],
)
def test_settings_of_the_store_that_are_wrong(values: dict[str, str], words: str) -> None:
    with pytest.raises(RequestInvalid, match=words) as caught:
        StoreSettings.read(None, values)
    assert "pa55" not in str(caught.value)


def test_settings_of_the_store_from_files_before_variables(tmp_path: Path) -> None:
    (tmp_path / "AWS_ENDPOINT_URL").write_text("https://minio.example:9000\n")
    variables = {"AWS_ENDPOINT_URL": "http://other", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "pa55"}
    settings = StoreSettings.read(tmp_path, variables)
    assert settings.endpoint == "https://minio.example:9000"
    assert (settings.access_key, settings.secret_key, settings.region) == ("a", "pa55", "us-east-1")
    assert "pa55" not in repr(settings)
    assert StoreSettings.read(None, {}).endpoint == "https://s3.amazonaws.com"


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (1200, "1.2 kB"), (4_400_000_000, "4.4 GB")])
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text
