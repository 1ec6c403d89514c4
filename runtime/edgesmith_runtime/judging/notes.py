"""What a server leaves for its next start in the same pod: that it was judged, and what it took the place of.

A server that finds something against itself says so once, and the operator decides. Started anew, where nobody did (the
site has no link, or nothing else is left to run), it serves on unjudged: most of its answers are better than none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Notes"]

_FILE: Final = "edgesmith-judging.json"
_LONGEST: Final = 2048
_LONGEST_NAME: Final = 300


@dataclass(slots=True)
class Notes:
    """The notes of one pod.

    Attributes:
        folder: Where they are; None: nothing is kept.
        over: Whether its requests have been judged.
        before: What the server before it served; empty where none was seen.
    """

    folder: Path | None
    over: bool = False
    before: str = ""

    @classmethod
    def read(cls, folder: Path | None) -> Notes:
        """Read the notes; what cannot be read says nothing."""
        if folder is None:
            return cls(None)
        try:
            with (folder / _FILE).open("rb") as stream:
                found = json.loads(stream.read(_LONGEST))
        except (OSError, ValueError, RecursionError):
            return cls(folder)
        if not isinstance(found, dict):
            return cls(folder)
        before = found.get("before")
        if not isinstance(before, str) or len(before) > _LONGEST_NAME:
            before = ""
        return cls(folder, found.get("over") is True, before)

    def keep(self) -> None:
        """Write them where they can be written; a folder that is full or read-only keeps none."""
        if self.folder is None:
            return
        new = self.folder / f"{_FILE}.new"
        try:
            new.write_text(json.dumps({"over": self.over, "before": self.before}))
            new.replace(self.folder / _FILE)
        except OSError:
            return
