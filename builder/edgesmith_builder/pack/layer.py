"""The layers of a bundle: uncompressed tars with the same bytes for the same files.

Two, since one changes with the evaluation set and the other with the model: a node that has the one need not pull it
again with the other. Uncompressed, since weights hardly shrink and a compressor's output depends on its version; and
because a node then unpacks at the speed of its disk.

Format: POSIX.1-1988 "ustar" as tarfile writes its headers, without the zeros that fill a tape's last record.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgesmith_builder.oci import Descriptor
from edgesmith_builder.oci.content import LAYER
from edgesmith_builder.pack.hashing import Hashing
from edgesmith_runtime.bundle import GOLDEN_INPUTS

FOLDER = "model"
"""Where the bundle lies in the image, from the root."""

_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o644
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer on this machine."""

    name: str
    """What logs and the image's history call it."""
    file: Path
    descriptor: Descriptor
    """As it is not compressed, its digest is its diff id too."""


def write_layers(bundle: Path, folder: Path) -> tuple[Layer, Layer]:
    """Write a bundle as two layers, lowest first: the golden inputs, and the model with everything else.

    Args:
        bundle: The bundle's folder; plain files only, as `write_bundle` leaves it.
        folder: Where to write them.
    """
    files = sorted(bundle.iterdir())
    inputs = [path for path in files if path.name == GOLDEN_INPUTS]
    model = [path for path in files if path.name != GOLDEN_INPUTS]
    return (
        write_layer("golden inputs", inputs, folder / "inputs.tar"),
        write_layer("model bundle", model, folder / "model.tar"),
    )


def write_layer(name: str, files: Iterable[Path], target: Path) -> Layer:
    """Write files of a bundle as a layer, streaming.

    Names are sorted, times are 0, owner is root, modes are fixed.

    Args:
        name: What to call it.
        files: The files.
        target: The tar to write.
    """
    with target.open("wb") as file:
        hashing = Hashing(file)
        hashing.write(_header(FOLDER, tarfile.DIRTYPE, 0, _DIRECTORY_MODE))
        for path in sorted(files):
            size = path.stat().st_size
            hashing.write(_header(f"{FOLDER}/{path.name}", tarfile.REGTYPE, size, _FILE_MODE))
            with path.open("rb") as content:
                shutil.copyfileobj(content, hashing, _CHUNK)
            hashing.write(bytes(-size % tarfile.BLOCKSIZE))
        hashing.write(bytes(2 * tarfile.BLOCKSIZE))
    return Layer(name, target, Descriptor(LAYER, hashing.digest, hashing.size))


def _header(name: str, kind: bytes, size: int, mode: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.mode, entry.mtime = kind, size, mode, 0
    return entry.tobuf(tarfile.USTAR_FORMAT)
