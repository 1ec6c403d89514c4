"""The example's Job of retraining: what it takes of samples, and that what it teaches is worth a rollout."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from numpy.typing import NDArray
from shifted import Plates, plates

from edgesmith.api.edgemodel import EdgeModelSpec
from edgesmith_runtime.sampling.sample import Facts, pack

Script = Callable[[str], ModuleType]
MODEL = Path(__file__).parents[2] / "examples/surface-inspection/model.onnx"


@pytest.fixture
def retrain(script: Script) -> Any:
    return script("surface-inspection/retrain.py")


def send(folder: Path, image: NDArray[np.float32], reason: str = "Random", number: int = 0) -> None:
    """An object as a node's uplink puts it."""
    of, at = 10, float(number)
    facts = Facts("parts", "0" * 64, "fp32", "edge-1", reason, of, None, None, True, at, "", at, False)
    data = pack(facts, {"image": image[np.newaxis]}, {"probabilities": np.zeros((1, 4), np.float32)})
    (folder / f"{hashlib.sha256(data).hexdigest()}.npz").write_bytes(data)


def classes(seen: Plates, retrain: Any) -> dict[str, int]:
    with np.load(io.BytesIO(seen.said()), allow_pickle=False) as said:
        found = dict(zip(said["pictures"].tolist(), said["labels"].tolist(), strict=True))
    assert set(found) == {retrain.name_of(image) for image in seen.images}
    return found


def test_a_picture_counts_once_and_only_where_somebody_said_what_it_shows(retrain: Any, tmp_path: Path) -> None:
    seen, unknown = plates(8, 1), plates(1, 2)
    send(tmp_path, unknown.images[0])
    send(tmp_path, seen.images[0], "Novel")
    for number in range(2):
        send(tmp_path, seen.images[1], "Uncertain", number)
        send(tmp_path, seen.images[1], "Random", number)
    found = retrain.with_classes(tmp_path, classes(seen, retrain))
    assert sorted(zip(found.labels.tolist(), found.fair.tolist(), strict=True)) == [(0, False), (1, True)]
    by_label = dict(zip(found.labels.tolist(), found.images, strict=True))
    for label in (0, 1):
        np.testing.assert_array_equal(by_label[label], seen.images[label])


def test_what_is_taught_knows_the_new_light_and_is_judged_by_plates_that_did_not_teach_it(
    retrain: Any, tmp_path: Path
) -> None:
    seen, judged = plates(160, 1), plates(120, 2)
    for number, image in enumerate(seen.images):
        send(tmp_path, image, "Uncertain" if number % 8 == 0 else "Random")
    found = retrain.with_classes(tmp_path, classes(seen, retrain))
    files = retrain.retrained(onnx.load(MODEL), found)
    sets = {
        part: np.load(io.BytesIO(files[f"{part}.npz"]), allow_pickle=False) for part in ("calibration", "evaluation")
    }
    assert {part: len(one["image"]) for part, one in sets.items()} == {"calibration": 140, "evaluation": 47}
    assert sets["calibration"].files == ["image"]

    held = {retrain.name_of(image) for image in sets["evaluation"]["image"]}
    others = retrain.Labelled(*(part[[retrain.name_of(image) not in held for image in found.images]] for part in
                                (found.images, found.labels, found.fair)))  # fmt: skip
    session, head = retrain.opened(onnx.load(MODEL))
    counts = np.bincount(others.labels, minlength=4)
    features = retrain.answered(session, others.images)[1]
    alone = retrain.taught(head, features, others.labels, 1.0 / counts[others.labels])
    assert retrain.with_head(onnx.load(MODEL), alone) == files["model.onnx"], "what judges has not taught"

    def right(model: bytes) -> float:
        (answers,) = onnxruntime.InferenceSession(model).run(None, {"image": judged.images})
        return judged.right(answers)

    assert right(files["model.onnx"]) > right(MODEL.read_bytes()) + 0.3


@pytest.mark.parametrize(
    ("part", "name"), [("source", "model.onnx"), ("calibration", "calibration.npz"), ("evaluation", "evaluation.npz")]
)
def test_a_patch_leaves_nothing_of_the_file_before(retrain: Any, part: str, name: str) -> None:
    """Of what a merge patch does not name, the old stays: its size beside another file's digest, say."""
    before = yaml.safe_load((MODEL.parent / "edgemodel.yaml").read_text())["spec"]
    patch = retrain.in_spec(f"s3://models/surface-inspection/2/{name}", b"another")
    assert set(before[part]) & {"uri", "sha256", "bytes"} == set(patch)
    after = EdgeModelSpec.model_validate(before | {part: before[part] | patch})
    assert after.files[part].sha256 == hashlib.sha256(b"another").hexdigest()
    assert after.source.bytes == (len(b"another") if part == "source" else MODEL.stat().st_size)
