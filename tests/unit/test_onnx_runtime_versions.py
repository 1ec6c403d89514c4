"""What each ONNX Runtime reads, and which one a base image says it has."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import onnx
import pytest

from edgesmith_builder.contract import READS, TOOLS, TRITON, Reads, reads, release_of
from edgesmith_builder.pack import PACKAGES_LABEL, VERSION_LABEL
from edgesmith_builder.pack.engine import onnx_runtime_of

ONNX_AT = {
    (1, 16): "1.14.1",
    (1, 17): "1.15.0",
    (1, 19): "1.16.0",
    (1, 21): "1.17.0",
    (1, 23): "1.18.0",
    (1, 24): "1.20.0",
    (1, 25): "1.21.0",
    (1, 32): "1.23.0",
}
"""The release of ONNX whose numbers a release of ONNX Runtime reads."""


@pytest.mark.parametrize("release", ONNX_AT)
def test_a_release_reads_what_a_release_of_onnx_has(release: tuple[int, int]) -> None:
    said: dict[str, tuple[int, ...]] = {row[0]: tuple(row[1:4]) for row in onnx.helper.VERSION_TABLE}
    ir_version, opset, ml_opset = said[ONNX_AT[release]]
    assert READS[release] == Reads(opset, ml_opset, ir_version)


def test_a_newer_release_reads_no_less() -> None:
    assert [one[1] for one in READS] == list(range(16, 33)), "each release has its row"
    for before, after in pairwise(READS.values()):
        assert before.opset <= after.opset
        assert before.ml_opset <= after.ml_opset
        assert before.ir_version <= after.ir_version


def test_the_builder_s_own_release_has_a_row() -> None:
    assert TOOLS.onnxruntime is not None
    assert release_of(TOOLS.onnxruntime) == max(READS), "add a row for the new release"


def test_every_release_of_triton_has_a_version_that_is_known() -> None:
    assert all(reads(version) for version in TRITON.values())
    assert list(TRITON) == sorted(TRITON)


@pytest.mark.parametrize(
    ("version", "opset"), [("1.19.2", 21), ("1.19", 21), ("1.23.0+1d1712fdaf", 23), ("1.99.0", 28), ("1.15.1", None)]
)
def test_what_a_version_reads(version: str, opset: int | None) -> None:
    found = reads(version)
    assert (found.opset if found else None) == opset


@pytest.mark.parametrize("text", ["1", "one.two", "1.19.2.3", "1.19rc1", ""])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a version of ONNX Runtime; two or three numbers were expected"):
        release_of(text)


TRITON_24_09 = ["PATH=/usr/bin", "TRITON_SERVER_VERSION=2.50.0", "NVIDIA_TRITON_SERVER_VERSION=24.09"]


@pytest.mark.parametrize(
    ("labels", "env", "version"),
    [
        ({}, [], None),
        (None, None, None),
        ({PACKAGES_LABEL: "numpy==2.4.6 onnxruntime==1.31.0 protobuf==6.1"}, [], "1.31.0"),
        ({PACKAGES_LABEL: "onnxruntime-gpu==1.23.2"}, [], "1.23.2"),
        ({PACKAGES_LABEL: "onnxruntime-qnn==2.7.0 my-onnxruntime==1.19.0"}, [], None),
        ({}, TRITON_24_09, "1.19.2"),
        ({PACKAGES_LABEL: "numpy==2.4.6"}, TRITON_24_09, "1.19.2"),
        ({VERSION_LABEL: "1.22.0"}, TRITON_24_09, "1.22.0"),
        ({VERSION_LABEL: "latest"}, TRITON_24_09, "1.19.2"),
        ({}, ["NVIDIA_TRITON_SERVER_VERSION=22.01"], None),
    ],
)
def test_which_onnx_runtime_is_in_a_base_image(labels: Any, env: Any, version: str | None) -> None:
    assert onnx_runtime_of({"config": {"Labels": labels, "Env": env}}) == version


def test_an_image_without_a_config_says_nothing() -> None:
    assert onnx_runtime_of({}) is None
