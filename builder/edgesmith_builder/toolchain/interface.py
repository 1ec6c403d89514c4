"""What every toolchain can do: say why a form of a model cannot be made, and make it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edgesmith_builder.contract import EngineName, InFloat, Precision
from edgesmith_builder.dataset import Samples
from edgesmith_builder.format import ModelFacts, Reader
from edgesmith_builder.score.asking import Answer
from edgesmith_builder.toolchain.compiler import Compiler


@dataclass(frozen=True, slots=True)
class Material:
    """What a toolchain makes candidates of."""

    source: ModelFacts
    calibration: Samples | None
    settings: Mapping[str, str]
    """Every option of the toolchain with its value."""
    threads: int
    """Cores to compile with; it does not change what comes out."""
    compiled: ModelFacts | None = None
    """The source compiled already, where somebody did so for this toolchain."""
    compiler: Compiler | None = None
    """What compiles beside the builder, where there is such a one."""
    reader: Reader | None = None
    """What reads the candidates on the device, where that is known to be older than what reads them here."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A candidate: files, and what runs them."""

    engine: EngineName
    model_file: Path
    """The one that the engine opens."""
    others: tuple[Path, ...] = ()
    """Further files that the engine finds beside it."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What the engine is told on the device."""
    came: bool = False
    """Whether what answers here is the source as it came, run by what it was scored with."""
    warnings: tuple[str, ...] = ()
    """What is not as good as it looks, each in one sentence."""
    in_float: tuple[InFloat, ...] = ()
    """Nodes that were left in float because they lose most in int8."""
    int8_share: float | None = None
    """Of the multiplications by weights, in int8, where some were left in float."""
    gentler: Iterator[Compiled] | None = None
    """Forms of the candidate that lose less and are slower, each made when it is asked for; None: it has one form."""
    stand_in: Path | None = None
    """What is scored in its place where this machine cannot compute as the device does; None: the candidate itself."""
    made_from: Path | None = None
    """What correct answers may be as near to as to the candidate's own, where it has a stand-in: the source."""

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.stat().st_size for file in (self.model_file, *self.others))


class Toolchain(Protocol):
    """One way of making candidates."""

    def refusal(self, precision: Precision, material: Material) -> str | None:
        """Why there cannot be such a form of this source, in one sentence; None where it can be tried."""

    def compile(self, precision: Precision, material: Material, folder: Path) -> Compiled:
        """Make it, in an empty folder; called where `refusal` says nothing. The same material gives the same bytes.

        Raises:
            CompileFailed: where the model is the reason.
        """

    def other_answers(self, compiled: Compiled, samples: Samples) -> Sequence[Answer] | None:
        """What the candidate answers when it is computed in another way, to see by how much correct answers differ.

        None where there is no other way.
        """

    def told_here(self, options: Mapping[str, str]) -> Mapping[str, str]:
        """What an engine is told here in place of a bundle's options: the machine that builds may lack the device."""


def no_such_form(precision: Precision, source: ModelFacts) -> str:
    """Why a source cannot be had in another precision than it came in."""
    return (
        f"the model came in {source.precision}, and there is no {precision} form of it; "
        f"the model from before it was made so was expected, or {source.precision} among the precisions"
    )


NO_CALIBRATION = "calibration is absent; int8 needs spec.calibration, a set of samples to measure ranges with"
