"""Finds a toolchain by the name that a build has for it, and imports what it needs only then."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from edgesmith_builder.contract import TOOLCHAINS, ToolchainName
from edgesmith_builder.errors import RequestInvalid
from edgesmith_builder.toolchain.interface import Toolchain


def toolchain_of(name: ToolchainName) -> Toolchain:
    """The toolchain of a name: the module of this folder that is called so in small letters.

    Raises:
        RequestInvalid: where this builder has none of it.
    """
    if not TOOLCHAINS[name].available:
        there = ", ".join(name for name, facts in TOOLCHAINS.items() if facts.available)
        raise RequestInvalid(f"build.toolchain.name is {name}; one that this builder has was expected: {there}")
    try:
        return cast("Toolchain", import_module(f"edgesmith_builder.toolchain.{name.lower()}"))
    except ImportError as error:
        raise RequestInvalid(
            f"build.toolchain.name is {name}, of which this builder lacks the package {error.name}; "
            "a builder that has it was expected"
        ) from error
