"""Fitted estimators of scikit-learn, and files of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from edgesmith_builder.format import ModelFacts, read_source

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


def read(folder: Path, data: bytes, *, trust_pickle: bool = False) -> ModelFacts:
    folder.mkdir(exist_ok=True)
    (folder / "source").write_bytes(data)
    return read_source(folder / "source", WHAT, trust_pickle=trust_pickle)


def written(estimator: Any, **packing: Any) -> bytes:
    data: bytes = skops.io.dumps(estimator, **packing)
    return data


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
