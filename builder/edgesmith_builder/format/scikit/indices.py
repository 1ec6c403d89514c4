"""Holds what scikit-learn's compiled code follows without looking, places in trees and in training sets, to its bounds.

skops trusts none of these types, because a file that names a place outside would have `predict` read there. Within the
bounds checked here, and with search trees built anew, they are as good as those that scikit-learn has just trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.tree._tree import Tree

CHECKED = frozenset(
    {
        "sklearn.tree._tree.Tree",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neighbors._ball_tree.BallTree",
        *(f"sklearn.metrics._dist_metrics.{name}Distance64" for name in ("Chebyshev", "Euclidean", "Manhattan")),
        "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    }
)
"""Types that skops does not trust and that are checked here, or built anew."""

PLAIN = frozenset(
    {
        "numpy.dtype",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.utils._bunch.Bunch",
    }
)
"""Types of scikit-learn's own that skops does not list, written in Python and nothing but values."""


class OutOfBounds(Exception):  # noqa: N818 - turned into a sentence by whoever reads a file
    """Something leads out of its bounds; the message says what."""


def check_indices(estimator: Any) -> None:
    """Check an estimator and all that are in it.

    Raises:
        OutOfBounds: where a place is none.
    """
    for part, features in parts(estimator):
        if isinstance(part, Tree):
            _check_tree(part, features)
        elif isinstance(part, TreePredictor):
            _check_predictor(part, features)
        elif isinstance(part, BaseGradientBoosting) and hasattr(part, "estimators_"):
            found, wanted = np.shape(part.estimators_), getattr(part, "n_trees_per_iteration_", None)
            if len(found) != 2 or found[1] != wanted:  # noqa: PLR2004 - stages and classes
                raise OutOfBounds(f"its trees are an array {list(found)} where {wanted} a stage were expected")
        elif hasattr(part, "_fit_X"):
            _check_neighbours(part)


def parts(whole: Any) -> Iterator[tuple[Any, int]]:
    """An estimator and everything inside it, each with the number of features that the estimator around it takes."""
    seen: set[int] = set()
    waiting: list[tuple[Any, int]] = [(whole, 0)]
    while waiting:
        part, features = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, BaseEstimator):
            given = getattr(part, "n_features_in_", None)
            own = int(given) if isinstance(given, int | np.integer) else features
            # Boosting gives its rows to its trees' compiled code without asking them how many features they take.
            features = min(own, features) if features and hasattr(part, "tree_") else own
        yield part, features
        waiting += [(inner, features) for inner in _inside(part)]


def _inside(part: Any) -> list[Any]:
    if isinstance(part, dict):
        return list(part.values())
    if isinstance(part, list | tuple | set):
        return list(part)
    if isinstance(part, np.ndarray):
        return part.ravel().tolist() if part.dtype.hasobject else []
    return list(getattr(part, "__dict__", {}).values())


def _check_tree(tree: Any, features: int) -> None:
    nodes, leaf = np.arange(tree.node_count), tree.children_left == -1
    left, right = tree.children_left[~leaf], tree.children_right[~leaf]
    _check_children(nodes[~leaf], left, right, tree.node_count)
    _check_range(tree.feature[~leaf], min(features, tree.n_features), "a feature")


def _check_predictor(tree: Any, features: int) -> None:
    nodes = tree.nodes
    inner = nodes[nodes["is_leaf"] == 0]
    _check_children(np.flatnonzero(nodes["is_leaf"] == 0), inner["left"], inner["right"], len(nodes))
    _check_range(inner["feature_idx"], features, "a feature")
    categories = inner[inner["is_categorical"] != 0]["bitset_idx"]
    _check_range(categories, len(tree.raw_left_cat_bitsets), "a set of categories")
    _check_range(categories, len(tree.binned_left_cat_bitsets), "a set of categories")


def _check_children(nodes: NDArray[Any], left: NDArray[Any], right: NDArray[Any], count: int) -> None:
    """Children come after their parent, as scikit-learn lays trees out: so every way down ends."""
    if not count:
        raise OutOfBounds("a tree of it has no node where one at least was expected")
    for children in (left, right):
        _check_range(children, count, "a node")
        if not (children.astype(np.int64) > nodes).all():
            raise OutOfBounds("a tree of it leads back to a node above where a later one was expected")


def _check_range(found: NDArray[Any], count: int, kind: str) -> None:
    values = found.astype(np.int64).ravel()
    outside = values[(values < 0) | (values >= count)]
    if outside.size:
        raise OutOfBounds(f"it names {kind} {outside[0]} where one of {count} was expected")


def _check_neighbours(part: Any) -> None:
    """Check classes, and build the search tree anew, as `fit` does: a tree's own places need no check then."""
    classes, rows = getattr(part, "classes_", None), getattr(part, "_y", None)
    if isinstance(classes, np.ndarray) and rows is not None:
        _check_range(np.asarray(rows), len(classes), "a class")
    if rows is not None and len(rows) != part._fit_X.shape[0]:  # noqa: SLF001 - scikit-learn keeps it so
        raise OutOfBounds(f"it has {len(rows)} answers where {part._fit_X.shape[0]} were expected")  # noqa: SLF001
    tree = getattr(part, "_tree", None)
    if tree is not None:
        options = part.effective_metric_params_
        part._tree = type(tree)(part._fit_X, part.leaf_size, metric=part.effective_metric_, **options)  # noqa: SLF001
