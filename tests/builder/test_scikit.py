"""Estimators of scikit-learn: read without trusting them, converted, and held against scikit-learn row by row."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from estimators import LOGISTIC, NAMES, NUMBER, THREE, TWO, WHAT, X, read, rezipped, rows, written
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Perceptron,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.format import read_source, shaped_source
from edgesmith_builder.format.scikit.original import Estimator
from edgesmith_builder.score import check_conversion
from edgesmith_runtime.engine import load_engine

OWN = rows(90, seed=4)
SAMPLES = Samples({"features": OWN}, {"features": 2}, batches=True)


def encoded(encoder: Any) -> ColumnTransformer:
    return ColumnTransformer([("category", encoder, [0]), ("rest", RobustScaler(), [1, 2, 3])])


KINDS: dict[str, tuple[Any, NDArray[Any]]] = {
    "knn": (KNeighborsClassifier(), THREE),
    "knn, ball tree": (KNeighborsClassifier(algorithm="ball_tree"), THREE),
    "knn of numbers": (KNeighborsRegressor(metric="manhattan"), NUMBER),
    "svc": (SVC(), THREE),
    "svc of two": (SVC(), TWO),
    "nusvc": (NuSVC(), TWO),
    "linear svc": (LinearSVC(), THREE),
    "linear svc of two": (LinearSVC(), TWO),
    "svr": (SVR(), NUMBER),
    "linear svr": (LinearSVR(random_state=1), NUMBER),
    "tree": (DecisionTreeClassifier(max_depth=5, random_state=1), THREE),
    "tree of truth": (DecisionTreeClassifier(max_depth=5, random_state=1), TWO.astype(bool)),
    "tree of numbers": (DecisionTreeRegressor(max_depth=5, random_state=1), NUMBER),
    "forest": (RandomForestClassifier(10, random_state=1), THREE),
    "forest of names": (make_pipeline(MinMaxScaler(), RandomForestClassifier(10, random_state=1)), NAMES),
    "forest of two numbers": (RandomForestRegressor(5, random_state=1), np.stack([NUMBER, -NUMBER], 1)),
    "extra trees": (ExtraTreesClassifier(10, random_state=1), THREE),
    "boosting": (GradientBoostingClassifier(n_estimators=5, random_state=1), THREE),
    "boosting of two": (GradientBoostingClassifier(n_estimators=5, random_state=1), TWO),
    "boosting of numbers": (GradientBoostingRegressor(n_estimators=5, random_state=1), NUMBER),
    "histograms": (HistGradientBoostingClassifier(max_iter=5), THREE),
    "histograms of numbers": (HistGradientBoostingRegressor(max_iter=5), NUMBER),
    "adaboost": (AdaBoostClassifier(n_estimators=3, random_state=1), THREE),
    "bagging": (BaggingClassifier(n_estimators=3, random_state=1), THREE),
    "stacking": (StackingClassifier([("a", LogisticRegression()), ("b", GaussianNB())]), THREE),
    "calibrated": (CalibratedClassifierCV(LinearSVC()), TWO),
    "logistic": (LogisticRegression(), 10 * (THREE + 1)),
    "ridge classifier": (RidgeClassifier(), TWO),
    "sgd": (SGDClassifier(random_state=1), TWO),
    "perceptron": (Perceptron(random_state=1), THREE),
    "linear": (LinearRegression(), NUMBER),
    "ridge of two numbers": (Ridge(), np.stack([NUMBER, -NUMBER], 1)),
    "network": (MLPClassifier((8,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=1), TWO),
    "bayes": (GaussianNB(), THREE),
    "one-hot": (make_pipeline(encoded(OneHotEncoder(handle_unknown="ignore")), LogisticRegression()), THREE),
    "ordinal": (make_pipeline(encoded(OrdinalEncoder()), GradientBoostingClassifier(n_estimators=3)), THREE),
    "scaled svc": (make_pipeline(StandardScaler(), SVC()), NAMES),
    "outliers": (IsolationForest(n_estimators=5, random_state=1), TWO),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_estimator_is_converted_and_answers_as_in_scikit_learn(kind: str, tmp_path: Path) -> None:
    estimator, right = KINDS[kind]
    estimator.fit(X, right)
    facts = shaped_source(read(tmp_path, written(estimator)), {"features": 2}, WHAT)
    assert (facts.format, facts.engine, facts.precision, facts.shapeless) == (
        "scikit-learn", "onnxruntime", "fp32", ())  # fmt: skip
    classes = getattr(estimator, "classes_", None)
    assert facts.labels == (None if classes is None else tuple(str(name) for name in classes))
    engine = load_engine(facts.engine, facts.path, threads=1)
    try:
        assert [(spec.name, spec.datatype, spec.shape) for spec in engine.inputs] == [("features", "FP32", (-1, 4))]
        found = engine.infer({"features": OWN}, [spec.name for spec in engine.outputs])
        for spec in engine.outputs:
            assert spec.shape == (-1, *found[spec.name].shape[1:]), spec.name
        assert facts.original is not None
        check_conversion(engine, facts.original, SAMPLES, "spec.evaluation", WHAT)
    finally:
        engine.close()
    said = estimator.predict(OWN)
    first = next(iter(found.values())).reshape(said.shape)
    if said.dtype.kind == "f":
        np.testing.assert_allclose(first, said, rtol=1e-4, atol=1e-4)
    else:
        texts = [value.decode() if isinstance(value, bytes) else value for value in first.tolist()]
        assert texts == said.tolist()
    if hasattr(estimator, "predict_proba"):
        np.testing.assert_allclose(found["probabilities"], estimator.predict_proba(OWN), atol=1e-5)
    elif hasattr(estimator, "decision_function"):
        scores = estimator.decision_function(OWN).reshape(len(OWN), -1)
        np.testing.assert_allclose(found["scores"], scores, rtol=1e-4, atol=1e-4)


def test_a_conversion_that_changes_answers_is_refused(tmp_path: Path) -> None:
    """skl2onnx 1.20 converts weights by distance as if all neighbours counted alike."""
    facts = read(tmp_path, written(KNeighborsClassifier(weights="distance").fit(X, THREE)))
    facts = shaped_source(facts, {"features": 2}, WHAT)
    engine = load_engine(facts.engine, facts.path, threads=1)
    assert facts.original is not None
    try:
        with pytest.raises(
            ModelInvalid, match=r"otherwise once it is converted to ONNX, for \d+ of the 90 samples of "
        ):
            check_conversion(engine, facts.original, SAMPLES, "spec.evaluation", WHAT)
    finally:
        engine.close()


def test_rows_that_are_answered_otherwise_are_counted(tmp_path: Path) -> None:
    one, other = LogisticRegression().fit(X, TWO), LogisticRegression().fit(X, X[:, 1] > 0)
    facts = shaped_source(read(tmp_path, written(one)), {"features": 2}, WHAT)
    engine = load_engine(facts.engine, facts.path, threads=1)
    differing = np.abs(one.predict_proba(OWN) - other.predict_proba(OWN)).max(1) > 1e-4
    try:
        with pytest.raises(
            ModelInvalid, match=rf"for {differing.sum()} of the 90 samples of spec.evaluation \(the first"
        ):
            check_conversion(engine, Estimator(other), SAMPLES, "spec.evaluation", WHAT)
    finally:
        engine.close()


def test_one_wrong_label_is_seen_and_a_tie_is_none(tmp_path: Path) -> None:
    tree = DecisionTreeClassifier(max_depth=1).fit([[0.0], [0.0], [1.0], [1.0], [1.0]], [0, 1, 1, 1, 0])
    facts = shaped_source(read(tmp_path, written(tree)), {"features": 2}, WHAT)
    samples = Samples({"features": np.array([[0.0], [1.0]], np.float32)}, {"features": 2}, batches=True)
    engine = load_engine(facts.engine, facts.path, threads=1)

    class Turned(Estimator):
        """The same probabilities, other labels."""

        def answers(self, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
            found = dict(super().answers(rows))
            return found | {"label": 1 - found["label"]}

    try:
        with pytest.raises(ModelInvalid, match=r"for 1 of the 2 samples .*the first is sample 1: label 1 for 0, prob"):
            check_conversion(engine, Turned(tree), samples, "spec.evaluation", WHAT)
    finally:
        engine.close()


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_in_the_library_alone_is_otherwise(tmp_path: Path, wrong: float) -> None:
    """No distance says so: infinity as the column's largest would allow any."""
    line = LinearRegression().fit(X, X[:, 0])
    facts = shaped_source(read(tmp_path, written(line)), {"features": 2}, WHAT)
    engine = load_engine(facts.engine, facts.path, threads=1)

    class Spoiled(Estimator):
        """One answer is another."""

        def answers(self, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
            found = {name: np.array(values) for name, values in super().answers(rows).items()}
            found["value"].reshape(-1)[7] = wrong
            return found

    try:
        check_conversion(engine, Estimator(line), SAMPLES, "spec.evaluation", WHAT)
        with pytest.raises(ModelInvalid, match=r"for 1 of the 90 samples .*the first is sample 7"):
            check_conversion(engine, Spoiled(line), SAMPLES, "spec.evaluation", WHAT)
    finally:
        engine.close()


def test_a_file_of_another_version_says_so(tmp_path: Path) -> None:
    def older(name: str, content: bytes) -> bytes:
        if name != "schema.json":
            return content
        text, count = re.subn(r"\\\"1\.9\.1\\\"", r'\\"1.5.2\\"', content.decode())
        assert count
        return text.encode()

    facts = read(tmp_path, rezipped(LOGISTIC, older))
    (warning,) = facts.warnings
    assert "written by scikit-learn 1.5.2 and read by 1.9.1" in warning
    assert read(tmp_path / "same", LOGISTIC).warnings == ()


def test_what_becomes_slower_says_so(tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), KNeighborsClassifier()).fit(X, THREE)
    (warning,) = read(tmp_path, written(model)).warnings
    assert warning.startswith("KNeighborsClassifier becomes a scan over its 160 training samples, slower")


