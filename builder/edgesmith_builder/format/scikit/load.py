"""Reads an estimator: of a skops file only what is trusted, of a pickle anything, and only where it is trusted."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import skops.io
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning

from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.format.scikit.archive import check_archive
from edgesmith_builder.format.scikit.indices import CHECKED, PLAIN, OutOfBounds, check_indices
from edgesmith_builder.format.scikit.signatures import is_pickle
from edgesmith_builder.limits import memory_limit, model_limit

log = logging.getLogger(__name__)

_UNTRUSTED = (
    "is a pickle, and a pickle runs code of whoever wrote it when it is read; a file by skops.io.dump, an ONNX model, "
    "or spec.source.trustPickle: true was expected"
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """An estimator as it was read."""

    estimator: BaseEstimator
    written: tuple[str, ...]
    """Versions of scikit-learn that wrote it, where they are other than this one."""


def load(path: Path, what: str, *, trust_pickle: bool) -> Loaded:
    """Read a file.

    Args:
        path: The file.
        what: What messages call it.
        trust_pickle: Whether whoever asks for the build says that a pickle's code may run.

    Raises:
        ModelInvalid: in one sentence, where it holds no estimator that may be read.
    """
    with path.open("rb") as file:
        pickled = is_pickle(file.read(16))
    if pickled and not trust_pickle:
        raise ModelInvalid(f"{what} {_UNTRUSTED}")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = _unpickled(path, what) if pickled else _of_skops(path, what)
    if not isinstance(found, BaseEstimator):
        kind = f"{type(found).__module__}.{type(found).__qualname__}"
        raise ModelInvalid(f"{what} holds a {kind}; a fitted estimator of scikit-learn was expected")
    versions = {
        str(one.message.original_sklearn_version) for one in said if isinstance(one.message, InconsistentVersionWarning)
    }
    return Loaded(found, tuple(sorted(versions)))


def _unpickled(path: Path, what: str) -> Any:
    log.warning("%s is a pickle: reading it runs code of whoever wrote it, as spec.source.trustPickle allows", what)
    try:
        return joblib.load(path)
    except MemoryError:
        raise
    except Exception as error:
        raise _unreadable(what, error, "a pickle of a fitted estimator of scikit-learn") from error


def _of_skops(path: Path, what: str) -> Any:
    check_archive(path, what, model_limit(memory_limit()))
    try:
        strange = sorted(set(skops.io.get_untrusted_types(file=path)) - CHECKED - PLAIN)
        found = None if strange else skops.io.load(path, trusted=sorted(CHECKED | PLAIN))
        check_indices(found)
    except MemoryError:
        raise
    except OutOfBounds as error:
        raise ModelInvalid(f"{what} is malformed: {error}") from error
    except Exception as error:  # whatever a file can make skops stumble over
        raise _unreadable(what, error, "a file by skops.io.dump") from error
    if strange:
        raise ModelInvalid(
            f"{what} holds {', '.join(strange)}, which are not trusted; estimators of scikit-learn with nothing of "
            "others in them were expected"
        )
    return found


def _unreadable(what: str, error: Exception, expected: str) -> ModelInvalid:
    return ModelInvalid(f"{what} cannot be read ({type(error).__name__}: {str(error)[:300]}); {expected} was expected")
