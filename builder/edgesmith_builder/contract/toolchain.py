"""How a model is compiled: the toolchain that a build names, and what may be asked of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from edgesmith_builder.contract.onnx_runtime import OLDEST, reads
from edgesmith_builder.contract.toolchains import READ_BY, TOOLCHAINS, Precision, ToolchainName
from edgesmith_builder.contract.wire import Wire


class Toolchain(Wire):
    """What compiles a model for a device."""

    name: ToolchainName = "ONNXRuntime"
    precisions: tuple[Precision, ...] = Field(min_length=1)
    """Best first: the ladder."""
    options: dict[str, str] = Field(default_factory=dict)
    """By name, as the toolchain's row of `TOOLCHAINS` has them; those that are absent have their defaults."""

    compiler_image: str | None = None
    """The image by digest with a compiler that is not part of the builder, for toolchains that take one."""

    @property
    def settings(self) -> dict[str, str]:
        """Every option of the toolchain with its value: the one that is asked for, or its default."""
        return {name: option.default for name, option in TOOLCHAINS[self.name].options.items()} | self.options

    def without_defaults(self) -> Toolchain:
        """The same toolchain without options that ask for their default."""
        defaults = {name: option.default for name, option in TOOLCHAINS[self.name].options.items()}
        told = {name: value for name, value in self.options.items() if value != defaults.get(name)}
        return self.model_copy(update={"options": told})


def wrong_options(name: ToolchainName, options: Mapping[str, str]) -> str | None:
    """What is wrong with options that are asked of a toolchain, as `FIELD is VALUE; EXPECTED`, or None.

    The field is relative to the toolchain: `options.reduceRange`.
    """
    known = TOOLCHAINS[name].options
    for option, value in sorted(options.items()):
        if option not in known:
            expected = f"one of {', '.join(sorted(known))}" if known else "none"
            return f"options has {option!r}; {expected} was expected for {name}"
        if value not in known[option].values:
            return f"options.{option} is {value!r}; {_either(known[option].values)} was expected"
    return None


def wrong_precisions(name: ToolchainName, precisions: Sequence[Precision]) -> str | None:
    """What is wrong with precisions that are asked of a toolchain, as `FIELD is VALUE; EXPECTED`, or None."""
    text, makes = ", ".join(precisions), TOOLCHAINS[name].makes
    if len(set(precisions)) != len(precisions):
        return f"precisions is {text}; each precision once was expected"
    for precision in precisions:
        if precision not in makes:
            return f"precisions has {precision}, which {name} does not make; {_either(makes)} was expected"
    return None


def wrong_engine_version(name: ToolchainName, version: str) -> str | None:
    """What is wrong with the version of ONNX Runtime that somebody says serves a toolchain, as `VALUE; EXPECTED`."""
    engine = TOOLCHAINS[name].engine
    if engine != READ_BY:
        return f"{version}, the version of ONNX Runtime, and {name} is run by {engine}; it was expected to be absent"
    if reads(version) is None:
        first = ".".join(map(str, OLDEST))
        return f"{version}; {first} or newer was expected, since what an older ONNX Runtime reads is not known"
    return None


def _either(values: Sequence[str]) -> str:
    """`a, b or c`."""
    *before, last = values
    return f"{', '.join(before)} or {last}" if before else last