def test_an_estimator_that_skl2onnx_lacks_is_named(tmp_path: Path) -> None:
    model = VotingClassifier([("a", LogisticRegression())], voting="soft").fit(X, THREE)
    with pytest.raises(
        ModelInvalid, match=r"a VotingClassifier, which skl2onnx [\d.]+ does not convert to ONNX \(flatten"
    ):
        read(tmp_path, written(model))


def test_an_array_may_be_called_as_anything_but_an_output(tmp_path: Path) -> None:
    facts = read(tmp_path, LOGISTIC)
    with pytest.raises(ModelInvalid, match=r"has an output 'probabilities', as the sets' array is called"):
        shaped_source(facts, {"probabilities": 2}, WHAT)


SCRIPT = """
import sys, pathlib
from edgesmith_builder.format import read_source
print(read_source(pathlib.Path(sys.argv[1]), "it").path.read_bytes().hex())
"""


@pytest.mark.long
def test_the_same_file_gives_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for file in (here, there):
        file.write_bytes(written(SVC().fit(X, TWO)))
    hashes = "1" if os.environ.get("PYTHONHASHSEED") == "0" else "0"
    line = [sys.executable, "-c", SCRIPT, str(there)]
    other = subprocess.check_output(line, env={**os.environ, "PYTHONHASHSEED": hashes}, text=True)
    assert other.strip() == read_source(here, "it").path.read_bytes().hex()
