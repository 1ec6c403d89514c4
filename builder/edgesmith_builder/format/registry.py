"""Tells formats apart by a file's bytes: its name is whatever somebody uploaded it under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.format import onnx, scikit, tflite
from edgesmith_builder.format.archive import archive_of
from edgesmith_builder.format.facts import ModelFacts
from edgesmith_builder.format.renames import RenamedOriginal, Renames
from edgesmith_builder.lastwords import in_hand

_HEAD = 4096
"""Bytes that a format may be recognised by."""


class Format(Protocol):
    """A module of this folder."""

    SUFFIX: str
    """Of its files: `.onnx`."""

    def recognises(self, head: bytes) -> bool:
        """Whether a file that begins so is one of this format."""

    def read_model(self, path: Path, what: str) -> ModelFacts:
        """Read and check a file, whoever wrote it."""

    def shaped(self, facts: ModelFacts, ranks: Mapping[str, int], what: str) -> ModelFacts:
        """Give inputs that have no shape as many open axes as `ranks` says, in the file."""

    def renamed(self, facts: ModelFacts, renames: Renames, what: str) -> ModelFacts:
        """Give inputs and outputs other names, in the file."""


_FORMATS: tuple[Format, ...] = (tflite, onnx)
"""ONNX last: a protocol buffer has no signature, so it says itself what is wrong with any other file."""


def read_source(path: Path, what: str, *, trust_pickle: bool = False) -> ModelFacts:
    """Recognise a model, read it and check it; its file gets its format's suffix.

    What no engine runs is converted to ONNX first, and is an ONNX model from there on.

    Args:
        path: The file, without one.
        what: What messages call it: `spec.source.uri s3://…`.
        trust_pickle: Whether a pickle may be read, which runs code of whoever wrote it.

    Raises:
        ModelInvalid: in one sentence, when it is not a model that can be served.
        ModelHasNaN: when a weight is not a number.
    """
    with in_hand(what, "it was read", "a model that can be read to its end"):
        return _read_source(path, what, trust_pickle=trust_pickle)


def _read_source(path: Path, what: str, *, trust_pickle: bool) -> ModelFacts:
    """As `read_source`."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    archive = archive_of(head)
    # What is packed is taken for a pickle only by who trusts one: it may be anything else as well.
    if scikit.recognises(head) and (trust_pickle or archive in {None, "zip"}):
        made = scikit.convert(path, what, trust_pickle=trust_pickle)
        facts = onnx.read_model(made.path, what)
        return replace(facts, format="scikit-learn", labels=made.labels, original=made.original, warnings=made.warnings)
    found = next(one for one in _FORMATS if one is onnx or one.recognises(head))
    if found is onnx and archive is not None:
        pickled = ", or spec.source.trustPickle: true for a packed pickle" if scikit.recognises(head) else ""
        raise ModelInvalid(
            f"{what} is a {archive} archive, which is not unpacked; the model's own file was expected{pickled}"
        )
    named = path.rename(path.with_suffix(found.SUFFIX))
    return found.read_model(named, what)


def shaped_source(facts: ModelFacts, ranks: Mapping[str, int], what: str) -> ModelFacts:
    """Give inputs that have no shape as many open axes as the sets' arrays have, and one without a name theirs.

    Args:
        facts: The model.
        ranks: How many axes the arrays of the sets have, by name, without labels.
        what: What messages call the model.

    Raises:
        ModelInvalid: where no set has the input.
    """
    if facts.unnamed:
        return onnx.named(facts, ranks, what)
    return _format_of(facts).shaped(facts, ranks, what)


def renamed_source(facts: ModelFacts, renames: Renames, what: str) -> ModelFacts:
    """Give what a model takes and answers other names, in its file.

    Args:
        facts: The model; its file is written anew.
        renames: The names; those that the model does not have change nothing.
        what: What messages call the model.

    Raises:
        InterfaceMismatch: where its format cannot have them.
    """
    if not renames:
        return facts
    made = _format_of(facts).renamed(facts, renames, what)
    if made.original is None:
        return made
    return replace(made, original=RenamedOriginal(made.original, renames.outputs))


def _format_of(facts: ModelFacts) -> Format:
    """The format of a file that was read."""
    return next(one for one in _FORMATS if facts.path.suffix == one.SUFFIX)
