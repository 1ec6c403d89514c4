"""The project's version, as the server tells it; held against ``pyproject.toml`` by a test."""

from typing import Final

__all__ = ["VERSION"]

VERSION: Final = "0.1.0"
