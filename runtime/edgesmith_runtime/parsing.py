"""The reader of command lines: why one is refused becomes the termination message, too."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from edgesmith_runtime.uncaught import ArgumentsRefused

__all__ = ["Parser"]


class Parser(argparse.ArgumentParser):
    """As argparse's, and those of its subcommands are of this kind."""

    def error(self, message: str) -> NoReturn:
        """Say how it is used and why not so, and end with 2."""
        self.print_usage(sys.stderr)
        sys.stderr.write(f"{self.prog}: error: {message}\n")
        raise ArgumentsRefused(message)
