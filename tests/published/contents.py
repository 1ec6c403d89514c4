"""Files of many kinds as Magika's model takes them: the first and the last 1,024 bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from wheels import wheels

_KINDS = Path(__file__).with_name("kinds.txt")
"""Words, and how files of each kind begin, go on and end; § stands for a word there, ¤ for another, ¶ for a number."""
_BLOCKS = 24
"""So often a file goes on: the shortest is longer than both ends that are looked at."""
SIZE, BLOCK, NOTHING = 1024, 4096, 256
"""Bytes of each end, how many are looked at for them, and what stands where none are: config.min.json of Magika."""

# The package's own pipeline, in a process of its own: it is no part of this environment.
_SCRIPT = """
import json, sys
from pathlib import Path
from magika import Magika

magika = Magika()
found = [magika.identify_bytes(Path(name).read_bytes()) for name in json.load(sys.stdin)]
labels = [str(one) for one in magika._model_config.target_labels_space]
json.dump({"labels": labels, "said": [[str(one.dl.label), one.score] for one in found]}, sys.stdout)
"""


def files(folder: Path) -> dict[Path, str]:
    """Write two files of each kind, in turn: the same bytes whatever machine, repository and Python.

    Args:
        folder: Where to write them.

    Returns:
        The kind of each.
    """
    words, *kinds = _KINDS.read_text("utf-8").split("§§§ ")
    found = {}
    for told in kinds:
        kind, _, parts = told.partition("\n")
        for number in range(2):
            path = folder / f"{kind}-{number}"
            known = islice(cycle(words.split()), 7 * number + len(kind), None)
            path.write_text(_text(known, *parts.split("§§§\n")))
            found[path] = kind
    return found


def _text(words: Iterator[str], head: str, block: str, tail: str = "") -> str:
    """A file that begins and ends so, and goes on so often in between, with other words each time."""
    blocks = []
    for index in range(_BLOCKS):
        one = block.replace("§", next(words)).replace("¤", next(words))
        blocks.append(one.replace("¶", str(index % 9 + 1)))
    return head + "".join(blocks) + tail


def taken(path: Path) -> NDArray[np.int32]:
    """A file as the model takes it, shape (2 * SIZE,)."""
    content = path.read_bytes()
    first, last = content[:BLOCK].lstrip()[:SIZE], content[-BLOCK:].rstrip()[-SIZE:]
    return np.array([*first, *[NOTHING] * (2 * SIZE - len(first) - len(last)), *last], np.int32)


def said(paths: list[Path]) -> tuple[list[str], list[tuple[str, float]]]:
    """What the package says: all that its model can answer, and for each file its kind and how sure it is."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        input=json.dumps([str(path) for path in paths]),
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(wheels()), "ORT_DISABLE_TELEMETRY": "1"},
    )
    answer = json.loads(done.stdout)
    return answer["labels"], [(label, float(score)) for label, score in answer["said"]]
