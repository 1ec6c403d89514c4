"""Files of scikit-learn that are not trusted, or lie: pickles, archives, and trees that lead outside."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse
from estimators import LOGISTIC, THREE, TWO, WHAT, X, read, rezipped, written
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.format.scikit.archive import check_archive

TREES: dict[str, tuple[Any, NDArray[Any]]] = {
    "tree": (DecisionTreeClassifier(max_depth=5, random_state=1), THREE),
    "boosting of two": (GradientBoostingClassifier(n_estimators=5, random_state=1), TWO),
    "histograms": (HistGradientBoostingClassifier(max_iter=5), THREE),
}


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
    estimator, right = TREES[kind]
    data = written(estimator.fit(X, right))
    with pytest.raises(ModelInvalid, match=f"is malformed: it {says}|is malformed: a tree of it {says}"):
        read(tmp_path, with_array(data, nodes_of(data, "left_child"), put(field, 0, value)))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [("left", 10**6, "names a node 1000000"), ("right", 0, "leads back"), ("feature_idx", 9, "names a feature 9")],
)
def test_a_histogram_tree_that_leads_outside_is_refused(field: str, value: int, says: str, tmp_path: Path) -> None:
    estimator, right = TREES["histograms"]
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


def test_json_of_any_depth_is_a_sentence(tmp_path: Path) -> None:
    deep = json.dumps([]).replace("]", "") * 10**5
    with pytest.raises(ModelInvalid, match="cannot be read"):
        read(tmp_path, rezipped(LOGISTIC, lambda name, old: deep.encode() if name == "schema.json" else old))
