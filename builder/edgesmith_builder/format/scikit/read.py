"""From a file to an ONNX model: read, converted, and asked for the shapes of its answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import skl2onnx
import sklearn
from sklearn.neighbors._base import NeighborsBase

from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.format.facts import Original
from edgesmith_builder.format.scikit.graph import INPUT, graph_of, one_score, shape_outputs
from edgesmith_builder.format.scikit.indices import parts
from edgesmith_builder.format.scikit.load import load
from edgesmith_builder.format.scikit.original import SCORES, Estimator
from edgesmith_runtime.engine import EngineError, load_engine

_FEATURES = 1 << 20
_ROWS, _TWO = 3, 2


@dataclass(frozen=True, slots=True)
class Converted:
    """An estimator as an ONNX model."""

    path: Path
    labels: tuple[str, ...] | None
    original: Original
    warnings: tuple[str, ...]
    """What is not as good as it looks, each in one sentence."""


def convert(path: Path, what: str, *, trust_pickle: bool) -> Converted:
    """Read a file and convert its estimator.

    Args:
        path: The file; the model is written beside it.
        what: What messages call it: `spec.source.uri s3://…`.
        trust_pickle: Whether a pickle's code may run.

    Raises:
        ModelInvalid: in one sentence, where it is none that can be served.
    """
    loaded = load(path, what, trust_pickle=trust_pickle)
    estimator = Estimator(loaded.estimator)
    features = getattr(loaded.estimator, "n_features_in_", None)
    if not estimator.outputs:
        raise ModelInvalid(f"{what} holds a {estimator.name}; a classifier, regressor or outlier detector was expected")
    if not isinstance(features, int | np.integer) or not 0 < features <= _FEATURES:
        raise ModelInvalid(f"{what} holds a {estimator.name} of {features} features; a fitted one was expected")
    target = path.with_suffix(".onnx")
    try:
        model = graph_of(loaded.estimator, int(features), estimator.outputs)
        onnx.save_model(model, target)
        shapes = _shapes(target, int(features))
        if shapes.get(SCORES) == (_ROWS, _TWO) and len(estimator.classes or ()) == _TWO:
            one_score(model, SCORES)
            shapes[SCORES] = (_ROWS, 1)
        shape_outputs(model, shapes)
        onnx.save_model(model, target)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # skl2onnx's errors share no base class
        words = " ".join(str(error).split())[:300]
        raise ModelInvalid(
            f"{what} holds a {estimator.name}, which skl2onnx {skl2onnx.__version__} does not convert to ONNX "
            f"({words}); one that takes a matrix of float32 and that it converts was expected"
        ) from error
    return Converted(target, estimator.classes, estimator, tuple(_warnings(loaded.estimator, loaded.written)))


def _shapes(path: Path, features: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a model's answers to a few rows."""
    engine = load_engine("onnxruntime", path, threads=1)
    try:
        found = engine.infer({INPUT: np.zeros((_ROWS, features), np.float32)}, [spec.name for spec in engine.outputs])
    finally:
        engine.close()
    shapes = {name: array.shape for name, array in found.items()}
    if any(shape[:1] != (_ROWS,) for shape in shapes.values()):
        raise EngineError(f"it answers {shapes} to {_ROWS} rows; one row each was expected")
    return shapes


def _warnings(estimator: object, written: tuple[str, ...]) -> list[str]:
    found = []
    if written:
        found.append(
            f"the file was written by scikit-learn {', '.join(written)} and read by {sklearn.__version__}, whose "
            "answers the build is held against: they can differ from those of the version that wrote it"
        )
    for part, _ in parts(estimator):
        if isinstance(part, NeighborsBase) and hasattr(part, "_fit_X"):
            found.append(
                f"{type(part).__name__} becomes a scan over its {part._fit_X.shape[0]} training samples, slower than "  # noqa: SLF001 - scikit-learn keeps it so
                "scikit-learn's own (docs/builder.md has a measurement): gate it with gates.maxLatency"
            )
    return found
