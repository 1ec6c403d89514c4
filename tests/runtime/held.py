"""A server whose runs stand still for as long as a test wants, so that what is to happen during a run does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HELD = """
import os, sys, time
from edgesmith_runtime.engine import pair
hold, infer = sys.argv.pop(), pair.PairedEngine.infer
def held(self, inputs, outputs=None, *, busy=False):
    while os.path.exists(hold):
        time.sleep(0.01)
    return infer(self, inputs, outputs, busy=busy)
pair.PairedEngine.infer = held
from edgesmith_runtime.cli import main
sys.exit(main())
"""
"""The server's program. Its last argument is the file of a `Hold`."""


class Hold:
    """Holds the runs of a server.

    Args:
        folder: Where to have a file of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "hold"

    @property
    def option(self) -> str:
        """The last argument of `HELD`."""
        return str(self._file)

    def begin(self) -> None:
        """Let no run begin from now on."""
        self._file.touch()

    def end(self) -> None:
        """Let them all go."""
        self._file.unlink()
