"""What makes candidates of a source: one module a toolchain, which knows nothing of the others."""

from edgesmith_builder.toolchain.compiler import Compiler
from edgesmith_builder.toolchain.interface import Compiled, Material, Toolchain
from edgesmith_builder.toolchain.reading import as_read, is_read
from edgesmith_builder.toolchain.registry import toolchain_of

__all__ = ["Compiled", "Compiler", "Material", "Toolchain", "as_read", "is_read", "toolchain_of"]
