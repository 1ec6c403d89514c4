"""What a bundle says of itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgesmith_runtime.picture.declaration import GOLDEN_PICTURE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgesmith_runtime.picture import Picture
    from edgesmith_runtime.tensors import TensorSpec

FORMAT_VERSION: Final = 4
BUNDLE_FILE: Final = "bundle.json"
DEFAULT_NAME: Final = "model"
"""What clients call a model that is served under no name of its own."""
GOLDEN_INPUTS: Final = "inputs.npz"
"""The inputs of the golden samples: in a layer of their own, since they do not change with the model."""
GOLDEN_ANSWERS: Final = "answers.npz"
"""What the model answers to them, with how far each answer may be off."""
BASELINE: Final = "baseline.json"
"""What the model's inputs and answers were like at build time, for drift to be seen against."""

_NAMES: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class BundleError(ValueError):
    """A bundle cannot be read or written; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle says of itself.

    Attributes:
        model: The model's name, as clients address it.
        engine: The engine that serves it.
        options: What the engine is told.
        file: The model's file in the folder, the one that the engine opens; it finds others of the model itself.
        precision: ``int8`` or ``fp32``, for example.
        inputs: The model's inputs.
        outputs: The model's outputs.
        labels: The class names, empty when the build had none.
        golden_files: The files of the golden samples in the folder: their inputs, their answers.
        baseline: The file of the baseline in the folder; None where the build had no samples for one.
        digests: ``sha256:<hex>`` of every file but ``bundle.json``.
        folder: Where the bundle was read from or written to.
        picture: How a picture becomes the model's input, and what its answer means; None where nothing is declared.
    """

    model: str
    engine: str
    options: Mapping[str, str]
    file: str
    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    labels: tuple[str, ...]
    golden_files: tuple[str, str]
    digests: Mapping[str, str]
    folder: Path
    picture: Picture | None = None
    baseline: str | None = None

    @property
    def model_path(self) -> Path:
        """The compiled model."""
        return self.folder / self.file

    @property
    def model_digest(self) -> str:
        """What tells this model from others: its file's digest, or that of all digests where it has several files."""
        files = {
            name: digest
            for name, digest in self.digests.items()
            if name not in {*self.golden_files, GOLDEN_PICTURE, self.baseline}
        }
        if len(files) == 1:
            return files[self.file]
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
        return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"

    @property
    def picture_path(self) -> Path:
        """The golden picture, where a picture is declared."""
        return self.folder / GOLDEN_PICTURE

    @property
    def golden_paths(self) -> tuple[Path, Path]:
        """The golden samples' inputs and answers."""
        inputs, answers = self.golden_files
        return self.folder / inputs, self.folder / answers


def is_name(name: Any) -> bool:
    """Say whether a model or a file of a bundle can have a name: letters, digits, ``.``, ``_`` and ``-``."""
    return isinstance(name, str) and 0 < len(name) < 254 and set(name) <= _NAMES and name not in {".", ".."}  # noqa: PLR2004 - what a file system allows
