"""A build that was killed leaves its container mounted; the next one takes it away."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import left_out

from edgesmith_cluster.cleanup import parse_mounts
from edgesmith_images.buildah import Buildah


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Buildah]:
    if os.geteuid() != 0 or shutil.which("buildah") is None:
        left_out("buildah mounts containers as root only, and is not installed or this is not root")
    opened = Buildah.open(tmp_path / "store")
    yield opened
    opened._start("rm", "--all")


def mounts(store: Buildah) -> list[Path]:
    return parse_mounts(Path("/proc/self/mountinfo").read_text(), store.folder)


def test_what_a_killed_build_left_is_unmounted_by_the_next(store: Buildah) -> None:
    container = store._start("from", "scratch").stdout.strip()
    place = Path(store._start("mount", container).stdout.strip())
    (place / "file").write_text("of a layer that was not finished")
    assert store.driver == "vfs" or place in mounts(store)

    again = Buildah.open(store.folder)

    assert mounts(again) == []
    assert again._start("containers", "--quiet").stdout == ""
    assert not place.exists()
