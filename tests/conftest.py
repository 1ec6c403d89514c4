"""What all tiers share: their order, cheap before dear, so that a mistake shows in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

TIERS = {"api": 1, "cluster": 2}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and run unit before api before cluster."""
    here = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        if folder in TIERS:
            item.add_marker(folder)
    items.sort(key=lambda item: max((TIERS.get(mark.name, 0) for mark in item.iter_markers()), default=0))
