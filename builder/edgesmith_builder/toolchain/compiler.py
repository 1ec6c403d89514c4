"""Asks a compiler that is not part of the builder, in a container of its own beside it.

The two share a folder and nothing else. The builder writes `source.tflite` and then `ask`, which holds the compiler's
options; the other container answers with `compiled.tflite`, `log` and, last, `status`, the compiler's exit status. Who
starts the container gives it a command that does so (`edgesmith.resources.compiler`).
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from edgesmith_builder.failures import CompileFailed

SOURCE, ASK, COMPILED, LOG, STATUS = "source.tflite", "ask", "compiled.tflite", "log", "status"

PATIENCE = 1800.0
"""Seconds that a compiler may take."""

_GLANCE = 0.2
"""Seconds between two looks for an answer."""

_WORDS = 400
"""Characters of the compiler's own words."""


class Compiler:
    """A compiler in a container beside this one.

    Args:
        folder: The folder that both see.
        patience: Seconds that it may take.
    """

    def __init__(self, folder: Path, patience: float = PATIENCE) -> None:
        self._folder = folder
        self._patience = patience

    def compile(self, source: Path, target: Path, options: str) -> None:
        """Have a file compiled.

        Args:
            source: The file.
            target: Where the compiled one goes.
            options: One line for the compiler's container.

        Raises:
            CompileFailed: where the compiler says no, or nothing.
        """
        for name in (ASK, COMPILED, LOG, STATUS):
            (self._folder / name).unlink(missing_ok=True)
        shutil.copyfile(source, self._folder / SOURCE)
        asked = self._folder / f"{ASK}.new"
        asked.write_text(options + "\n", encoding="ascii")
        asked.rename(self._folder / ASK)
        status = self._await()
        made = self._folder / COMPILED
        if status != "0" or not made.is_file():
            raise CompileFailed(
                f"the compiler of spec.toolchain.compilerImage ended with {status or 'no status'}: {self._words()}"
            )
        shutil.copyfile(made, target)

    def _await(self) -> str:
        status, end = self._folder / STATUS, time.monotonic() + self._patience
        while not status.is_file():
            if time.monotonic() > end:
                raise CompileFailed(
                    f"the compiler of spec.toolchain.compilerImage did not answer within {self._patience:g} s"
                )
            time.sleep(_GLANCE)
        return status.read_text(encoding="ascii", errors="replace").strip()[:20]

    def _words(self) -> str:
        try:
            text = (self._folder / LOG).read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        words = " ".join(text.split())
        return words[-_WORDS:] or "it said nothing"
