"""How a model is compiled: the toolchain that a build names, and what may be asked of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from edgesmith_builder.contract.toolchains import TOOLCHAINS, Precision, ToolchainName
from edgesmith_builder.contract.wire import Wire


class Toolchain(Wire):
    """What compiles a model for a device."""

    name: ToolchainName = "ONNXRuntime"
    precisions: tuple[Precision, ...] = Field(min_length=1)
    """Best first; the first that compiles and passes every gate wins."""
    options: dict[str, str] = Field(default_factory=dict)
    """By name, as the toolchain's row of `TOOLCHAINS` has them; those that are absent have their defaults."""

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


def _either(values: Sequence[str]) -> str:
    """`a, b or c`."""
    *before, last = values
    return f"{', '.join(before)} or {last}" if before else last
