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
from edgesmith_runtime.bundle import GOLDEN_INPUTS, read_bundle
from edgesmith_runtime.golden import Golden
from edgesmith_runtime.picture import GOLDEN_PICTURE
from edgesmith_runtime.signature import VERSION
from edgesmith_runtime.triton.preparing import USUAL
from edgesmith_runtime.triton.repository import repository_files

FOLDER = "model"
"""Where the bundle lies in the image, from the root."""

REPOSITORY = "models"
"""Where a Triton model repository lies in the image, from the root."""

INPUTS_LAYER, MODEL_LAYER = "golden inputs", "model bundle"
"""What logs and an image's history call the two layers, the lower first."""

_OF_SET = (GOLDEN_INPUTS, GOLDEN_PICTURE)
"""The files of a bundle that come from the set, and stay as they are with another model."""

_DIRECTORY_MODE = 0o755
_LINK_MODE = 0o777
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


@dataclass(frozen=True, slots=True)
class Entry:
    """A folder, a link or a small file of a layer."""

    name: str
    """From the root."""
    text: str | None = None
    """A file's content."""
    link: str | None = None
    """Where a link points."""

    def write(self, file: Hashing) -> None:
        """Write it as tar has it."""
        if self.text is not None:
            content = self.text.encode()
            file.write(_header(self.name, tarfile.REGTYPE, len(content), _FILE_MODE))
            file.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
        elif self.link is not None:
            file.write(_header(self.name, tarfile.SYMTYPE, 0, _LINK_MODE, self.link))
        else:
            file.write(_header(self.name, tarfile.DIRTYPE, 0, _DIRECTORY_MODE))


def repository(folder: Path) -> list[Entry]:
    """A Triton model repository whose version 1 is the bundle's own folder, for whoever starts a plain tritonserver.

    The server of a pod has one of its own, with what the pod knows: its cores, its largest batch, its cache of engines.

    Args:
        folder: The bundle's.
    """
    bundle = read_bundle(folder)
    texts = repository_files(bundle, Golden.read(*bundle.golden_paths), USUAL)
    model = f"{REPOSITORY}/{bundle.model}"
    files = [Entry(f"{model}/{name}", text=text) for name, text in sorted(texts.items())]
    return [Entry(REPOSITORY), Entry(model), Entry(f"{model}/{VERSION}", link=f"/{FOLDER}"), *files]


def write_layers(bundle: Path, folder: Path, *, triton: bool = False) -> tuple[Layer, Layer]:
    """Write a bundle as two layers, lowest first: the golden inputs and picture, and the model with everything else.

    Args:
        bundle: The bundle's folder; plain files only, as `write_bundle` leaves it.
        folder: Where to write them.
        triton: Whether a Triton model repository of the bundle goes along, at ``/models``.
    """
    files = sorted(bundle.iterdir())
    inputs = [path for path in files if path.name in _OF_SET]
    model = [path for path in files if path.name not in _OF_SET]
    return (
        write_layer(INPUTS_LAYER, inputs, folder / "inputs.tar"),
        write_layer(MODEL_LAYER, model, folder / "model.tar", repository(bundle) if triton else ()),
    )


def write_layer(name: str, files: Iterable[Path], target: Path, further: Iterable[Entry] = ()) -> Layer:
    """Write files of a bundle as a layer, streaming.

    Names are sorted, times are 0, owner is root, modes are fixed.

    Args:
        name: What to call it.
        files: The files.
        target: The tar to write.
        further: What comes after the bundle.
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
        for entry in further:
            entry.write(hashing)
        hashing.write(bytes(2 * tarfile.BLOCKSIZE))
    return Layer(name, target, Descriptor(LAYER, hashing.digest, hashing.size))


def _header(name: str, kind: bytes, size: int, mode: int, link: str = "") -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.mode, entry.mtime, entry.linkname = kind, size, mode, 0, link
    return entry.tobuf(tarfile.USTAR_FORMAT)
