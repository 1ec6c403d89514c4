"""``bundle.json``: checked field by field, since it comes from an image."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from edgesmith_runtime.bundle.description import BUNDLE_FILE, FORMAT_VERSION, Bundle, BundleError, is_name
from edgesmith_runtime.picture import GOLDEN_PICTURE, Picture, PictureError
from edgesmith_runtime.picture import parse as parse_picture
from edgesmith_runtime.tensors import ANY_SIZE, DTYPES, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["parse", "specs_document"]

_DIGEST_LENGTH: Final = 64


def specs_document(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    """Describe inputs or outputs as `parse` reads them."""
    return [{"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)} for spec in specs]


def parse(document: Any, folder: Path, name: str) -> Bundle:
    """Check a document and turn it into what it describes.

    Args:
        document: What ``bundle.json`` holds.
        folder: Where its files are.
        name: What clients call the model.

    Raises:
        BundleError: A field is missing, or is not what was expected.
    """
    _expect(isinstance(document, dict), "content", document, "an object")
    version = document.get("formatVersion")
    _expect(version == FORMAT_VERSION and not isinstance(version, bool), "formatVersion", version, str(FORMAT_VERSION))
    digests = _digests(document.get("digests"))
    golden = document.get("golden")
    _expect(isinstance(golden, dict), "golden", golden, "an object with inputs and answers")
    files = {"file": document.get("file")} | {f"golden.{key}": golden.get(key) for key in ("inputs", "answers")}
    if document.get("baseline") is not None:
        files["baseline"] = document["baseline"]
    for field, file in files.items():
        _expect(isinstance(file, str) and file in digests, field, file, "a file that digests names")
    labels = document.get("labels", [])
    texts = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    _expect(texts, "labels", labels, "a list of strings")
    options = document.get("options")
    words = isinstance(options, dict) and all(isinstance(value, str) for value in options.values())
    _expect(words, "options", options, "an object of strings")
    for field in ("engine", "precision"):
        value = document.get(field)
        _expect(isinstance(value, str) and value != "", field, value, "a name")
    inputs, outputs = _specs(document.get("inputs"), "inputs"), _specs(document.get("outputs"), "outputs")
    return Bundle(
        model=name,
        engine=document["engine"],
        options=MappingProxyType(dict(document["options"])),
        file=document["file"],
        precision=document["precision"],
        inputs=inputs,
        outputs=outputs,
        labels=tuple(labels),
        golden_files=(golden["inputs"], golden["answers"]),
        digests=digests,
        folder=folder,
        picture=_picture(document.get("picture"), digests, inputs, outputs),
        baseline=document.get("baseline"),
    )


def _picture(
    value: Any, digests: Mapping[str, str], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> Picture | None:
    if value is None:
        return None
    try:
        found = parse_picture(value)
    except PictureError as error:
        raise BundleError(f"{BUNDLE_FILE}: {error}") from error
    _expect(GOLDEN_PICTURE in digests, "digests", sorted(digests), f"{GOLDEN_PICTURE} among them, for picture")
    _expect(found.recorded is not None, "picture.golden", None, "the recorded answer")
    _expect([found.input] == [spec.name for spec in inputs], "picture.input", found.input, "the model's one input")
    for output in found.outputs:
        _expect(output in {spec.name for spec in outputs}, "picture", output, "outputs of the model")
    return found


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
