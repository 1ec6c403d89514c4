"""The bundle: what is written is what is read, and nothing else is read."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgesmith_runtime.bundle import Bundle, BundleError, TensorSpec, read_bundle, write_bundle
from edgesmith_runtime.golden import Golden

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_what_is_written_is_read_back(toy: Bundle) -> None:
    again = read_bundle(toy.folder, "toy")
    assert again == toy
    assert read_bundle(toy.folder).model == "model", "the bundle has no name of its own"
    assert again.labels == ("a", "b", "c", "d")
    assert again.inputs == (TensorSpec("x", "FP32", (-1, 4)),)
    assert len(Golden.read(*again.golden_paths)) == 5


def test_the_same_arguments_give_the_same_bytes(toy: Bundle, toy_copy: Bundle) -> None:
    for name in ("answers.npz", "bundle.json", "inputs.npz", "model.onnx"):
        assert (toy.folder / name).read_bytes() == (toy_copy.folder / name).read_bytes()


def test_the_manifest_is_canonical_json(toy: Bundle) -> None:
    text = (toy.folder / "bundle.json").read_text()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"


def _append(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        with (folder / name).open("ab") as stream:
            stream.write(b"!")

    return spoil


def _write(text: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "bundle.json").write_text(text)

    return spoil


def _link_model(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "elsewhere")
    (folder / "model.onnx").symlink_to(folder.parent / "elsewhere")


def _set(**changes: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        document = json.loads((folder / "bundle.json").read_text()) | changes
        (folder / "bundle.json").write_text(json.dumps(document))

    return spoil


SHA = "sha256:" + "0" * 64

HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "the model was changed": (_append("model.onnx"), "model.onnx has digest sha256:"),
    "the golden inputs were changed": (_append("inputs.npz"), "inputs.npz has digest sha256:"),
    "the golden answers were changed": (_append("answers.npz"), "answers.npz has digest sha256:"),
    "the golden inputs are missing": (lambda folder: (folder / "inputs.npz").unlink(), "bundle lacks 'inputs.npz'"),
    "the model is missing": (lambda folder: (folder / "model.onnx").unlink(), "bundle lacks 'model.onnx'"),
    "a file is too many": (lambda folder: (folder / "extra").touch(), "bundle holds 'extra', which bundle.json"),
    "a folder is in it": (lambda folder: (folder / "extra").mkdir(), "bundle holds 'extra', which is a link"),
    "a pipe is in it": (lambda folder: os.mkfifo(folder / "extra"), "bundle holds 'extra', which is a link"),
    "the model is a link": (_link_model, "bundle holds 'model.onnx', which is a link"),
    "the manifest is missing": (lambda folder: (folder / "bundle.json").unlink(), "cannot be read: No such file"),
    "the manifest is no JSON": (_append("bundle.json"), "bundle.json is not JSON"),
    "the manifest nests too deeply": (
        _write("[" * 100_000),
        "bundle.json is not JSON",
    ),
    "the manifest is huge": (
        _write(" " * 2_000_000),
        "is over 1048576 bytes",
    ),
    "the manifest is a list": (
        _write("[]"),
        "content is '[]'; expected an object",
    ),
    "the format is newer": (_set(formatVersion=3), "formatVersion is '3'; expected 4"),
    "there are no options": (_set(options=None), "options is 'None'; expected an object of strings"),
    "an option is a number": (
        _set(options={"device": 1}),
        "options is \"{'device': 1}\"; expected an object of strings",
    ),
    "the file lies elsewhere": (
        _set(file="../elsewhere"),
        "file is '../elsewhere'; expected a file that digests names",
    ),
    "a digest names a path": (_set(digests={"../model.onnx": SHA}), "digests is '../model.onnx'; expected plain file"),
    "a digest is short": (_set(digests={"model.onnx": "sha256:00"}), "expected 'sha256:' and 64"),
    "a digest is of another kind": (_set(digests={"model.onnx": "md5:" + "0" * 32}), "expected 'sha256:' and 64"),
    "there are no digests": (_set(digests=None), "digests is 'None'; expected an object"),
    "there are no golden samples": (_set(golden=None), "golden is 'None'; expected an object with inputs and answers"),
    "the golden answers lie elsewhere": (
        _set(golden={"inputs": "inputs.npz", "answers": "../answers.npz"}),
        "golden.answers is '../answers.npz'; expected a file that digests names",
    ),
    "the labels are numbers": (_set(labels=[1]), "labels is '[1]'; expected a list of strings"),
    "there are no inputs": (_set(inputs=[]), "inputs is '[]'; expected a list of at least one tensor"),
    "a datatype is unknown": (
        _set(inputs=[{"name": "x", "datatype": "FP8", "shape": []}]),
        "inputs[0].datatype is 'FP8'; expected BOOL",
    ),
    "a size is below -1": (
        _set(inputs=[{"name": "x", "datatype": "FP32", "shape": [-2]}]),
        "inputs[0].shape is '[-2]'; expected a list of sizes",
    ),
    "two inputs share a name": (
        _set(inputs=[{"name": "x", "datatype": "FP32", "shape": []}] * 2),
        "inputs is \"['x', 'x']\"; expected names that differ",
    ),
}


@pytest.mark.parametrize(("spoil", "expected"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_bundle_is_refused_when(toy_copy: Bundle, spoil: Callable[[Path], None], expected: str) -> None:
    spoil(toy_copy.folder)
    with pytest.raises(BundleError) as caught:
        read_bundle(toy_copy.folder)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def _write_again(toy: Bundle, folder: Path, others: list[Path], **options: str) -> Bundle:
    return write_bundle(
        folder,
        engine="onnxruntime",
        precision="fp32",
        model_file=toy.model_path,
        inputs=toy.inputs,
        outputs=toy.outputs,
        labels=None,
        golden=Golden.read(*toy.golden_paths),
        others=others,
        options=options,
    )


def test_further_files_and_options_are_read_back(toy: Bundle, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    bundle = _write_again(toy, tmp_path / "new", [tmp_path / "model.bin"], device="NPU")
    again = read_bundle(tmp_path / "new")
    assert again == bundle
    assert again.options == {"device": "NPU"}
    assert again.file == "model.onnx"
    assert (again.folder / "model.bin").read_bytes() == b"weights"
    (again.folder / "model.bin").write_bytes(b"others")
    with pytest.raises(BundleError, match=r"model\.bin has digest sha256:"):
        read_bundle(again.folder)


def test_the_models_digest_covers_all_its_files_and_nothing_else(toy: Bundle, tmp_path: Path) -> None:
    assert toy.model_digest == toy.digests["model.onnx"]
    seen: set[str] = set()
    for name, content in (("model.bin", b"a"), ("model.bin", b"b"), ("other.bin", b"a")):
        (tmp_path / name).write_bytes(content)
        seen.add(_write_again(toy, tmp_path / f"new{len(seen)}", [tmp_path / name]).model_digest)
    assert len(seen) == 3
    (tmp_path / "model.bin").write_bytes(b"a")
    assert _write_again(toy, tmp_path / "told", [tmp_path / "model.bin"], device="CPU").model_digest in seen


@pytest.mark.parametrize("name", ["model.onnx", "bundle.json", "inputs.npz", "answers.npz"])
def test_two_files_of_one_name_are_refused(toy: Bundle, tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(BundleError, match=f"file '{name}' is in the bundle already"):
        _write_again(toy, tmp_path / "new", [tmp_path / name])


def test_a_folder_in_use_is_not_written_into(toy_copy: Bundle) -> None:
    with pytest.raises(BundleError, match="is not empty"):
        _write_again(toy_copy, toy_copy.folder, [])


def test_golden_samples_must_fit_the_model(toy: Bundle, toy_model: Path, tmp_path: Path) -> None:
    golden = Golden.of({"x": np.zeros((1, 4))}, {"relu": np.zeros((1, 4), np.float32)}, 0.05)
    with pytest.raises(BundleError, match=r"golden input 'x' is FP64 \[1,4\]"):
        write_bundle(
            tmp_path / "new",
            engine="onnxruntime",
            precision="fp32",
            model_file=toy_model,
            inputs=toy.inputs,
            outputs=toy.outputs,
            labels=None,
            golden=golden,
        )


def test_every_digest_is_that_of_its_file(toy: Bundle) -> None:
    for name, digest in toy.digests.items():
        assert digest == "sha256:" + hashlib.sha256((toy.folder / name).read_bytes()).hexdigest()
