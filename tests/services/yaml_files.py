"""YAML read by libyaml: in Python it takes ten times as long, and tests read megabytes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(file: Path) -> Any:
    """The only document of a file."""
    return yaml.load(file.read_text(), _LOADER)  # noqa: S506 - safe, in C


def documents(text: str) -> list[dict[str, Any]]:
    """The documents of a text that are not empty."""
    return [found for found in yaml.load_all(text, _LOADER) if found]
