"""What a watch knows, kept in a file for the server's next start.

One line of JSON that says of which baseline and cycle it is, and the digest of what follows: sums as little-endian
floats of 32 bits. What is of another baseline, of another form or spoilt is not taken up.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.drift.watch import State
from edgesmith_runtime.drift.window import BLOCKS, SPANS
from edgesmith_runtime.spool.disk import RealDisk, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from edgesmith_runtime.drift.watch import Watch

__all__ = ["FILE", "keep", "take_up"]

FILE: Final = "edgesmith-drift.state"
_VERSION: Final = 2
_LARGEST: Final = 2**20
_LAST: Final = 2.0**62
"""No time is later. A number may have so many digits that it is no float, and is compared as it is."""


def keep(watch: Watch, folder: Path) -> None:
    """Write what a watch knows. A crash meanwhile leaves the old file or the new one, whole.

    Raises:
        OSError: It could not be written.
    """
    window = watch.window
    sums = np.concatenate([array.reshape(-1) for array in window.sums]).astype("<f4").tobytes()
    head = {
        "formatVersion": _VERSION,
        "baseline": watch.baseline.digest,
        "cycle": watch.cycle,
        "state": watch.state.value,
        "since": watch.since,
        "samples": watch.samples,
        "episodes": watch.episodes,
        "quiet": watch.quiet,
        "ends": watch.ends,
        "closed": window.closed,
        "spans": window.spans,
        "digest": hashlib.sha256(sums).hexdigest(),
    }
    write_whole(RealDisk(), folder / FILE, json.dumps(head).encode() + b"\n" + sums, folder / f"{FILE}.new")


def take_up(watch: Watch, folder: Path) -> bool:
    """Go on where another watch of the same baseline ended; say whether there was one.

    Raises:
        OSError: What it left cannot be read, or nothing is there.
    """
    try:
        with (folder / FILE).open("rb") as stream:
            data = stream.read(_LARGEST + 1)
        line, _, sums = data.partition(b"\n")
        head = json.loads(line)
    except (ValueError, RecursionError):
        return False
    if len(data) > _LARGEST or not isinstance(head, dict) or not _of(watch, head, sums):
        return False
    found = np.frombuffer(sums[: len(sums) // 4 * 4], "<f4").astype(np.float64)
    arrays = watch.window.sums
    if found.size != sum(array.size for array in arrays) or not np.isfinite(found).all():
        return False
    start = 0
    for array in arrays:
        array[...] = found[start : start + array.size].reshape(array.shape)
        start += array.size
    watch.state, watch.since = State(head["state"]), float(head["since"])
    watch.samples, watch.episodes, watch.quiet = head["samples"], head["episodes"], head["quiet"]
    watch.ends = float(head["ends"])
    watch.window.closed, watch.window.spans = head["closed"], head["spans"]
    watch.look()
    return True


def _of(watch: Watch, head: dict[str, Any], sums: bytes) -> bool:
    """Whether a file is of this watch's baseline and cycle, whole, and has the numbers that it must have."""
    bounds = {"closed": BLOCKS, "spans": SPANS - 1, "samples": 2**62, "episodes": 2**31, "quiet": 2**31}
    return (
        head.get("formatVersion") == _VERSION
        and head.get("baseline") == watch.baseline.digest
        and head.get("cycle") == watch.cycle
        and head.get("state") in set(State)
        and all(type(head.get(name)) is int and 0 <= head[name] <= most for name, most in bounds.items())
        and all(_is_time(head.get(name)) for name in ("since", "ends"))
        and head.get("digest") == hashlib.sha256(sums).hexdigest()
    )


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LAST
