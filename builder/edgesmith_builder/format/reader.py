"""What reads a model on the device, where it is older than what reads it here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edgesmith_builder.contract import Reads, Release, release_of
from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.format.facts import ModelFacts
from edgesmith_builder.format.onnx.older import Older, TooNew, for_release
from edgesmith_builder.lastwords import in_hand

_FOLDER = "older"
"""Where a file for the reader is written, beside the one that it is made of."""


@dataclass(frozen=True, slots=True)
class Reader:
    """The ONNX Runtime that serves a model."""

    version: str
    said: str
    """Where that is said, for messages: `as its base image says`."""
    most: Reads
    """The newest that it reads."""

    @property
    def release(self) -> Release:
        """The release that the version is of."""
        return release_of(self.version)

    def older(self, file: Path, folder: Path) -> Older:
        """An ONNX file as it reads it; the file itself where it does.

        Raises:
            TooNew: There is no such form of it.
        """
        return for_release(file, self.release, self.most, folder / _FOLDER)

    def refusal(self, found: TooNew) -> str:
        """Why a model is not served, after what it is called."""
        return (
            f"has {found.has}, and {found.why}; {found.most} was expected with ONNX Runtime {self.version}, which "
            f"serves it ({self.said})"
        )


def read_there(facts: ModelFacts, reader: Reader | None, what: str) -> ModelFacts:
    """A model as what serves it reads it.

    Args:
        facts: The model; its file stays as it is.
        reader: What reads it on the device; None: what reads it here.
        what: What messages call the model.

    Raises:
        ModelInvalid: There is no such form of it.
    """
    if reader is None or facts.path.suffix != ".onnx":
        return facts
    try:
        with in_hand(what, "it was written in an older form", "a model that can be"):
            made = reader.older(facts.path, facts.path.parent)
    except TooNew as error:
        raise ModelInvalid(f"{what} {reader.refusal(error)}") from error
    if made.converted is None:
        return replace(facts, path=made.file, size=made.file.stat().st_size)
    was, now = made.converted
    told = (
        f"The model came in opset {was}, and ONNX's converter wrote it in opset {now} for ONNX Runtime "
        f"{reader.version}, which serves it"
    )
    size = made.file.stat().st_size
    return replace(
        facts, path=made.file, size=size, operators=now, converted=True, warnings=(*facts.warnings, f"{told}.")
    )
