"""The classification extension: the best classes of an output instead of its scores.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.errors import BadRequest
from edgesmith_runtime.tensors import datatype_of, shape_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgesmith_runtime.signature import ModelSignature, RequestedOutput

__all__ = ["MOST_NAMES", "answered", "best_classes"]

MOST_NAMES: Final = 2**16
"""The most classes named in one output, over all its samples: each takes some microseconds."""


def answered(signature: ModelSignature, asked: RequestedOutput, array: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """What is answered for one output, and its datatype.

    Args:
        signature: The model's signature.
        asked: What was asked of the output.
        array: What the engine answered.

    Raises:
        BadRequest: Classes are asked for, and there are no scores, or too many.
    """
    if asked.classes:
        return best_classes(array, asked.classes, signature.labels), "BYTES"
    spec = signature.outputs.get(asked.name)
    return array, "BF16" if spec is not None and spec.datatype == "BF16" else datatype_of(array) or ""


def best_classes(scores: NDArray[Any], count: int, labels: Sequence[str]) -> NDArray[Any]:
    """Name the classes with the highest scores, best first; of equals, the one with the lower index.

    Args:
        scores: One score a class; with two axes or more, the first is the batch.
        count: How many classes to name; fewer where there are fewer.
        labels: The class names, or nothing.

    Returns:
        Strings ``score:index`` or ``score:index:label`` of shape ``[count]`` or ``[batch, count]``.

    Raises:
        BadRequest: There are no scores, or more than `MOST_NAMES` strings would come of them.
    """
    if not scores.size:
        raise BadRequest(f"an output of shape {shape_text(scores.shape)} has nothing to classify; expected scores")
    rows = scores.reshape(1, -1) if scores.ndim < 2 else scores.reshape(len(scores), -1)  # noqa: PLR2004 - the batch and the rest
    if len(rows) * min(count, rows.shape[1]) > MOST_NAMES:
        raise BadRequest(f"{count} classes of {len(rows)} samples are over {MOST_NAMES}; expected fewer at once")
    order = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    named = np.empty(order.shape, dtype=np.object_)
    for (row, place), found in np.ndenumerate(order):
        index = int(found)
        label = f":{labels[index]}" if index < len(labels) else ""
        named[row, place] = f"{float(rows[row, index]):f}:{index}{label}"
    return named[0] if scores.ndim < 2 else named  # noqa: PLR2004 - as above
