"""The examples as the tests see them: folders with files, and scripts that are loaded by path."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

# Their makers stand with the tiers that they were made for.
from tests.builder.conftest import registry, store, supplies, world
from tests.runtime.conftest import start_server

__all__ = ["registry", "start_server", "store", "supplies", "world"]

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(params=["digits", "surface-inspection"])
def example(request: pytest.FixtureRequest) -> Path:
    """Folder of each example."""
    return EXAMPLES / str(request.param)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Loads a script by its path under examples/, as if it had been started from there."""

    def load(path: str) -> ModuleType:
        file = EXAMPLES / path
        monkeypatch.syspath_prepend(str(file.parent))
        spec = importlib.util.spec_from_file_location(f"example_{file.parent.name}_{file.stem}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Dataclasses look their module up by name.
        monkeypatch.setitem(sys.modules, spec.name, module)
        monkeypatch.setattr(sys, "path", list(sys.path))
        spec.loader.exec_module(module)
        return module

    return load
