"""Bounds hold together: what a builder takes fits where it works."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesmith_builder.errors import ModelInvalid, ModelTooLarge
from edgesmith_builder.gather import largest_model
from edgesmith_builder.limits import DATASET, MODEL, WORK, memory_limit, model_limit


def test_thelargest_model_and_two_of_the_largest_sets_fit_into_the_work_folder() -> None:
    source, prepared, bundle, layer = (MODEL,) * 4
    assert source + prepared + bundle + layer + 2 * DATASET + DATASET <= WORK


@pytest.mark.parametrize(
    ("memory", "size"),
    [(None, MODEL), (2 * 2**30, 192 * 2**20), (64 * 2**30, MODEL), (2**20, 0), (4608 * 2**20, 512 * 2**20)],
)
def test_the_memory_of_a_builder_bounds_the_model(memory: int | None, size: int) -> None:
    assert model_limit(memory) == size


def test_what_bounds_the_model_is_said() -> None:
    bounded = largest_model(2 * 2**30)
    assert bounded.error is ModelInvalid
    assert bounded.hint == " of a builder with 2.1 GB of memory (builder.resources of the chart)"
    assert largest_model(None).hint == ""


def test_the_memory_of_the_device_bounds_the_model_where_it_is_less() -> None:
    assert (largest_model(None, 2**28).size, largest_model(None, 2**28).error) == (2**28, ModelTooLarge)
    assert "spec.hardware.memory" in largest_model(None, 2**28).hint
    assert largest_model(2 * 2**30, 2**33) == largest_model(2 * 2**30)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"memory.max": "2147483648\n"}, 2**31),
        ({"memory.max": "max\n"}, None),
        ({"memory/memory.limit_in_bytes": "1073741824\n"}, 2**30),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({}, None),
    ],
)
def test_the_memory_is_what_the_kernel_holds_the_container_to(
    tmp_path: Path, files: dict[str, str], found: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory_limit(tmp_path) == found
