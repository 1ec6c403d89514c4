"""Estimators of scikit-learn: read without trusting them, converted, and held against scikit-learn row by row."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse
import skops.io
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
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
from edgesmith_builder.format import ModelFacts, read_source, shaped_source
from edgesmith_builder.format.scikit.archive import check_archive
from edgesmith_builder.format.scikit.original import Estimator
from edgesmith_builder.score import check_conversion
from edgesmith_runtime.engine import load_engine

WHAT = "spec.source.uri s3://m/model"
FEATURES = 4


def rows(count: int = 160, seed: int = 3) -> NDArray[np.float32]:
    """Features of which the first is one of three categories."""
    found = np.random.default_rng(seed).normal(size=(count, FEATURES)).astype(np.float32)
    found[:, 0] = np.clip(np.round(found[:, 0]), -1, 1)
    return found


X = rows()
TWO = (X[:, 1] + X[:, 2] > 0).astype(np.int64)
THREE = TWO + (X[:, 3] > 0.5)
NUMBER = (3 * X[:, 1] + X[:, 2] ** 2).astype(np.float64)
NAMES = np.array(["fine", "worn", "broken"])[THREE]


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
OWN = rows(90, seed=4)
SAMPLES = Samples({"features": OWN}, {"features": 2}, batches=True)


def read(folder: Path, data: bytes, *, trust_pickle: bool = False) -> ModelFacts:
    folder.mkdir(exist_ok=True)
    (folder / "source").write_bytes(data)
    return read_source(folder / "source", WHAT, trust_pickle=trust_pickle)


def written(estimator: Any, **packing: Any) -> bytes:
    data: bytes = skops.io.dumps(estimator, **packing)
    return data


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


class Trap:
    """Runs code when its pickle is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("compress", [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_a_pickle_is_refused_and_not_run(compress: Any, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    joblib.dump(Trap(tmp_path / "ran"), buffer, compress=compress)
    with pytest.raises(
        ModelInvalid,
        match=r"(runs code of whoever wrote it|archive, which is not unpacked).*spec.source.trustPickle: true",
    ):
        read(tmp_path / "model", buffer.getvalue())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("compress", [0, ("gzip", 3)])
def test_a_pickle_is_read_where_it_is_trusted(compress: Any, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    joblib.dump(LogisticRegression().fit(X, TWO), buffer, compress=compress)
    assert read(tmp_path, buffer.getvalue(), trust_pickle=True).format == "scikit-learn"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (pickle.dumps({"a": 1}), r"holds a builtins.dict; a fitted estimator of scikit-learn was expected"),
        (b"\x80\x04broken", r"cannot be read \(\w+: .*a pickle of a fitted estimator"),
        (pickle.dumps(LogisticRegression()), r"LogisticRegression of None features; a fitted one was expected"),
        (
            pickle.dumps(KMeans(2, n_init=1).fit(X)),
            r"a KMeans; a classifier, regressor or outlier detector was expected",
        ),
    ],
)
def test_what_is_no_fitted_estimator_is_named(data: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match=says):
        read(tmp_path, data, trust_pickle=True)


class Stranger(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # untyped
    """An estimator that nobody knows."""


class Guest(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # untyped
    """Another."""


def test_every_type_that_is_not_trusted_is_named(tmp_path: Path) -> None:
    model = make_pipeline(Guest(), Stranger())
    with pytest.raises(ModelInvalid, match=r"holds \S*\.Guest, \S*\.Stranger, which are not trusted; "):
        read(tmp_path, written(model))


def rezipped(data: bytes, change: Callable[[str, bytes], bytes | None], **more: bytes) -> bytes:
    """The archive with its members changed; a member changed to None is left out."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if (kept := change(name, old.read(name))) is not None:
                new.writestr(name, kept)
        for name, content in more.items():
            new.writestr(name, content)
    return target.getvalue()


LOGISTIC = written(LogisticRegression().fit(X, TWO))


def test_a_zip_of_others_is_named(tmp_path: Path) -> None:
    data = rezipped(LOGISTIC, lambda name, content: None if name == "schema.json" else content)
    with pytest.raises(ModelInvalid, match=r"is a zip without schema.json; an estimator by skops.io.dump"):
        read(tmp_path, data)


def test_an_archive_that_is_cut_short_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match=r"is a broken zip \(.*a file by skops.io.dump was expected"):
        read(tmp_path, LOGISTIC[:-30])


@pytest.mark.parametrize("nested", [False, True])
def test_a_zip_bomb_is_refused_by_its_table(nested: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter of the test
    bomb = io.BytesIO()
    if nested:
        scipy.sparse.save_npz(bomb, scipy.sparse.csr_matrix((np.zeros(10**6), ([0] * 10**6, range(10**6)))))
        data = rezipped(LOGISTIC, lambda _, content: content, **{"1.npz": bomb.getvalue()})
    else:
        data = rezipped(LOGISTIC, lambda _, content: content, **{"1.npy": bytes(10**7)})
    assert len(data) < 200_000
    (tmp_path / "model").write_bytes(data)
    with pytest.raises(ModelInvalid, match=r"unpacks to \d+\.\d MB; at most 5\.0 MB were expected"):
        check_archive(tmp_path / "model", WHAT, 5 * 10**6)
    check_archive(tmp_path / "model", WHAT, 50 * 10**6)


def test_a_schema_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    data = rezipped(LOGISTIC, lambda name, content: b'{"protocol": 1}' if name == "schema.json" else content)
    with pytest.raises(ModelInvalid, match=r"cannot be read \(KeyError: .*; a file by skops.io.dump was expected"):
        read(tmp_path, data)


def nodes_of(data: bytes, dtype_has: str) -> str:
    """The member that holds an array whose description has a word."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return next(name for name in archive.namelist() if dtype_has.encode() in archive.read(name)[:400])


def with_array(data: bytes, name: str, change: Callable[[NDArray[Any]], None]) -> bytes:
    def changed(member: str, content: bytes) -> bytes:
        if member != name:
            return content
        array = np.load(io.BytesIO(content))
        change(array)
        target = io.BytesIO()
        np.save(target, array)
        return target.getvalue()

    return rezipped(data, changed)


def put(field: str, place: int, value: int) -> Callable[[NDArray[Any]], None]:
    def change(array: NDArray[Any]) -> None:
        array[field][place] = value

    return change


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("left_child", 10**6, r"names a node 1000000 where one of \d+ was"),
        ("right_child", -7, r"names a node -7 where one of \d+ was"),
        ("left_child", 0, r"leads back to a node above"),
        ("feature", 4, r"names a feature 4 where one of 4 was expected"),
        ("feature", -3, r"names a feature -3 where one of 4 was"),
    ],
)
@pytest.mark.parametrize("kind", ["tree", "boosting of two"])
def test_a_tree_that_leads_outside_is_refused(kind: str, field: str, value: int, says: str, tmp_path: Path) -> None:
    estimator, right = KINDS[kind]
    data = written(estimator.fit(X, right))
    with pytest.raises(ModelInvalid, match=f"is malformed: it {says}|is malformed: a tree of it {says}"):
        read(tmp_path, with_array(data, nodes_of(data, "left_child"), put(field, 0, value)))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [("left", 10**6, "names a node 1000000"), ("right", 0, "leads back"), ("feature_idx", 9, "names a feature 9")],
)
def test_a_histogram_tree_that_leads_outside_is_refused(field: str, value: int, says: str, tmp_path: Path) -> None:
    estimator, right = KINDS["histograms"]
    data = written(estimator.fit(X, right))
    with pytest.raises(ModelInvalid, match=f"is malformed: .*{says}"):
        read(tmp_path, with_array(data, nodes_of(data, "feature_idx"), put(field, 0, value)))


def test_a_neighbour_of_a_class_that_is_none_is_refused(tmp_path: Path) -> None:
    estimator = KNeighborsClassifier().fit(X, THREE)
    estimator._y[5] = 99
    with pytest.raises(ModelInvalid, match="is malformed: it names a class 99 where one of 3 was expected"):
        read(tmp_path, written(estimator))


def test_boosting_with_trees_for_more_classes_than_it_has_is_refused(tmp_path: Path) -> None:
    estimator = GradientBoostingClassifier(n_estimators=2).fit(X, THREE)
    estimator.n_trees_per_iteration_ = 1
    with pytest.raises(ModelInvalid, match=r"its trees are an array \[2, 3\] where 1 a stage were expected"):
        read(tmp_path, written(estimator))


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
    with pytest.raises(ModelInvalid, match=r"an output or a step 'probabilities', as the sets' array is called"):
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


def test_json_of_any_depth_is_a_sentence(tmp_path: Path) -> None:
    deep = json.dumps([]).replace("]", "") * 10**5
    with pytest.raises(ModelInvalid, match="cannot be read"):
        read(tmp_path, rezipped(LOGISTIC, lambda name, old: deep.encode() if name == "schema.json" else old))
