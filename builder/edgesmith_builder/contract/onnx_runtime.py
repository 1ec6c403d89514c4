"""What each ONNX Runtime reads, and which one is in an image of NVIDIA's Triton. A new release is a row here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

VERSION_PATTERN = r"^[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?$"
"""A version of ONNX Runtime: `1.23` or `1.23.2`."""

_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.\d{1,4})?(?:\+\w+)?")

Release = tuple[int, int]
"""The two numbers of a version that say what it reads: releases that differ in the third read the same."""


@dataclass(frozen=True, slots=True)
class Reads:
    """The newest that a release reads; it reads all that is older."""

    opset: int
    """Of ONNX's own operators (`ai.onnx`)."""
    ml_opset: int
    """Of `ai.onnx.ml`."""
    ir_version: int


READS: Mapping[Release, Reads] = MappingProxyType(
    {
        (1, 16): Reads(19, 3, 9),
        (1, 17): Reads(20, 4, 9),
        (1, 18): Reads(21, 5, 10),
        (1, 19): Reads(21, 5, 10),
        (1, 20): Reads(21, 5, 10),
        (1, 21): Reads(22, 5, 10),
        (1, 22): Reads(22, 5, 10),
        (1, 23): Reads(23, 5, 11),
        (1, 24): Reads(25, 5, 13),
        (1, 25): Reads(26, 5, 13),
        (1, 26): Reads(26, 5, 13),
        (1, 27): Reads(26, 5, 13),
        (1, 28): Reads(26, 5, 13),
        (1, 29): Reads(26, 5, 13),
        (1, 30): Reads(26, 5, 13),
        (1, 31): Reads(26, 5, 13),
        (1, 32): Reads(28, 5, 14),
    }
)
"""By release. Each was installed from PyPI (1.16.3, 1.17.3, 1.18.1, 1.19.2, 1.20.1, 1.21.1, 1.22.1, 1.23.2, 1.24.4,
1.25.1, 1.26.0, 1.27.0 and so on) and asked: the highest of each number with which a model of one Relu loads. Its own
`docs/Versioning.md` says it of older ones."""

MICROSOFT_SINCE: Mapping[str, Release] = MappingProxyType(
    {
        name: release
        for release, names in {
            (1, 17): "DynamicTimeWarping EPContext GemmFloat8 MoE UnfoldTensor WhisperBeamSearch",
            (1, 18): "GemmaRotaryEmbedding QMoE SparseAttention",
            (1, 20): "GatherBlockQuantized",
            (1, 23): "PagedAttention",
            (1, 25): "CausalConvWithState LinearAttention",
            (1, 27): "MatMulNBitsMlp MatMulNBitsQkv",
            (1, 29): "GatedAdd GatedRMSNorm LinearAttentionGate MRotaryEmbedding MatMulBlockQuantizedFp4Weight "
            "MatMulBlockQuantizedFp8Weight",
            (1, 30): "EngramGate GatedDeltaNet NGramHashMapping VarlenCausalConvWithState",
            (1, 31): "BranchwiseRMSNorm DynamicSparseAttention HyperConnectionPostMix HyperConnectionPreMix "
            "PackedSparseAttentionIndexer ScaledSiLU SparseAttentionIndexer SparsePagedAttention "
            "VarlenNGramHashMapping",
            (1, 32): "ConvStateReplay GatedDeltaNetStateReplay GatherPacked HyperConnectionLowRankMix Mamba2Verify "
            "MatMulNBitsQLoRA MatMulPacked MoEGroupRouter MoEPacked PackedSparseAttentionIndexerMerge RMSNormRotary "
            "RouterGateUpProj SpeculativePrefixCommit SwiGLU",
        }.items()
        for name in names.split()
    }
)
"""Operators of `com.microsoft`, whose domain is always version 1, by the release that first has them: the schemas that
the releases above list. Those that are not here are as old as the first of them, or nobody's."""

TRITON: Mapping[str, str] = MappingProxyType(
    {
        "24.04": "1.17.3",
        "24.05": "1.18.0",
        "24.06": "1.18.0",
        "24.07": "1.18.1",
        "24.08": "1.18.1",
        "24.09": "1.19.2",
        "24.10": "1.19.2",
        "24.11": "1.19.2",
        "24.12": "1.20.1",
        "25.01": "1.20.1",
        "25.02": "1.20.1",
        "25.03": "1.21.0",
        "25.04": "1.21.0",
        "25.05": "1.22.0",
        "25.06": "1.22.0",
        "25.07": "1.22.0",
        "25.08": "1.23.0",
        "25.09": "1.23.0",
        "25.10": "1.23.1",
        "25.11": "1.23.2",
        "25.12": "1.23.2",
        "26.01": "1.23.2",
        "26.02": "1.24.1",
        "26.03": "1.24.2",
        "26.04": "1.24.4",
        "26.05": "1.24.4",
        "26.06": "1.24.4",
        "26.07": "1.27.0",
        "26.08": "1.28.0",
    }
)
"""ONNX Runtime by the release of Triton: triton-inference-server/server, `docs/introduction/compatibility.md`."""

OLDEST: Release = min(READS)
"""What older releases read is not known here."""


def release_of(version: str) -> Release:
    """The release that a version is of.

    Args:
        version: `1.23.2` or `1.23`.

    Raises:
        ValueError: It is no version.
    """
    found = _VERSION.fullmatch(version)
    if found is None:
        raise ValueError(f"{version!r} is not a version of ONNX Runtime; two or three numbers were expected: 1.23.2")
    return int(found[1]), int(found[2])


def reads(version: str) -> Reads | None:
    """The newest that a version reads; of a release after the last row what that one does, None before the first.

    Raises:
        ValueError: It is no version.
    """
    release = release_of(version)
    return READS[min(release, max(READS))] if release >= OLDEST else None
