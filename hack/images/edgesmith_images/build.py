"""Builds images into the cache: a layout for each set of inputs, nothing twice."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import base, debian, layers, tars
from .base import Base
from .buildah import Buildah
from .console import say, step
from .layout import EPOCH, Layout
from .paths import REPOSITORY, Cache
from .recipes import ARCHITECTURES, Recipe, key, own_platform

KEPT = 3
"""Layouts kept of each image, newest first."""

PACKAGES_LABEL = "dev.edgesmith.packages"
"""The label that bills of materials take the packages of an image from."""

RUNTIME_KEYS = ("Cmd", "Entrypoint", "Env", "ExposedPorts", "User", "WorkingDir")
"""What of buildah's config goes into ours; the rest is about buildah."""

OWN = "dev.edgesmith."
"""How labels of ours begin; others are about buildah."""


def _words(created_by: str) -> str:
    """Writes a step without the digest of what it copied, which holds the times of files."""
    plain = created_by.removeprefix("/bin/sh -c #(nop)").strip()
    return re.sub(r"^(COPY|ADD) \S+:[0-9a-f]{64} in ", r"\1 ", plain)


def packages_of(requirements: str) -> str:
    """Lists what a lock file installs, for the label.

    Args:
        requirements: The lock file's text.

    Returns:
        ``NAME==VERSION`` with blanks between, sorted.
    """
    return " ".join(sorted(re.findall(r"^([A-Za-z0-9._-]+==[^\s;\\]+)", requirements, re.MULTILINE)))


def config_of(found: dict[str, Any], architecture: str, packages: str = "") -> dict[str, Any]:
    """Writes an image's config without what differs between builds.

    Args:
        found: buildah's config.
        architecture: Of the image.
        packages: The Python packages in it, for whoever writes down what is in an image over it.

    Returns:
        ``architecture``, ``config`` and ``history``; the layout adds the rest.
    """
    kept = {name: value for name, value in found["config"].items() if name in RUNTIME_KEYS}
    labels = {key: value for key, value in (found["config"].get("Labels") or {}).items() if key.startswith(OWN)}
    if packages:
        labels[PACKAGES_LABEL] = packages
    if labels:
        kept["Labels"] = labels
    history = [
        {
            "created": EPOCH,
            "created_by": _words(entry.get("created_by", "")),
            **({"empty_layer": True} if entry.get("empty_layer") else {}),
        }
        for entry in found.get("history", [])
    ]
    return {"architecture": architecture, "config": kept, "history": history}


def _layer(cache: Cache, source: Path, base_diff_id: str, diff_id: str, scratch: Path) -> tars.Layer:
    """Brings one of buildah's layers into canonical form, compressed."""
    known = (
        layers.find(cache.layers, diff_id) if diff_id == base_diff_id else layers.find_rewritten(cache.layers, diff_id)
    )
    if known is not None:
        return known
    plain = scratch / "layer.tar"
    layer = layers.keep(cache.layers, plain, tars.repack(source, plain))
    plain.unlink()
    layers.note_rewritten(cache.layers, diff_id, layer.diff_id)
    return layer


