"""Samples that nodes sent become a data set that the builder takes, and nothing of it is trusted."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesmith_builder.dataset import read_npz, samples_for
from edgesmith_builder.errors import DatasetInvalid
from edgesmith_builder.samples import gather
from edgesmith_runtime.sampling.sample import Facts, pack, pack_arrays
from edgesmith_runtime.tensors import TensorSpec

OUTPUTS = {"y": np.ones((1, 2), np.float32)}


def facts(reason: str = "Random", of: int = 3, *, batch: bool = True) -> Facts:
    return Facts("m", "d" * 64, "int8", "edge-1", reason, of, 0.5, None, batch, 1e9, "b", 1.0, redacted=False)


def write(folder: Path, *objects: bytes) -> Path:
    for number, data in enumerate(objects):
        place = folder / "edge" / f"edge-{number % 2}" / "plant" / "m"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:064d}.npz").write_bytes(data)
    return folder


def sample(value: float, **more: Any) -> bytes:
    return pack(
        facts(**more), {"x": np.full((1, 4), value, np.float32), "t": np.array([["a" * int(value)]], object)}, OUTPUTS
    )


def test_samples_become_a_data_set_of_the_models_inputs(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", *(sample(number + 1.0, of=number + 2) for number in range(5)))
    line = [sys.executable, "-m", "edgesmith_builder", "samples", str(folder), str(tmp_path / "set.npz")]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout == "5 samples, 0 files left out\n"
    arrays = read_npz(tmp_path / "set.npz", field="spec.calibration", folder=tmp_path)
    specs = (TensorSpec("x", "FP32", (-1, 4)), TensorSpec("t", "BYTES", (-1, 1)))
    found = samples_for(arrays, specs, field="spec.calibration", labels=None)
    assert len(found) == 5
    said = [json.loads(line) for line in (tmp_path / "set.jsonl").read_text().splitlines()]
    assert [one["of"] - 1 for one in said] == arrays["x"][:, 0].tolist()
    assert [len(text) for text in arrays["t"][:, 0]] == arrays["x"][:, 0].tolist()


def test_samples_of_a_model_without_batches_are_stacked(tmp_path: Path) -> None:
    objects = (pack(facts(batch=False), {"x": np.full((2, 3), float(n), np.float32)}, OUTPUTS) for n in range(3))
    found = gather(write(tmp_path, *objects)).arrays()
    assert sorted(found["x"][:, 0, 0].tolist()) == [0, 1, 2]


def without(**arrays: Any) -> bytes:
    return pack_arrays(arrays)


def pickled() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive, archive.open("inputs/x.npy", "w") as member:
        np.lib.format.write_array(member, np.array([print], object), allow_pickle=True)
    return target.getvalue()


def bomb() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("inputs/x.npy", bytes(2 << 20) * 600)
    return target.getvalue()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(b"no zip", id="no zip"),
        pytest.param(without(x=np.ones((1, 4), np.float32)), id="a data set"),
        pytest.param(without(sample=np.frombuffer(b"{", np.uint8)), id="no JSON"),
        pytest.param(without(sample=np.frombuffer(b"[1]", np.uint8)), id="no object"),
        pytest.param(without(sample=np.frombuffer(b'{"version": 2}', np.uint8)), id="a newer version"),
        pytest.param(pack(facts(), {}, OUTPUTS), id="inputs that were taken out"),
        pytest.param(pack(facts(), {"x": np.ones((2, 4), np.float32), "t": np.array([["a"]], object)}, {}), id="two"),
        pytest.param(pack(facts(), {"x": np.ones((1, 5), np.float32), "t": np.array([["a"]], object)}, {}), id="shape"),
        pytest.param(pack(facts(), {"x": np.ones((1, 4), np.int8), "t": np.array([["a"]], object)}, {}), id="type"),
        pytest.param(pack(facts(), {"x": np.full((1, 4), "1"), "t": np.array([["a"]], object)}, {}), id="text"),
        pytest.param(pack(facts(), {"x": np.ones((1, 4), np.float32), "t": np.ones((1, 1))}, {}), id="no text"),
        pytest.param(pack(facts(), {"z": np.ones((1, 4), np.float32)}, {}), id="another model's"),
        pytest.param(pickled(), id="pickled"),
    ],
)
def test_what_is_no_sample_like_the_others_is_left_out_and_told(tmp_path: Path, other: bytes) -> None:
    found = gather(write(tmp_path, sample(1), other, sample(2)))
    assert len(found.facts) == 2
    assert len(found.left_out) == 1
    assert found.left_out[0]


def test_a_small_file_that_unpacks_to_much_is_left_out_before_it_does(tmp_path: Path) -> None:
    found = gather(write(tmp_path, sample(1), bomb()))
    assert "unpacks to" in found.left_out[0]


def test_a_folder_without_a_sample_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid, match="holds no sample"):
        gather(write(tmp_path, b"nothing"))


def test_a_wide_text_counts_for_every_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row, wide = 4 * 4, 100 * 4
    monkeypatch.setattr("edgesmith_builder.samples.DATASET", 4 * (row + wide))
    folder = write(tmp_path, sample(1), sample(2), sample(100), sample(3))
    assert gather(folder).arrays()["t"].nbytes == 4 * wide
    monkeypatch.setattr("edgesmith_builder.samples.DATASET", 4 * (row + wide) - 1)
    with pytest.raises(DatasetInvalid, match="a part of them was expected"):
        gather(folder)
