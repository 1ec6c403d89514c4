"""What published models are built and served with; the makers of bucket, registry and server stand with their tiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from pulled import pulled

from edgesmith_builder.contract import REPORT_ANNOTATION, Artifact, BuildReport, Gates
from tests.builder.conftest import World, npz, registry, store, supplies, world
from tests.runtime.conftest import start_server

__all__ = ["Workshop", "registry", "start_server", "store", "supplies", "workshop", "world"]

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Workshop:
    """Builds by the real recipe, from a file to what a node pulls."""

    world: World
    folder: Path

    async def make(
        self, model: Path, calibration: Arrays, evaluation: Arrays | None = None, **changes: Any
    ) -> tuple[BuildReport, Path]:
        """The report of a build and the bundle of its first finalist; `changes` are fields of the build."""
        number = next(self.world.numbers)
        sets = {"calibration": calibration, "evaluation": evaluation}
        fields: dict[str, Any] = {
            kind: Artifact(uri=self.world.store.put(f"{model.stem}/{number}/{kind}", npz(**arrays))) if arrays else None
            for kind, arrays in sets.items()
        }
        fields["source"] = Artifact(uri=self.world.store.put(f"{model.stem}/{number}/model.onnx", model.read_bytes()))  # noqa: ASYNC240 - nothing else runs
        built = await self.world.build(
            self.world.request(**{"model": "published", "gates": Gates(), **fields, **changes})
        )
        report = BuildReport.model_validate_json((await self.world.manifest(built)).annotations[REPORT_ANNOTATION])
        return report, await pulled(built.image, self.folder / f"image-{number}")


@pytest.fixture
def workshop(world: World, tmp_path: Path) -> Workshop:
    """One for a test."""
    return Workshop(world, tmp_path)
