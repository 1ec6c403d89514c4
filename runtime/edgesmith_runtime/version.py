"""The project's version, as the server tells it; held against ``pyproject.toml`` by a test."""

from typing import Final

__all__ = ["VERSION", "WRITTEN"]

VERSION: Final = "0.1.0"
WRITTEN: Final = 1_795_996_800.0
"""30 November 2026, in seconds since 1970: no clock that shows less is right. It is raised with each version."""
