"""Writes a bundle."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from edgesmith_runtime.bundle.description import (
    BASELINE,
    BUNDLE_FILE,
    DEFAULT_NAME,
    FORMAT_VERSION,
    GOLDEN_ANSWERS,
    GOLDEN_INPUTS,
    Bundle,
    BundleError,
)
from edgesmith_runtime.bundle.document import parse, specs_document
from edgesmith_runtime.bundle.files import MODE, copy_file, file_digest
from edgesmith_runtime.picture import GOLDEN_PICTURE, document_of
from edgesmith_runtime.tensors import TensorSpec, datatype_of, fits_datatype, shape_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgesmith_runtime.golden import Golden
    from edgesmith_runtime.picture import Picture

__all__ = ["write_bundle"]

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


def write_bundle(
    folder: Path,
    *,
    engine: str,
    precision: str,
    model_file: Path,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    labels: Sequence[str] | None,
    golden: Golden,
    others: Sequence[Path] = (),
    options: Mapping[str, str] = _NONE,
    picture: tuple[Picture, bytes] | None = None,
    baseline: bytes | None = None,
) -> Bundle:
    """Write a bundle; the same arguments give the same bytes.

    Args:
        folder: Where to write; made when missing, otherwise it must be empty.
        engine: The engine that serves it.
        precision: What the build chose, ``int8`` for example.
        model_file: The compiled model, copied as ``model`` plus its suffix.
        inputs: The model's inputs.
        outputs: The model's outputs.
        labels: The class names, or ``None``.
        golden: Samples recorded with this model and engine.
        others: Further files that the engine finds beside the model's, copied under their own names.
        options: What the engine is told.
        picture: How a picture becomes the input, with the recorded answer, and the golden picture's bytes.
        baseline: The file of the baseline; None: there is none.

    Returns:
        The bundle as `read_bundle` reads it back.

    Raises:
        BundleError: An argument is out of its bounds, or the golden samples do not fit the inputs and outputs.
    """
    _begin(folder)
    _check_golden(golden, inputs, outputs)
    file = "model" + model_file.suffix
    digests = _write_model(folder, file, model_file, others) | _write_golden(folder, golden)
    document: dict[str, Any] = {
        "formatVersion": FORMAT_VERSION,
        "engine": engine,
        "options": dict(options),
        "file": file,
        "precision": precision,
        "inputs": specs_document(inputs),
        "outputs": specs_document(outputs),
        "digests": digests,
        "golden": {"inputs": GOLDEN_INPUTS, "answers": GOLDEN_ANSWERS},
        **({"labels": list(labels)} if labels is not None else {}),
    }
    if baseline is not None:
        digests[BASELINE] = _write(folder / BASELINE, baseline)
        document["baseline"] = BASELINE
    if picture is not None:
        digests[GOLDEN_PICTURE] = _write(folder / GOLDEN_PICTURE, picture[1])
        document["picture"] = document_of(picture[0])
    return _write_document(folder, document)


def _begin(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise BundleError(f"folder {folder} is not empty; expected a new one")


def _write_document(folder: Path, document: dict[str, Any]) -> Bundle:
    """Write what a bundle says of itself, once it can be read back."""
    bundle = parse(document, folder, DEFAULT_NAME)
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    _write(folder / BUNDLE_FILE, text.encode() + b"\n")
    return bundle


def _write(file: Path, content: bytes) -> str:
    """Write a file of a bundle; give its digest."""
    file.write_bytes(content)
    file.chmod(MODE)
    return file_digest(file)


def _write_model(folder: Path, file: str, model_file: Path, others: Sequence[Path]) -> dict[str, str]:
    """Copy the model's files; give their digests by name."""
    copies = {file: model_file}
    for other in others:
        if other.name in {*copies, BUNDLE_FILE, GOLDEN_INPUTS, GOLDEN_ANSWERS, GOLDEN_PICTURE, BASELINE}:
            raise BundleError(f"file {other.name!r} is in the bundle already; expected another name")
        copies[other.name] = other
    return {name: copy_file(source, folder / name) for name, source in copies.items()}


def _write_golden(folder: Path, golden: Golden) -> dict[str, str]:
    """Write the golden samples' files; give their digests by name."""
    paths = folder / GOLDEN_INPUTS, folder / GOLDEN_ANSWERS
    golden.write(*paths)
    for path in paths:
        path.chmod(MODE)
    return {path.name: file_digest(path) for path in paths}


def _check_golden(golden: Golden, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Hold golden samples against the model's inputs and outputs: known names, the right types, every input there."""
    answered = {name: answers.values for name, answers in golden.outputs.items()}
    for kind, specs, arrays in (("input", inputs, golden.inputs), ("output", outputs, answered)):
        for name, array in arrays.items():
            known = {spec.name: spec for spec in specs}
            if name not in known or not fits_datatype(array, known[name].datatype):
                actual = f"{datatype_of(array)} {shape_text(array.shape)}"
                raise BundleError(f"golden {kind} {name!r} is {actual}; expected one of the model's {kind}s: {specs}")
    if lacking := sorted({spec.name for spec in inputs} - set(golden.inputs)):
        raise BundleError(f"golden samples lack input {lacking[0]!r}; expected every input of the model")
