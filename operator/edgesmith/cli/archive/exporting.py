"""`edgesmith archive export`."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.status import EdgeModelStatus, VariantStatus
from edgesmith.archive.artifacts import CHART_PATH, MANIFESTS_PATH, chart_of, manifests_of
from edgesmith.archive.gather import Gathering, Wanted
from edgesmith.archive.opened import Document
from edgesmith.archive.roots import ArchiveError, Root
from edgesmith.archive.write import write
from edgesmith.cli.answer import Answer
from edgesmith.cli.archive.manifests import bare, with_digests
from edgesmith.cli.archive.progress import Progress
from edgesmith.cli.archive.registries import Registries
from edgesmith.cli.asking import cluster, place, unobserved
from edgesmith.cli.login import login_of
from edgesmith.cli.plan import find_settings
from edgesmith.cli.table import size
from edgesmith.cluster.client import Client
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL
from edgesmith.cluster.parse import edge_model
from edgesmith.cluster.unreadable import Unreadable
from edgesmith.decide.settings import Settings
from edgesmith_builder.contract import (
    BASE_DIGEST_ANNOTATION,
    BASE_NAME_ANNOTATION,
    REPORT_ANNOTATION,
    BuildReport,
    base_tag,
)
from edgesmith_builder.oci import Reference, Repository

ATTEMPTS = 5
"""How often in a row a registry is asked that does not answer."""

Raw = dict[str, Any]


def run(found: argparse.Namespace) -> Answer:
    """Write an archive and say what is in it.

    Raises:
        ArchiveError: Something that is asked for is not there, or a build is not made yet.
        ClusterError: The cluster could not be asked.
        RegistryError: A registry could not be asked.
        OSError: The file cannot be written.
    """
    return Answer(asyncio.run(_export(found, Progress())))


async def _export(found: argparse.Namespace, progress: Progress) -> str:
    login = login_of(found)
    async with cluster(found) as (client, namespace):
        settings = await find_settings(client, found.operator_namespace)
        models = await _models(client, "" if found.all_namespaces else namespace, found.name)
        profiles = [bare(one) async for one in client.list(DEVICE_PROFILE)]
    async with Registries(settings, login, attempts=ATTEMPTS) as registry:
        gathering = Gathering(registry)
        for wanted in await images_of(gathering, models, settings, found.image):
            await gathering.add(wanted)
        artifacts(gathering, models, profiles, found.chart)
        contents = gathering.contents
        progress.begin("writing", sum(descriptor.size for descriptor, _ in contents.sources.values()))
        written = await write(contents, registry, found.file, progress=progress.blob)
    say = as_json if found.output == "json" else as_text
    return say(contents.roots, found.file, written)


def as_json(roots: list[Root], file: Path, written: int) -> str:
    """Every image and what hangs on it, for programs."""
    images = [
        {"role": one.role, "repository": one.path, "tag": one.tag, "digest": one.descriptor.digest} for one in roots
    ]
    return json.dumps({"file": str(file), "bytes": written, "images": images}, indent=2)


def as_text(roots: list[Root], file: Path, written: int) -> str:
    """Images, one a line, and how much hangs on them."""
    images = [root for root in roots if root.role != "referrer"]
    lines = [f"{one.role:<10}{one.path}{f':{one.tag}' if one.tag else ''}@{one.descriptor.digest}" for one in images]
    hanging = len(roots) - len(images)
    said = f"{file}: {size(written)}, {len(images)} images and artifacts, {hanging} signatures, bills and statements."
    return "\n".join([*lines, said])


async def _models(client: Client, namespace: str, names: list[str]) -> list[tuple[Raw, EdgeModel]]:
    """The EdgeModels that are asked for, in the order of their names."""
    listed = [raw async for raw in client.list(EDGE_MODEL, namespace=namespace)]
    if missing := sorted(set(names) - {str(raw["metadata"]["name"]) for raw in listed}):
        raise ArchiveError(f"there is no EdgeModel {missing[0]!r} in {place(namespace)}")
    models = []
    for raw in listed:
        if not names or raw["metadata"]["name"] in names:
            model = edge_model(raw)
            if isinstance(model, Unreadable):
                raise ArchiveError(model.message)
            models.append((raw, model))
    if not models:
        raise ArchiveError(f"there is no EdgeModel in {place(namespace)}")
    return sorted(models, key=lambda one: (one[1].metadata.namespace, one[1].metadata.name))


async def images_of(
    gathering: Gathering, models: list[tuple[Raw, EdgeModel]], settings: Settings, more: list[str]
) -> list[Wanted]:
    """Runtimes and the operator; the models' images are taken in at once, since their reports name others."""
    runtimes: set[str] = set()
    for _, model in models:
        for key, image in _builds_of(model).items():
            place = Repository.parse(settings.repository_of(model.metadata.namespace))
            document = await gathering.add(Wanted("model", place.tagged(key), key))
            if document.descriptor.digest != image.partition("@")[2]:
                raise ArchiveError(f"{place}:{key} is {document.descriptor.digest}; {image} was expected by the status")
            report = _report_of(document)
            for digest in (one.digest for one in report.finalists if one.digest):
                await gathering.add(Wanted("model", place.pinned(digest)))
            if report.base is not None:
                await gathering.add(Wanted("model", place.pinned(report.base), base_tag(report.base)))
            runtimes |= _base_of(document, settings)
    operator = [settings.operator_image] if settings.operator_image else []
    return [
        *(Wanted("runtime", Reference.parse(image)) for image in sorted(runtimes)),
        *(_named(image) for image in (*operator, *more)),
    ]


