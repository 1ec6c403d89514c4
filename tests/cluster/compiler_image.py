"""An image with a compiler that stands in for its vendor's: it gives out a file that was compiled before."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from edgesmith_images import push, tars
from edgesmith_images.base import BUILD
from edgesmith_images.layers import find
from edgesmith_images.layout import Layout
from edgesmith_images.paths import Cache

PROGRAM = """#!/bin/sh
[ "$1 $3 $4 $5" = "--min_runtime_version --out_dir out source.tflite" ] || { echo "asked $*"; exit 9; }
[ "$(sha256sum < source.tflite)" = "$(sha256sum < /known/source.tflite)" ] || { echo 'Invalid model'; exit 1; }
cp /known/compiled.tflite out/source_edgetpu.tflite
"""


def push_compiler(registry: str, source: bytes, compiled: bytes, folder: Path) -> str:
    """Push the image and return it by digest.

    Args:
        registry: Where to.
        source: The one file that it compiles; others are refused.
        compiled: What comes of it.
        folder: An empty one.
    """
    files = {"known/source.tflite": source, "known/compiled.tflite": compiled}
    with tarfile.open(folder / "layer.tar", "w") as tar:
        for name, content in files.items():
            _add(tar, name, content, 0o644)
        _add(tar, "usr/bin/edgetpu_compiler", PROGRAM.encode(), 0o755)
    cache = Cache.of_environment()
    base = Layout(max(cache.bases.glob(f"{BUILD.name}-amd64-*"), key=lambda path: path.stat().st_mtime))
    config = base.read(base.manifests()["linux/amd64"]["config"]["digest"])
    below = find(cache.layers, config["rootfs"]["diff_ids"][0])
    assert below is not None, "the base's layer was expected in the cache"
    layout = Layout.create(folder / "layout")
    image = layout.add_image(config, [below, tars.compress(folder / "layer.tar", folder / "layer.tar.gz")])
    layout.finish(layout.add_index([image]), "latest")
    return push.push_all(registry, {"stand-in-compiler": layout}, "test")["stand-in-compiler"]


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))
