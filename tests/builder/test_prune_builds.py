"""Pruned candidates beside whole ones, through the builder's own steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from candidates import FLOAT, built, made, node, numbers
from numpy.typing import NDArray
from pydantic import ValidationError

from edgesmith_builder.contract import PRUNED, Artifact, Build, Form, Platform, Pruning, Toolchain, precision_of
from edgesmith_builder.oci import Reference, Registry

EXAMPLES = Path(__file__).parents[2] / "examples"
HALF = Pruning(ratio=0.5)


def network() -> onnx.ModelProto:
    """Two convolutions and a dense layer over images of 8 by 8."""
    weights: dict[str, NDArray[Any]] = {
        "a": numbers(32, 1, 3, 3),
        "b": numbers(32, 32, 3, 3, seed=1) / 10,
        "c": numbers(32, 4, seed=2),
    }
    nodes = [
        node("Conv", ["image", "a"], ["x1"], pads=[1] * 4),
        node("Relu", ["x1"], ["x2"]),
        node("Conv", ["x2", "b"], ["x3"], pads=[1] * 4),
        node("Relu", ["x3"], ["x4"]),
        node("GlobalAveragePool", ["x4"], ["x5"]),
        node("Flatten", ["x5"], ["x6"]),
        node("MatMul", ["x6", "c"], ["scores"]),
    ]
    return made(nodes, [("image", FLOAT, ["n", 1, 8, 8])], [("scores", FLOAT, ["n", 4])], weights)


def test_candidates_of_both_are_made_and_held_against_the_whole_source(tmp_path: Path) -> None:
    outcome = built(tmp_path, network(), {"image": numbers(32, 1, 8, 8, seed=3)}, pruning=HALF)
    names: tuple[Form, ...] = ("int8-pruned", "int8", "fp32-pruned", "fp32")
    assert tuple(one.precision for one in outcome.candidates) == names
    found = {one.precision: one for one in outcome.candidates}
    assert [found[name].multiplications is None for name in names] == [False, True, False, True]
    assert found["fp32-pruned"].multiplications == found["int8-pruned"].multiplications
    assert 0.2 < (found["fp32-pruned"].multiplications or 1) <= 0.5
    assert found["fp32"].agreement is None
    assert found["fp32-pruned"].agreement == pytest.approx(0.8, abs=0.2)
    sizes = [found[name].size or 0 for name in names]
    assert sizes[0] < sizes[1]
    assert sizes[2] < sizes[3]
    bundle = json.loads((tmp_path / "work" / "fp32-pruned" / "bundle" / "bundle.json").read_text())
    assert bundle["precision"] == "fp32-pruned"


def test_a_source_that_cannot_be_pruned_is_built_whole(tmp_path: Path) -> None:
    nodes = [node("Flatten", ["image"], ["x"]), node("MatMul", ["x", "w"], ["scores"])]
    model = made(nodes, [("image", FLOAT, ["n", 1, 8, 8])], [("scores", FLOAT, ["n", 4])], {"w": numbers(64, 4)})
    outcome = built(tmp_path, model, {"image": numbers(8, 1, 8, 8)}, pruning=HALF, precisions=("fp32",))
    assert [one.candidate.precision for one in outcome.finalists] == ["fp32"]
    assert outcome.candidates[0].rejected is not None
    assert outcome.candidates[0].rejected.startswith("it cannot be pruned: there is nothing to prune: no channel goes")


def test_without_a_calibration_set_nothing_is_pruned(tmp_path: Path) -> None:
    outcome = built(tmp_path, network(), pruning=HALF, precisions=("fp32",))
    assert (outcome.candidates[0].rejected or "").startswith("calibration is absent; pruning needs spec.calibration")


def example(name: str, count: int) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    folder = EXAMPLES / name
    sets = []
    for part, most in (("calibration", None), ("evaluation", count)):
        with np.load(folder / f"{part}.npz") as archive:
            sets.append({key: archive[key][:most] for key in archive.files})
    return onnx.load(folder / "model.onnx"), sets[0], sets[1]


def test_surface_inspection_keeps_its_accuracy_with_half_of_its_multiplications(tmp_path: Path) -> None:
    """Measured over all 400 pictures: 0.9725 whole, 0.9650 pruned by half, and the same in int8."""
    model, calibration, evaluation = example("surface-inspection", 400)
    outcome = built(tmp_path, model, calibration, evaluation, pruning=HALF, precisions=("int8", "fp32"))
    found = {one.precision: one for one in outcome.candidates}
    assert found["fp32"].accuracy == 0.9725
    for one in (found["fp32-pruned"], found["int8-pruned"]):
        assert one.accuracy == pytest.approx(0.965, abs=0.008)
        assert one.multiplications == pytest.approx(0.4792, abs=0.001)
        assert one.accuracy_drop_error is not None
        assert one.lost is not None
        assert one.lost > 0
    assert (found["int8-pruned"].size or 0) < 0.45 * (found["int8"].size or 0)


def build(**changes: Any) -> Build:
    plain = {
        "source": Artifact(uri="s3://m/m.onnx", sha256="0" * 64),
        "platform": Platform(architecture="amd64"),
        "toolchain": Toolchain(precisions=("int8", "int8-mixed", "fp32")),
        "base": "r/b@sha256:0",
    }
    return Build(**{**plain, **changes})


def test_the_ladder_has_pruned_forms_before_whole_ones_where_they_are_asked_for() -> None:
    assert build().ladder == ("int8", "int8-mixed", "fp32")
    assert build(pruning=HALF).ladder == ("int8-pruned", "int8", "int8-mixed", "fp32-pruned", "fp32")
    assert [precision_of(form) for form in build(pruning=HALF).ladder] == ["int8", "int8", "int8-mixed", "fp32", "fp32"]
    assert set(PRUNED) <= {"int8", "fp16", "fp32"}


def test_how_much_goes_is_part_of_the_key() -> None:
    keys = {build(pruning=pruning).key for pruning in (None, HALF, Pruning(ratio=0.3))}
    assert len(keys) == 3


@pytest.mark.parametrize("ratio", [0, 1, -0.1, 1.5])
def test_a_share_is_between_nothing_and_everything(ratio: float) -> None:
    with pytest.raises(ValidationError):
        Pruning(ratio=ratio)


async def test_each_form_is_an_image_with_a_tag_of_its_own(world: Any, sets: Any) -> None:
    images = sets.images(32, seed=2)
    uris = {
        "source": world.store.put("pruned/model.onnx", network().SerializeToString()),
        "calibration": world.store.put("pruned/calibration.npz", sets.npz(image=images)),
    }
    artifacts = {name: Artifact(uri=uri) for name, uri in uris.items()}
    request = world.request(**artifacts, evaluation=None, pruning=HALF)
    result = await world.build(request)
    report = result.report
    assert [one.precision for one in report.finalists] == ["int8-pruned", "int8", "fp32-pruned", "fp32"]
    repository = Reference.parse(result.image).repository
    async with Registry(plain_http=True) as client:
        for one in report.finalists[1:]:
            found = await client.manifest(repository.tagged(f"{request.build.key}-{one.precision}"))
            assert found is not None
            assert found.digest == one.digest
