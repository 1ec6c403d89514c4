"""LiteRT: TFLite models as they came; whoever made one has decided on its precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgesmith_builder.contract import Precision
from edgesmith_builder.dataset import Samples
from edgesmith_builder.toolchain.interface import Compiled, Material, no_such_form


def refusal(precision: Precision, material: Material) -> str | None:
    """See `Toolchain.refusal`."""
    source = material.source
    if source.engine == "edgetpu":
        return (
            "the model is compiled for the Edge TPU, which LiteRT alone does not run; the file from before it was "
            "compiled was expected"
        )
    if source.engine != "litert":
        return f"the model is an {source.format} file, of which LiteRT makes nothing; a TFLite file was expected"
    return None if precision == source.precision else no_such_form(precision, source)


def compile(precision: Precision, material: Material, folder: Path) -> Compiled:  # noqa: A001, ARG001 - as the interface has it
    """See `Toolchain.compile`."""
    return Compiled("litert", material.source.path, came=True)


def other_answers(compiled: Compiled, samples: Samples) -> None:
    """There is no other way that is always open."""


def told_here(options: Mapping[str, str]) -> Mapping[str, str]:
    """See `Toolchain.told_here`: the same."""
    return options
