"""The object that a sample leaves the node as: an `.npz` of plain arrays, the same bytes for the same sample.

`inputs/NAME` and `outputs/NAME` are what the model was given and what it answered, `sample` is what else is known of
it: JSON as bytes (`uint8`). Where `batch` is true, the first axis of each has the size 1 and counts samples.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["INPUTS", "OUTPUTS", "SAMPLE", "VERSION", "Facts", "SampleInvalid", "pack", "pack_arrays", "unpack_arrays"]

VERSION: Final = 1
INPUTS: Final = "inputs/"
OUTPUTS: Final = "outputs/"
SAMPLE: Final = "sample"
_LEVEL: Final = 6
_ARRAYS: Final = 4096


class SampleInvalid(Exception):  # noqa: N818 - reads as what it is
    """Bytes are no arrays."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a sample.

    Attributes:
        model: The EdgeModel's name.
        digest: The SHA-256 of the model's file.
        precision: What the model computes in.
        node: The node.
        reason: Why it was taken: Uncertain, Novel or Random.
        of: How many samples it was taken from; a random one is worth as many in an estimate.
        uncertainty: Its uncertainty, from 0 to 1.
        novelty: Its novelty.
        batch: Whether the first axis of each array counts samples.
        time: When the request was answered, by the node's clock, in seconds since 1970: that may be wrong.
        boot: Which start of the node it was.
        since_boot: Seconds from then to the answer: these are right.
        redacted: Whether anything was taken out of it.
    """

    model: str
    digest: str
    precision: str
    node: str
    reason: str
    of: int
    uncertainty: float | None
    novelty: float | None
    batch: bool
    time: float
    boot: str
    since_boot: float
    redacted: bool

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        found = asdict(self)
        found["sinceBoot"] = found.pop("since_boot")
        probability = 1 / self.of if self.reason == "Random" else None
        return {"version": VERSION, "probability": probability, **found}


def pack(facts: Facts, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> bytes:
    """Write a sample."""
    said = json.dumps(facts.document(), sort_keys=True, allow_nan=False).encode()
    arrays = {f"{INPUTS}{name}": array for name, array in inputs.items()}
    arrays |= {f"{OUTPUTS}{name}": array for name, array in outputs.items()}
    return pack_arrays({**arrays, SAMPLE: np.frombuffer(said, np.uint8)})


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Write arrays as an `.npz`, without any time in it; text as NumPy's own, never pickled."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name in sorted(arrays):
            array = arrays[name]
            plain = _texts(array) if array.dtype.kind == "O" else array
            body = io.BytesIO()
            np.lib.format.write_array(body, np.asarray(plain, order="C"), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, body.getvalue())
    return target.getvalue()


def unpack_arrays(data: bytes, limit: int) -> dict[str, NDArray[Any]]:
    """Read an `.npz` that another program wrote.

    Args:
        data: Its bytes.
        limit: Bytes that its arrays may have together.

    Raises:
        SampleInvalid: It is none, holds what is no plain array, or is larger.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if len(infos) > _ARRAYS or sum(info.file_size for info in infos) > limit:
                raise SampleInvalid(f"it unpacks to more than {limit} bytes")
            found = {}
            for info in infos:
                body = io.BytesIO(archive.read(info))
                found[info.filename.removesuffix(".npy")] = np.lib.format.read_array(body, allow_pickle=False)
            return found
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise SampleInvalid(f"it is no .npz of plain arrays ({type(error).__name__})") from error


def _texts(array: NDArray[Any]) -> NDArray[np.str_]:
    """Texts as NumPy has them, each as wide as the longest; what is no UTF-8 in those that are bytes is replaced."""
    return np.array([_text(item) for item in array.flat], np.str_).reshape(array.shape)


def _text(item: Any) -> str:
    return item.decode(errors="replace") if isinstance(item, bytes) else str(item)
