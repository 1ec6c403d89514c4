"""The bundle: the folder ``/model`` of a variant's image, and the only thing that a build hands to the runtime.

``bundle.json`` names every other file of the folder with its digest; a file that is missing, changed, not named, or
anything but a plain file makes the whole bundle unreadable.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from edgesmith_runtime.tensors import ANY_SIZE, DTYPES, TensorSpec, datatype_of, shape_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgesmith_runtime.golden import Golden

__all__ = [
    "BUNDLE_FILE",
    "FORMAT_VERSION",
    "GOLDEN_ANSWERS",
    "GOLDEN_INPUTS",
    "Bundle",
    "BundleError",
    "TensorSpec",
    "is_name",
    "read_bundle",
    "write_bundle",
]

FORMAT_VERSION: Final = 3
BUNDLE_FILE: Final = "bundle.json"
GOLDEN_INPUTS: Final = "inputs.npz"
"""The inputs of the golden samples: in a layer of their own, since they do not change with the model."""
GOLDEN_ANSWERS: Final = "answers.npz"
"""What the model answers to them, with how far each answer may be off."""

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_LARGEST_MANIFEST: Final = 2**20
_CHUNK: Final = 2**20
_MODE: Final = 0o644
_DIGEST_LENGTH: Final = 64
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
        digests: ``sha256:<hex>`` of every file but ``bundle.json``.
        folder: Where the bundle was read from or written to.
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

    @property
    def model_path(self) -> Path:
        """The compiled model."""
        return self.folder / self.file

    @property
    def model_digest(self) -> str:
        """What tells this model from others: its file's digest, or that of all digests where it has several files."""
        files = {name: digest for name, digest in self.digests.items() if name not in self.golden_files}
        if len(files) == 1:
            return files[self.file]
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
        return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"

    @property
    def golden_paths(self) -> tuple[Path, Path]:
        """The golden samples' inputs and answers."""
        inputs, answers = self.golden_files
        return self.folder / inputs, self.folder / answers


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle and check every file of it against its digest.

    Args:
        folder: The bundle's folder.

    Returns:
        The bundle, every byte of which has been read.

    Raises:
        BundleError: The folder is not a bundle, or not the one that was built.
    """
    bundle = _parse(_read_manifest(folder), folder)
    present = _plain_files(folder) - {BUNDLE_FILE}
    if missing := sorted(set(bundle.digests) - present):
        raise BundleError(f"bundle lacks {missing[0]!r}, which {BUNDLE_FILE} names")
    if extra := sorted(present - set(bundle.digests)):
        raise BundleError(f"bundle holds {extra[0]!r}, which {BUNDLE_FILE} does not name")
    for name, expected in sorted(bundle.digests.items()):
        actual = _digest(folder / name)
        if actual != expected:
            raise BundleError(f"{name} has digest {actual}; expected {expected} from {BUNDLE_FILE}")
    return bundle


def write_bundle(
    folder: Path,
    *,
    model: str,
    engine: str,
    precision: str,
    model_file: Path,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    labels: Sequence[str] | None,
    golden: Golden,
    others: Sequence[Path] = (),
    options: Mapping[str, str] = _NONE,
) -> Bundle:
    """Write a bundle; the same arguments give the same bytes.

    Args:
        folder: Where to write; made when missing, otherwise it must be empty.
        model: The model's name: letters, digits, ``.``, ``_`` and ``-``.
        engine: The engine that serves it.
        precision: What the build chose, ``int8`` for example.
        model_file: The compiled model, copied as ``model`` plus its suffix.
        inputs: The model's inputs.
        outputs: The model's outputs.
        labels: The class names, or ``None``.
        golden: Samples recorded with this model and engine.
        others: Further files that the engine finds beside the model's, copied under their own names.
        options: What the engine is told.

    Returns:
        The bundle as `read_bundle` reads it back.

    Raises:
        BundleError: An argument is out of its bounds, or the golden samples do not fit the inputs and outputs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise BundleError(f"folder {folder} is not empty; expected a new one")
    _check_golden(golden, inputs, outputs)
    file = "model" + model_file.suffix
    copies = {file: model_file}
    for other in others:
        if other.name in {*copies, BUNDLE_FILE, GOLDEN_INPUTS, GOLDEN_ANSWERS}:
            raise BundleError(f"file {other.name!r} is in the bundle already; expected another name")
        copies[other.name] = other
    digests = {name: _copy(source, folder / name) for name, source in copies.items()}
    golden.write(folder / GOLDEN_INPUTS, folder / GOLDEN_ANSWERS)
    for name in (GOLDEN_INPUTS, GOLDEN_ANSWERS):
        (folder / name).chmod(_MODE)
        digests[name] = _digest(folder / name)
    document: dict[str, Any] = {
        "formatVersion": FORMAT_VERSION,
        "model": model,
        "engine": engine,
        "options": dict(options),
        "file": file,
        "precision": precision,
        "inputs": [_spec_document(spec) for spec in inputs],
        "outputs": [_spec_document(spec) for spec in outputs],
        "digests": digests,
        "golden": {"inputs": GOLDEN_INPUTS, "answers": GOLDEN_ANSWERS},
    }
    if labels is not None:
        document["labels"] = list(labels)
    bundle = _parse(document, folder)
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    (folder / BUNDLE_FILE).write_bytes(text.encode() + b"\n")
    (folder / BUNDLE_FILE).chmod(_MODE)
    return bundle


