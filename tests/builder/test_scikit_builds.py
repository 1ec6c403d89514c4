"""Builds of estimators of scikit-learn, from the file to answers of the finished bundle."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from pulled import pulled
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from edgesmith_builder.cli import chosen
from edgesmith_builder.contract import REPORT_ANNOTATION, Artifact, BuildReport, Gates, Toolchain
from edgesmith_builder.errors import DatasetMismatch, ModelInvalid, NoCandidate
from edgesmith_builder.format.scikit.indices import CHECKED, PLAIN
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.loading import read

RNG = np.random.default_rng(5)
X = RNG.normal(size=(200, 4)).astype(np.float32)
CLASSES = (X[:, 1] + X[:, 2] > 0).astype(np.int64)
NUMBERS = X @ np.array([1.0, -2.0, 0.5, 0.0]) + 0.1 * RNG.normal(size=200)
NAMES = np.array(["fine", "worn"])[CLASSES]
FRESH = RNG.normal(size=(60, 4)).astype(np.float32)


def request(world: Any, sets: Any, data: bytes, labels: Any, **changes: Any) -> Any:
    """A build of an estimator with sets whose array is called `window`."""
    number = f"scikit/{next(world.numbers)}"
    calibration = world.store.put(f"{number}/c.npz", sets.npz(window=X[:50]))
    evaluation = world.store.put(f"{number}/e.npz", sets.npz(window=X[100:], labels=labels[100:]))
    fields: dict[str, Any] = {
        "source": Artifact(uri=world.store.put(f"{number}/model", data)),
        "calibration": Artifact(uri=calibration),
        "evaluation": Artifact(uri=evaluation),
    }
    return world.request(**{**fields, **changes})


async def served(image: str, folder: Path, rows: Any = FRESH) -> Any:
    """What the bundle of an image answers to rows, as a device would load it."""
    bundle, _ = read(await pulled(image, folder / "image"))
    engine = load_engine(bundle.engine, bundle.model_path, threads=1, options=bundle.options)
    try:
        answer = engine.infer({"window": rows}, [spec.name for spec in engine.outputs])
    finally:
        engine.close()
    return bundle, answer


def texts(array: Any) -> list[Any]:
    return [value.decode() if isinstance(value, bytes) else value for value in np.ravel(array).tolist()]


async def report(world: Any, built: Any) -> BuildReport:
    return BuildReport.model_validate_json((await world.manifest(built)).annotations[REPORT_ANNOTATION])


@pytest.mark.parametrize(
    ("estimator", "labels"),
    [
        (RandomForestClassifier(10, random_state=1), CLASSES),
        (make_pipeline(StandardScaler(), SVC()), NAMES),
        (KNeighborsClassifier(3), CLASSES),
    ],
)
async def test_what_is_served_is_what_scikit_learn_says(
    estimator: Any, labels: Any, world: Any, sets: Any, tmp_path: Path
) -> None:
    estimator.fit(X[:100], labels[:100])
    built = await world.build(request(world, sets, skops.io.dumps(estimator), labels))
    bundle, answer = await served(built.image, tmp_path)
    assert bundle.labels == tuple(str(name) for name in estimator.classes_)
    assert texts(answer["label"]) == estimator.predict(FRESH).tolist()
    found = await report(world, built)
    assert (found.precision, found.reference_accuracy) == ("fp32", estimator.score(X[100:], labels[100:]))
    slow = isinstance(estimator, KNeighborsClassifier)
    assert [warning.split(" becomes ")[0] for warning in found.warnings] == ["KNeighborsClassifier"] * slow


async def test_a_conversion_that_changes_answers_is_not_built(world: Any, sets: Any) -> None:
    neighbours = KNeighborsClassifier(weights="distance").fit(X[:100], CLASSES[:100])
    with pytest.raises(ModelInvalid, match=r"otherwise once it is converted to ONNX, for \d+ of the 100 samples"):
        await world.build(request(world, sets, skops.io.dumps(neighbours), CLASSES))


async def test_a_regressor_is_scored_in_its_own_unit(world: Any, sets: Any, tmp_path: Path) -> None:
    ridge = Ridge().fit(X[:100], NUMBERS[:100])
    wanted = request(world, sets, skops.io.dumps(ridge), NUMBERS, metric="RMSE", gates=Gates(max_error=0.2))
    built = await world.build(wanted)
    assert chosen(built, wanted.gates) == built.image
    _, answer = await served(built.image, tmp_path)
    np.testing.assert_allclose(answer["value"][:, 0], ridge.predict(FRESH), rtol=1e-4, atol=1e-4)


async def test_a_pickle_is_built_where_the_request_trusts_it_only(world: Any, sets: Any) -> None:
    buffer = io.BytesIO()
    joblib.dump(RandomForestClassifier(5, random_state=1).fit(X[:100], CLASSES[:100]), buffer)
    with pytest.raises(ModelInvalid, match=r"is a pickle, and a pickle runs code"):
        await world.build(request(world, sets, buffer.getvalue(), CLASSES))
    built = await world.build(request(world, sets, buffer.getvalue(), CLASSES, trust_pickle=True))
    assert (await report(world, built)).precision == "fp32"


async def test_openvino_takes_an_estimator_of_standard_operators(world: Any, sets: Any, tmp_path: Path) -> None:
    network = MLPClassifier((8,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=1).fit(X[:100], CLASSES[:100])
    openvino = Toolchain(name="OpenVINO", precisions=("fp32",))
    wanted = request(world, sets, skops.io.dumps(network), CLASSES, toolchain=openvino, output="probabilities")
    bundle, answer = await served((await world.build(wanted)).image, tmp_path)
    assert bundle.engine == "openvino"
    np.testing.assert_allclose(answer["probabilities"], network.predict_proba(FRESH), atol=1e-4)


async def test_openvino_says_what_it_does_not_read(world: Any, sets: Any) -> None:
    forest = RandomForestClassifier(5, random_state=1).fit(X[:100], CLASSES[:100])
    openvino = Toolchain(name="OpenVINO", precisions=("fp32",))
    with pytest.raises(NoCandidate, match=r"fp32: it cannot be made: OpenVINO does not read it \(.*TreeEnsemble"):
        await world.build(request(world, sets, skops.io.dumps(forest), CLASSES, toolchain=openvino))


async def test_without_sets_the_golden_samples_hold_the_conversion(world: Any, sets: Any) -> None:
    ridge = Ridge().fit(X[:100], NUMBERS[:100])
    wanted = request(world, sets, skops.io.dumps(ridge), NUMBERS, calibration=None, evaluation=None)
    assert (await report(world, await world.build(wanted))).precision == "fp32"


async def test_a_set_of_several_arrays_is_named(world: Any, sets: Any) -> None:
    ridge = Ridge().fit(X[:100], NUMBERS[:100])
    both = world.store.put("scikit/both.npz", sets.npz(left=X[:, :2], right=X[:, 2:]))
    wanted = request(world, sets, skops.io.dumps(ridge), NUMBERS, calibration=Artifact(uri=both), evaluation=None)
    with pytest.raises(DatasetMismatch, match=r"the arrays 'left', 'right'; .* expected: 'input' FP32\[-1,4\]"):
        await world.build(wanted)


EXAMPLE = Path(__file__).parents[2] / "examples" / "predictive-maintenance"


@pytest.mark.parametrize("name", ["knn.skops", "svm.skops", "forest.skops", "gru.onnx"])
async def test_each_model_of_the_pump_is_built_and_answers_as_it_did_in_training(
    name: str, world: Any, tmp_path: Path
) -> None:
    sets = {
        kind: Artifact(uri=world.store.put(f"pump/{kind}.npz", (EXAMPLE / f"{kind}.npz").read_bytes()))
        for kind in ("calibration", "evaluation")
    }
    source = Artifact(uri=world.store.put(f"pump/{name}", (EXAMPLE / name).read_bytes()))
    gates = Gates(max_accuracy_drop=0.04, min_accuracy=0.79)
    built = await world.build(world.request(source=source, gates=gates, **sets))
    assert chosen(built, gates) == built.image
    with np.load(EXAMPLE / "evaluation.npz") as archive:
        windows, states = archive["window"], archive["labels"]
    _, answer = await served(built.image, tmp_path, windows)
    found = await report(world, built)
    if name == "gru.onnx":
        said = answer["probabilities"].argmax(1)
    else:
        said = answer["label"]
        assert found.precision == "fp32"
        trusted = sorted(CHECKED | PLAIN)
        assert texts(said) == skops.io.load(EXAMPLE / name, trusted=trusted).predict(windows).tolist()
    assert float((said == states).mean()) == pytest.approx(found.accuracy, abs=0.01)
