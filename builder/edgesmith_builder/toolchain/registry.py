"""Finds a toolchain by the name that a build has for it, and imports what it needs only then."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from edgesmith_builder.contract import ToolchainName
from edgesmith_builder.errors import RequestInvalid
from edgesmith_builder.toolchain.interface import Toolchain


def toolchain_of(name: ToolchainName) -> Toolchain:
    """The toolchain of a name: the module of this folder that is called so in small letters.

    Raises:
        RequestInvalid: where this builder has none of it.
    """
    try:
        return cast("Toolchain", import_module(f"edgesmith_builder.toolchain.{name.lower()}"))
    except ImportError as error:
        raise RequestInvalid(
            f"build.toolchain.name is {name}, of which this builder lacks the package {error.name}; "
            "a builder that has it was expected"
        ) from error
