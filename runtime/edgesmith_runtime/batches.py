"""Requests put together into one batch, and their answers taken apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["joined", "kind_of", "parted", "rows_of", "size_of"]


def rows_of(feed: Mapping[str, NDArray[Any]]) -> int:
    """The batch of a request; 0 where its inputs differ in it."""
    rows = {array.shape[0] if array.ndim else 0 for array in feed.values()}
    return rows.pop() if len(rows) == 1 else 0


def size_of(feed: Mapping[str, NDArray[Any]]) -> int:
    """How many bytes the tensors of a request take; a character of text counts as one."""
    return sum(sum(map(len, array.flat)) if array.dtype.hasobject else array.nbytes for array in feed.values())


def kind_of(feed: Mapping[str, NDArray[Any]]) -> tuple[Any, ...]:
    """What requests have in common that can be put together: all but their batches."""
    return tuple(sorted((name, array.dtype.str, array.shape[1:]) for name, array in feed.items()))


def joined(feeds: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Put the tensors of several requests into one batch, in their order."""
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


def parted(answers: Mapping[str, NDArray[Any]], rows: Sequence[int]) -> list[dict[str, NDArray[Any]]]:
    """Take the answers to several requests out of a batch's.

    Args:
        answers: The outputs of the batch.
        rows: The batch of each request.

    Raises:
        ValueError: An output has not as many rows as there are.
    """
    for name, array in answers.items():
        if array.shape[:1] != (sum(rows),):
            raise ValueError(f"output {name!r} has {array.shape[:1]} rows; expected {sum(rows)}")
    ends = np.cumsum(rows).tolist()
    return [
        {name: array[end - count : end] for name, array in answers.items()}
        for end, count in zip(ends, rows, strict=True)
    ]
