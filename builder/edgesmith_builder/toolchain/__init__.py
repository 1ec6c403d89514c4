"""What makes candidates of a source: one module a toolchain, which knows nothing of the others."""

from edgesmith_builder.toolchain.interface import Compiled, Material, Toolchain
from edgesmith_builder.toolchain.registry import toolchain_of

__all__ = ["Compiled", "Material", "Toolchain", "toolchain_of"]
