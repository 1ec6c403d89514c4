"""A candidate's file as what serves it reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgesmith_builder.contract import READ_BY, TOOLCHAINS, ToolchainName
from edgesmith_builder.failures import CompileFailed
from edgesmith_builder.format import Reader, TooNew
from edgesmith_builder.toolchain.interface import Compiled


def is_read(name: ToolchainName) -> bool:
    """Whether what a toolchain makes is an ONNX file that ONNX Runtime reads on the device."""
    return TOOLCHAINS[name].engine == READ_BY


def as_read(made: Compiled, reader: Reader | None, folder: Path) -> Compiled:
    """A candidate that what serves it reads.

    Args:
        made: The candidate.
        reader: What reads it on the device; None: what reads it here.
        folder: Where another file may be written.

    Raises:
        CompileFailed: There is no such form of it.
    """
    if reader is None or made.engine != READ_BY:
        return made
    try:
        older = reader.older(made.model_file, folder)
    except TooNew as error:
        raise CompileFailed(f"it {reader.refusal(error)}") from error
    return replace(made, model_file=older.file)
