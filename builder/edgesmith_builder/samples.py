"""Samples that nodes sent home, as one data set: what a person labels, and the next model is taught and scored with.

Nobody knows who wrote the files: each is read as a data set is, and what is no sample like the first is left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset import read_npz
from edgesmith_builder.errors import DatasetInvalid
from edgesmith_builder.limits import DATASET

SAMPLES = "samples"
"""The first word of the command line."""

_INPUTS = "inputs/"
_FACTS = "sample"
_VERSION = 1
_OBJECT = 1 << 30
_FACTS_LONGEST = 1 << 16


@dataclass
class Gathered:
    """What was found in a folder."""

    facts: list[dict[str, Any]] = field(default_factory=list)
    """What is known of each sample, in the order of the arrays' rows."""
    inputs: dict[str, list[NDArray[Any]]] = field(default_factory=dict)
    """Rows of each input."""
    left_out: list[str] = field(default_factory=list)
    """Why each other file is none, a sentence each."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The data set, without labels."""
        return {name: np.concatenate(rows) for name, rows in self.inputs.items()}


def gather(folder: Path) -> Gathered:
    """Read every `.npz` below a folder, in the order of their paths.

    Args:
        folder: Objects as nodes send them.

    Raises:
        DatasetInvalid: where there is no sample, or more than a data set may have.
    """
    found = Gathered()
    widest: dict[str, int] = {}
    for path in sorted(folder.rglob("*.npz")):
        try:
            facts, inputs = _sample(path)
            _check_like(found, inputs)
        except DatasetInvalid as error:
            found.left_out.append(str(error))
            continue
        for name, array in inputs.items():
            widest[name] = max(array.itemsize, widest.get(name, 0))  # texts become as wide as the widest of all
        row = sum(array.size * widest[name] for name, array in inputs.items())
        if row * (len(found.facts) + 1) > DATASET:
            raise DatasetInvalid(
                f"{folder} holds samples of more than {DATASET} bytes, texts as wide as the widest; "
                "a part of them was expected"
            )
        found.facts.append(facts)
        for name, array in inputs.items():
            found.inputs.setdefault(name, []).append(array)
    if not found.facts:
        why = f" ({found.left_out[0]})" if found.left_out else ""
        raise DatasetInvalid(f"{folder} holds no sample{why}; objects that nodes sent were expected")
    return found


def main(words: Sequence[str]) -> int:
    """Write the data set of a folder; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=f"python3 -m edgesmith_builder {SAMPLES}",
        description="Make one data set of the samples that nodes sent, for somebody to add labels to.",
    )
    parser.add_argument("folder", type=Path, help="a folder with the objects, as `mc mirror` fetches them")
    parser.add_argument("target", type=Path, help="the .npz to write; what is known of each row goes beside, in .jsonl")
    options = parser.parse_args(words)
    try:
        found = gather(options.folder)
    except DatasetInvalid as error:
        sys.stderr.write(f"{error}\n")
        return 1
    np.savez_compressed(options.target, allow_pickle=False, **found.arrays())
    lines = "".join(f"{json.dumps(facts, sort_keys=True)}\n" for facts in found.facts)
    options.target.with_suffix(".jsonl").write_text(lines, encoding="utf-8")
    for sentence in found.left_out:
        sys.stderr.write(f"left out: {sentence}\n")
    sys.stdout.write(f"{len(found.facts)} samples, {len(found.left_out)} files left out\n")
    return 0


def _sample(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What is known of a sample, and its inputs with samples along the first axis."""
    with tempfile.TemporaryDirectory() as work:
        arrays = read_npz(path, field=str(path), folder=Path(work), limit=_OBJECT, missing=True)
        facts = _facts(path, arrays)
        batch = facts.get("batch") is True
        inputs = {
            name.removeprefix(_INPUTS): np.array(array if batch else array[None])
            for name, array in arrays.items()
            if name.startswith(_INPUTS)
        }
    if not inputs or any(len(array) != 1 for array in inputs.values()):
        raise DatasetInvalid(f"{path} has no inputs of one sample; those were expected")
    return facts, inputs


def _facts(path: Path, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    said = arrays.get(_FACTS)
    if said is None or said.dtype != np.uint8 or said.ndim != 1 or said.size > _FACTS_LONGEST:
        raise DatasetInvalid(f"{path} has no array {_FACTS!r} of bytes; an object that a node sent was expected")
    try:
        facts = json.loads(said.tobytes())
    except (ValueError, RecursionError) as error:
        raise DatasetInvalid(f"{path} has an array {_FACTS!r} that is no JSON; an object was expected") from error
    if not isinstance(facts, dict) or facts.get("version") != _VERSION:
        raise DatasetInvalid(f"{path} is of another version than {_VERSION}")
    return facts


def _check_like(found: Gathered, inputs: dict[str, NDArray[Any]]) -> None:
    """Raise where a sample has other inputs than the first."""
    if not found.inputs:
        return
    for name, array in _pairs(found, inputs):
        first = found.inputs[name][0]
        texts = array.dtype.kind == first.dtype.kind == "U"
        if array.shape != first.shape or (array.dtype != first.dtype and not texts):
            raise DatasetInvalid(
                f"a sample has the input {name!r} of type {array.dtype} and shape {list(array.shape)}; "
                f"{first.dtype} and {list(first.shape)}, as the first has it, were expected"
            )


def _pairs(found: Gathered, inputs: dict[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[Any]]]:
    if set(inputs) != set(found.inputs):
        raise DatasetInvalid(f"a sample has the inputs {sorted(inputs)}; {sorted(found.inputs)} were expected")
    yield from inputs.items()
