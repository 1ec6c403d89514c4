"""What published models are built and served with; the makers of bucket, registry and server stand with their tiers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cases import Case
from pulled import pulled
from services import start_registry

from edgesmith_builder.cli import chosen
from edgesmith_builder.contract import Artifact, BuildReport, Gates
from edgesmith_builder.gates import Judged, judge
from tests.builder.conftest import Store, World, npz, store_of, supplies_of, world
from tests.runtime.conftest import start_server

__all__ = ["Made", "Workshop", "registry", "start_server", "store", "supplies", "workshop", "world"]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry, which ends with its module."""
    server = start_registry(tmp_path_factory.mktemp("registry"))
    yield server.address
    server.stop()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A MinIO, which ends with its module."""
    yield from store_of(tmp_path_factory.mktemp("minio"))


@pytest.fixture(scope="module")
def supplies(registry: str, store: Store) -> dict[str, str]:
    """What those two hold."""
    return supplies_of(registry, store)


@dataclass(frozen=True)
class Made:
    """What came of a build."""

    report: BuildReport
    judged: Judged
    bundle: Path
    """Of the first finalist that keeps the gates, as a node pulls it."""


@dataclass(frozen=True)
class Workshop:
    """Builds by the real recipe, from a file to what a node pulls."""

    world: World
    folder: Path

    async def make(self, case: Case, gates: Gates | None = None, **changes: Any) -> Made:
        """Build a model and hold it to gates; `changes` are fields of the build."""
        gates, number = gates or Gates(), next(self.world.numbers)
        sets = {"calibration": case.calibration, "evaluation": case.evaluation}
        fields: dict[str, Any] = {"output": case.output} | {
            kind: Artifact(uri=self.world.store.put(f"published/{number}/{kind}", npz(**arrays))) if arrays else None
            for kind, arrays in sets.items()
        }
        source = case.model.read_bytes()
        fields["source"] = Artifact(uri=self.world.store.put(f"published/{number}/model.onnx", source))
        built = await self.world.build(self.world.request(**fields, **changes))
        bundle = await pulled(chosen(built, gates), self.folder / f"image-{number}")
        return Made(built.report, judge(built.report, gates), bundle)


@pytest.fixture
def workshop(world: World, tmp_path: Path) -> Workshop:
    """One for a test."""
    return Workshop(world, tmp_path)
