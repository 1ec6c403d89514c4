"""Data sets that somebody wrote by hand: whatever an array says of itself, the set is refused and not tried again."""

from __future__ import annotations

import errno
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesmith_builder.dataset import CLASSES, read_npz, samples_for
from edgesmith_builder.dataset.header import read_header
from edgesmith_builder.errors import DatasetInvalid, DatasetMismatch
from edgesmith_runtime.tensors import TensorSpec


def told(shape: str = "(2, 3)", descr: str = "'<f4'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


def with_header(header: str, data: bytes = b"") -> bytes:
    """An array whose header is this text."""
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def read(folder: Path, **members: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(folder / "set.npz", "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    (folder / "out").mkdir()
    return read_npz(folder / "set.npz", field="spec.calibration.uri s3://m/set.npz", folder=folder / "out")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        pytest.param("-" * 9000 + "1", "a header that cannot be read", id="deeper-than-the-parser"),
        pytest.param("(" * 9000, "a header that cannot be read", id="never-closed"),
        pytest.param('{"a": """x', "a header that cannot be read", id="text-without-end"),
        pytest.param("  x\n y", "a header that cannot be read", id="indented"),
        pytest.param("{1: 2, 'a': 3}", "a header that cannot be read", id="keys-of-two-types"),
        pytest.param("{[]: 1}", "a header that cannot be read", id="a-list-as-key"),
        pytest.param("[1]", "a header that cannot be read", id="no-dictionary"),
        pytest.param(told(descr="'<U999999999999'"), "a header that cannot be read", id="text-of-a-terabyte"),
        pytest.param(told("(True, 3)"), r"of shape \[True, 3\]; at least one sample", id="a-truth-value-as-size"),
        pytest.param(told(f"(1, 0, {10**30})"), "at most 4.0 GB were expected", id="nothing-of-a-size-beyond-numbers"),
        pytest.param(told(f"({10**12}, 0)"), "at most 4.0 GB were expected", id="a-million-million-empty-samples"),
        pytest.param(told(f"({10**12},)", "'|S0'"), "of text without a letter", id="samples-without-a-byte"),
        pytest.param(told("(2,)", "'<U0'"), "of text without a letter", id="text-without-a-letter"),
    ],
)
def test_an_array_that_says_nonsense_of_itself_is_refused(tmp_path: Path, header: str, words: str) -> None:
    with pytest.raises(DatasetInvalid, match=rf"^spec\.calibration\.uri s3://m/set\.npz has the array 'x' .*{words}"):
        read(tmp_path, x=with_header(header))


def test_an_empty_axis_is_read_beside_others(tmp_path: Path) -> None:
    assert read(tmp_path, x=with_header(told("(2, 0, 1000)")))["x"].shape == (2, 0, 1000)


@pytest.mark.parametrize("code", [0xD800, 0xDFFF, 0x110000, 2**32 - 1])
def test_numbers_that_are_no_letters_are_refused(tmp_path: Path, code: int) -> None:
    with pytest.raises(DatasetInvalid, match="has what is no text in the array 'x', in samples 0 to 1; letters that"):
        read(tmp_path, x=with_header(told("(2,)", "'<U1'"), struct.pack("<II", 97, code)))


@pytest.mark.parametrize("code", [0, 0xD7FF, 0xE000, 0x10FFFF])
def test_any_letter_is_read(tmp_path: Path, code: int) -> None:
    found = read(tmp_path, x=with_header(told("(2,)", "'<U2'"), struct.pack("<IIII", 97, 98, code, 97)))
    assert found["x"].tolist() == ["ab", chr(code) + "a"]


def test_a_label_that_no_class_number_holds_is_refused() -> None:
    arrays: dict[str, Any] = {"x": np.zeros((2, 3), np.float32), "labels": np.array([0, 2**64 - 1], np.uint64)}
    with pytest.raises(DatasetInvalid, match=f"has the label {2**64 - 1}; classes counted from 0 were expected"):
        samples_for(arrays, [TensorSpec("x", "FP32", (-1, 3))], field="spec.evaluation", labels=CLASSES)


def test_labels_are_counted_before_they_are_read() -> None:
    arrays: dict[str, Any] = {"x": np.zeros((2, 3), np.float32), "labels": np.array([b"\xff"] * 3)}
    with pytest.raises(DatasetMismatch, match="2 in 'x', 3 in 'labels'"):
        samples_for(arrays, [TensorSpec("x", "FP32", (-1, 3))], field="spec.evaluation", labels=CLASSES)


class Failing(io.BytesIO):
    """A disk that gives the first bytes and no others."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= np.lib.format.MAGIC_LEN:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)


def test_a_disk_that_fails_is_no_fault_of_the_set() -> None:
    with pytest.raises(OSError, match="Input/output error"):
        read_header(Failing(with_header(told())), "x", "spec.calibration")