def _check_golden(golden: Golden, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Hold golden samples against the model's inputs and outputs: known names, the right types, every input there."""
    answered = {name: answers.values for name, answers in golden.outputs.items()}
    for kind, specs, arrays in (("input", inputs, golden.inputs), ("output", outputs, answered)):
        for name, array in arrays.items():
            known = {spec.name: spec for spec in specs}
            if name not in known or known[name].datatype != datatype_of(array):
                actual = f"{datatype_of(array)} {shape_text(array.shape)}"
                raise BundleError(f"golden {kind} {name!r} is {actual}; expected one of the model's {kind}s: {specs}")
    if lacking := sorted({spec.name for spec in inputs} - set(golden.inputs)):
        raise BundleError(f"golden samples lack input {lacking[0]!r}; expected every input of the model")


def _spec_document(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _read_manifest(folder: Path) -> Any:
    path = folder / BUNDLE_FILE
    try:
        with _open(path) as stream:
            text = stream.read(_LARGEST_MANIFEST + 1)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    if len(text) > _LARGEST_MANIFEST:
        raise BundleError(f"{BUNDLE_FILE} is over {_LARGEST_MANIFEST} bytes; expected less")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{BUNDLE_FILE} is not JSON: {error}") from error


def _parse(document: Any, folder: Path) -> Bundle:
    _expect(isinstance(document, dict), "content", document, "an object")
    version = document.get("formatVersion")
    _expect(version == FORMAT_VERSION and not isinstance(version, bool), "formatVersion", version, str(FORMAT_VERSION))
    digests = _digests(document.get("digests"))
    golden = document.get("golden")
    _expect(isinstance(golden, dict), "golden", golden, "an object with inputs and answers")
    model = document.get("model")
    _expect(is_name(model), "model", model, "a name of letters, digits, '.', '_' and '-'")
    files = {"file": document.get("file")} | {f"golden.{key}": golden.get(key) for key in ("inputs", "answers")}
    for field, name in files.items():
        _expect(isinstance(name, str) and name in digests, field, name, "a file that digests names")
    labels = document.get("labels", [])
    texts = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    _expect(texts, "labels", labels, "a list of strings")
    options = document.get("options")
    words = isinstance(options, dict) and all(isinstance(value, str) for value in options.values())
    _expect(words, "options", options, "an object of strings")
    for field in ("engine", "precision"):
        value = document.get(field)
        _expect(isinstance(value, str) and value != "", field, value, "a name")
    return Bundle(
        model=document["model"],
        engine=document["engine"],
        options=MappingProxyType(dict(document["options"])),
        file=document["file"],
        precision=document["precision"],
        inputs=_specs(document.get("inputs"), "inputs"),
        outputs=_specs(document.get("outputs"), "outputs"),
        labels=tuple(labels),
        golden_files=(golden["inputs"], golden["answers"]),
        digests=digests,
        folder=folder,
    )


def _digests(value: Any) -> Mapping[str, str]:
    _expect(isinstance(value, dict) and bool(value), "digests", value, "an object of file names and digests")
    for name, digest in value.items():
        _expect(is_name(name) and name != BUNDLE_FILE, "digests", name, "plain file names in the bundle's own folder")
        algorithm, _, hexadecimal = digest.partition(":") if isinstance(digest, str) else ("", "", "")
        proper = (
            algorithm == "sha256" and len(hexadecimal) == _DIGEST_LENGTH and set(hexadecimal) <= set("0123456789abcdef")
        )
        _expect(proper, f"digests[{name!r}]", digest, "'sha256:' and 64 hexadecimal digits")
    return MappingProxyType(dict(value))


def _specs(value: Any, field: str) -> tuple[TensorSpec, ...]:
    _expect(isinstance(value, list) and bool(value), field, value, "a list of at least one tensor")
    specs = []
    for index, item in enumerate(value):
        where = f"{field}[{index}]"
        _expect(isinstance(item, dict), where, item, "an object with name, datatype and shape")
        name, datatype, shape = item.get("name"), item.get("datatype"), item.get("shape")
        _expect(isinstance(name, str) and name != "", f"{where}.name", name, "a name")
        _expect(isinstance(datatype, str) and datatype in DTYPES, f"{where}.datatype", datatype, ", ".join(DTYPES))
        sizes = isinstance(shape, list) and all(type(size) is int and size >= ANY_SIZE for size in shape)
        _expect(sizes, f"{where}.shape", shape, "a list of sizes, -1 for any")
        specs.append(TensorSpec(name, datatype, tuple(shape)))
    names = [spec.name for spec in specs]
    _expect(len(set(names)) == len(names), field, names, "names that differ")
    return tuple(specs)


def _expect(condition: bool, field: str, value: Any, expected: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not condition:
        raise BundleError(f"{BUNDLE_FILE}: {field} is {str(value)[:100]!r}; expected {expected}")


def is_name(name: Any) -> bool:
    """Say whether a model or a file of a bundle can have a name: letters, digits, ``.``, ``_`` and ``-``."""
    return isinstance(name, str) and 0 < len(name) < 254 and set(name) <= _NAMES and name not in {".", ".."}  # noqa: PLR2004 - what a file system allows


def _plain_files(folder: Path) -> set[str]:
    names = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_file(follow_symlinks=False):
                    raise BundleError(f"bundle holds {entry.name!r}, which is a link, folder or device; expected files")
                names.add(entry.name)
    except OSError as error:
        raise BundleError(f"{folder} cannot be read: {error.strerror}") from error
    return names


def _open(path: Path) -> Any:
    """Open a plain file for reading; never follow a link out of the folder, never wait on a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    stream = os.fdopen(descriptor, "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        stream.close()
        raise BundleError(f"bundle holds {path.name!r}, which is a link, folder or device; expected files")
    return stream


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with _open(path) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise BundleError(f"{path.name} cannot be read: {error.strerror}") from error
    return f"sha256:{digest.hexdigest()}"


def _copy(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            writer.write(chunk)
    target.chmod(_MODE)
    return f"sha256:{digest.hexdigest()}"