def _platform(
    recipe: Recipe, context: Path, build_base: Base, run_base: Base, *, target: Layout, cache: Cache, tool: Buildah
) -> dict[str, Any]:
    """Builds one platform of an image into a layout; returns the manifest's descriptor."""
    architecture = run_base.architecture
    log = cache.logs / f"{recipe.name}-{architecture}.log"
    log.unlink(missing_ok=True)
    for one in (build_base, run_base):
        tool.load(one.folder, one.reference, log)
    with (
        step(f"building {recipe.name} for linux/{architecture} (its output: {log})"),
        tempfile.TemporaryDirectory(dir=cache.scratch) as name,
    ):
        scratch = Path(name)
        arguments = {"BUILD_BASE": build_base.reference, "BASE": run_base.reference, "TARGETARCH": architecture}
        if recipe.stand_in:
            middle = scratch / f"edgesmith-{recipe.name}-base"
            arguments["BASE"] = tool.build(context, recipe.stand_in, arguments=arguments, target=middle, log=log)
        if recipe.engine:
            arguments["ENGINE"] = recipe.engine
        if recipe.flavour:
            arguments["FLAVOUR"] = recipe.flavour
        raw_folder = scratch / f"edgesmith-{recipe.name}"
        tool.build(context, recipe.dockerfile, arguments=arguments, target=raw_folder, log=log)
        raw = Layout(raw_folder)
        manifest = raw.read(raw.root()["digest"])
        config = raw.read(manifest["config"]["digest"])
        pairs = zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True)
        made = [
            _layer(cache, raw.blob(entry["digest"]), run_base.diff_id, diff_id, scratch) for entry, diff_id in pairs
        ]
        packages = packages_of((context / recipe.requirements).read_text())
        return target.add_image(config_of(config, architecture, packages), made)


def ensure(recipe: Recipe, platforms: tuple[str, ...], cache: Cache, *, refresh: bool = False) -> Layout:
    """Finds an image in the cache or builds it.

    Args:
        recipe: Which image.
        platforms: For which platforms.
        cache: Where it is kept; the caller holds its lock.
        refresh: Whether to ask Debian again for the bases.

    Returns:
        A layout whose root is an index over the platforms.

    Raises:
        ImageError: Something is missing or a tool failed.
    """
    with tempfile.TemporaryDirectory(dir=cache.scratch) as name:
        context = Path(name) / "context"
        context.mkdir()
        sources = recipe.snapshot(context, REPOSITORY)
        build_base = base.ensure(base.BUILD, ARCHITECTURES[own_platform()], cache, refresh=refresh)
        bases = {
            one: base.ensure(recipe.base, ARCHITECTURES[one], cache, refresh=refresh, tools=build_base)
            for one in platforms
        }
        digests = [build_base.digest, *(one.digest for one in bases.values())]
        folder = cache.root / f"{recipe.name}-{key(sources, digests, platforms)}"
        if (folder / "index.json").exists():
            os.utime(folder)
            say(f"{recipe.name} is up to date ({folder.name})")
            return Layout(folder)
        tool = Buildah.open(cache.root / "buildah")
        made = Layout.create(Path(name) / "layout")
        manifests = [
            _platform(recipe, context, build_base, run_base, target=made, cache=cache, tool=tool)
            for run_base in bases.values()
        ]
        index = made.add_index(manifests)
        made.finish(index, "latest")
        shutil.rmtree(folder, ignore_errors=True)
        made.folder.rename(folder)
    forget_old(cache, recipe.name)
    return Layout(folder)


def forget_old(cache: Cache, name: str) -> None:
    """Removes all but an image's newest layouts.

    Args:
        cache: Where they are.
        name: The image's.
    """
    newest = sorted(cache.root.glob(f"{name}-{'[0-9a-f]' * 16}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in newest[KEPT:]:
        shutil.rmtree(folder)
    layers.forget_old(cache.layers)


def ensure_all(
    chosen: Iterable[Recipe], platforms: tuple[str, ...] | None, cache: Cache, *, refresh: bool = False
) -> dict[str, Layout]:
    """Builds what is not there.

    Args:
        chosen: The images.
        platforms: Instead of each image's own, when given.
        cache: Where they are kept; the caller holds its lock.
        refresh: Whether to ask Debian again for the bases.

    Returns:
        Layout by image name.

    Raises:
        ImageError: Something is missing or a tool failed.
    """
    debian.ensure(debian.BUILD)
    layouts = {}
    for recipe in chosen:
        layouts[recipe.name] = ensure(recipe, platforms or recipe.platforms, cache, refresh=refresh)
        refresh = False  # the bases are shared, and asked for once
    Buildah.trim(cache.root / "buildah")
    return layouts
