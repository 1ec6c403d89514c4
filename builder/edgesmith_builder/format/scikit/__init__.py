"""scikit-learn: files of skops, and pickles where they are trusted; converted to ONNX, since no engine runs them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgesmith_builder.format.scikit.signatures import is_pickle, recognises

if TYPE_CHECKING:
    from edgesmith_builder.format.scikit.read import Converted

__all__ = ["convert", "is_pickle", "recognises"]


def convert(path: Path, what: str, *, trust_pickle: bool) -> Converted:
    """Read a file and convert its estimator to ONNX; see `edgesmith_builder.format.scikit.read`."""
    from edgesmith_builder.format.scikit import read  # noqa: PLC0415 - scikit-learn takes seconds to import

    return read.convert(path, what, trust_pickle=trust_pickle)