def _named(image: str) -> Wanted:
    reference = Reference.parse(image)
    return Wanted("operator", reference, reference.tag)


def _builds_of(model: EdgeModel) -> dict[str, str]:
    """The image under the tag of each present build, by the build key.

    Raises:
        ArchiveError: A build is not there yet, or the status is that of another generation.
    """
    where = f"EdgeModel {model.metadata.namespace}/{model.metadata.name}"
    variants = EdgeModelStatus.model_validate(model.status).variants if model.status else ()
    if not variants:
        raise ArchiveError(f"{where} has no build yet; wait until BuildsReady is True")
    if stale := unobserved(model):
        raise ArchiveError(stale)
    found: dict[str, str] = {}
    for variant in variants:
        own = _images_of(variant)
        if not own:
            raise ArchiveError(f"{where} has no build for {variant.profile} yet: {variant.message or variant.state}")
        found |= own
    return found


def _images_of(variant: VariantStatus) -> dict[str, str]:
    if variant.builds:
        return {one.build_key: one.image for one in variant.builds if one.image}
    image = variant.built_image or variant.image
    return {variant.build_key: image} if variant.build_key and image else {}


def _report_of(document: Document) -> BuildReport:
    """The report of a build: it names the other candidates that a device may choose, and what looks for room."""
    try:
        return BuildReport.model_validate_json(document.annotations.get(REPORT_ANNOTATION, ""))
    except ValueError:
        raise ArchiveError(f"{document.descriptor.digest} carries no report that can be read") from None


def _base_of(document: Document, settings: Settings) -> set[str]:
    """The runtime image of a build: a site holds what it finds against it."""
    digest = document.annotations.get(BASE_DIGEST_ANNOTATION, "")
    named = document.annotations.get(BASE_NAME_ANNOTATION, "")
    own = {image for image in settings.runtime_images.values() if digest and image.endswith(f"@{digest}")}
    return own or ({f"{named}@{digest}"} if digest and named else set())


def artifacts(
    gathering: Gathering, models: list[tuple[Raw, EdgeModel]], profiles: list[Raw], chart: Path | None
) -> None:
    """Take in the manifests, and the chart where one is given.

    Raises:
        ArchiveError: It is no chart, or an EdgeModel has no digest for a file.
    """
    used = {one["profile"] for _, model in models for one in model.status.get("variants", ())}
    objects = sorted(
        (one for one in profiles if one["metadata"]["name"] in used), key=lambda one: str(one["metadata"]["name"])
    )
    objects += [with_digests(raw, model) for raw, model in models]
    made = manifests_of(objects)
    gathering.add_artifact("manifests", MANIFESTS_PATH, "latest", made.manifest, made.blobs)
    if chart is not None:
        packed = chart_of(chart)
        gathering.add_artifact(
            "chart", f"{CHART_PATH}/{packed.name}", packed.tag, packed.artifact.manifest, packed.artifact.blobs
        )
