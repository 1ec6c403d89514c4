"""`edgesmith plan`: what applying a file would do, and why. It is `decide` with `apply` left out."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.cli.documents import KINDS, read
from edgesmith.cluster.apply import status_manifest
from edgesmith.cluster.client import Client
from edgesmith.cluster.configuration import SettingsError, installed_settings, settings_from
from edgesmith.cluster.errors import Missing
from edgesmith.cluster.gather import Gatherer
from edgesmith.cluster.images import Images
from edgesmith.cluster.kinds import EDGE_MODEL
from edgesmith.cluster.listing import load
from edgesmith.cluster.objects import Objects
from edgesmith.decide import decide, wanted
from edgesmith.decide.plan import Change, Plan
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import Image, Snapshot
from edgesmith_builder.oci import Backoff, Credentials, Registry

CLI_MANAGER = "edgesmith-cli"
"""Named in the dry runs only: nothing is ever written under it."""


async def plan(
    client: Client, path: str, namespace: str, operator_namespace: str, credentials: str | None
) -> list[Any]:
    """Plan every EdgeModel of a file as if the whole file had been applied.

    Args:
        client: The API server; it judges every document in a dry run, so that its own sentences come out.
        path: The file, or `-`.
        namespace: For EdgeModels that name none.
        operator_namespace: Where the operator's settings are.
        credentials: A `.dockerconfigjson` for the registry.

    Returns:
        (snapshot, plan) for each EdgeModel.

    Raises:
        DocumentError: The file is wrong.
        ClusterError: The API server refuses it, or cannot be asked.
        SettingsError: No operator is installed there, or its settings are wrong.
    """
    documents = read(path, namespace)
    settings = await find_settings(client, operator_namespace)
    objects = await load(client, "")
    keys = await _suppose(client, objects, documents)
    login = Credentials.from_file(Path(credentials)) if credentials else None
    async with Registry(settings.plain_http, login, backoff=Backoff(attempts=1)) as registry:
        gatherer = Gatherer(objects, Images(registry, time.monotonic), settings, client)
        found = []
        for key in keys:
            model = objects.models.get(*key)
            if model is not None:
                snapshot = await gatherer.snapshot_of(model)
                found.append((snapshot, decide(snapshot, datetime.now(UTC))))
        return found


async def _suppose(client: Client, objects: Objects, documents: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Take the documents in as they would be, and say which EdgeModels the question is about.

    A file of profiles alone is a question about everybody who uses them.
    """
    keys, profiles = [], set()
    for document in documents:
        kind = KINDS[document["kind"]]
        try:
            judged = await client.apply(document, manager=CLI_MANAGER, dry_run=True)
        except Missing as error:
            if await client.serves(kind):
                raise
            raise Missing(f"The cluster has no {kind.kind} in {kind.api_version}; install the chart first.") from error
        objects.suppose(kind, judged)
        if kind is EDGE_MODEL:
            keys.append((judged["metadata"]["namespace"], judged["metadata"]["name"]))
        else:
            profiles.add(judged["metadata"]["name"])
    users = [(m.metadata.namespace, m.metadata.name) for m in objects.models.all() if _uses(m, profiles)]
    return sorted(set(keys)) or users


async def find_settings(client: Client, operator_namespace: str) -> Settings:
    """The installed operator's settings, with those of our environment over them.

    Raises:
        SettingsError: There are none, or they are wrong.
        ClusterError: They could not be read.
    """
    installed = await installed_settings(client, operator_namespace)
    try:
        return settings_from(installed | os.environ)
    except SettingsError as error:
        if installed:
            raise
        raise SettingsError(
            f"No operator is installed in namespace {operator_namespace!r} (--operator-namespace), "
            f"and the environment does not stand in for it: {error}"
        ) from None


def _uses(model: EdgeModel, names: set[str]) -> bool:
    wanted_names = model.spec.device_profiles.names
    return wanted_names is None or bool(names.intersection(wanted_names))


def as_json(found: list[tuple[Snapshot, Plan]]) -> str:
    """The plans for programs."""
    return json.dumps([_entry(snapshot, made) for snapshot, made in found], indent=2, default=str)


def _entry(snapshot: Snapshot, made: Plan) -> dict[str, Any]:
    metadata = snapshot.model.metadata
    return {
        "namespace": metadata.namespace,
        "name": metadata.name,
        "builds": [
            {
                "profile": start.profile.metadata.name,
                "key": start.build.key,
                "reason": [asdict(change) for change in start.reason],
            }
            for start in made.builds
        ],
        "cached": [{"profile": profile, "image": image} for profile, image in _cached(snapshot)],
        "revisions": [
            {"profile": apply.profile.metadata.name, "revision": apply.revision, "image": apply.image}
            for apply in made.revisions
        ],
        "moves": [asdict(move) for move in made.moves],
        "pending": [asdict(one) for one in made.pending],
        "deletes": [asdict(delete) for delete in made.deletes],
        "status": status_manifest(made.status),
    }


def as_text(found: list[tuple[Snapshot, Plan]]) -> str:
    """The plans for people."""
    return "\n\n".join(_text(snapshot, made) for snapshot, made in found) or "No EdgeModel uses these DeviceProfiles."


def _text(snapshot: Snapshot, made: Plan) -> str:
    metadata = snapshot.model.metadata
    lines = [f"EdgeModel {metadata.namespace}/{metadata.name}"]
    for start in made.builds:
        lines += [f"  build     {start.profile.metadata.name}: {_why(start.reason)} (key {start.build.key})"]
    lines += [f"  built     {profile}: {image}" for profile, image in _cached(snapshot)]
    existing = {revision.revision for revision in snapshot.revisions}
    lines += [
        f"  revision  {apply.revision} of {apply.profile.metadata.name}"
        for apply in made.revisions
        if apply.revision not in existing
    ]
    lines += [f"  move      {move.node} to {move.revision or 'nothing'}: {move.reason}" for move in made.moves]
    lines += [f"  pending   {one.node}: {one.message}" for one in made.pending]
    lines += [f"  delete    {delete.kind} {delete.name}: {delete.reason}" for delete in made.deletes]
    if len(lines) == 1:
        lines.append("  nothing to do")
    nodes = made.status.nodes
    lines.append(f"  nodes     {nodes.desired} are to run it, {nodes.ready} serve, {nodes.not_ready} NotReady")
    lines += [
        f"  then      {condition.type} is {condition.status}, {condition.reason}: {condition.message}"
        for condition in made.status.conditions
    ]
    return "\n".join(lines)


def _why(reason: tuple[Change, ...]) -> str:
    """A build's reason in words."""
    if not reason:
        return "first build"
    return "; ".join(f"{change.field} {_short(change.old)} → {_short(change.new)}" for change in reason)


def _short(value: str | None) -> str:
    """A value in a line: digests by their beginning; `-o json` has them whole."""
    if value is None:
        return "(absent)"
    return re.sub(r"([0-9a-f]{12})[0-9a-f]{52}", r"\1…", value)


def _cached(snapshot: Snapshot) -> list[tuple[str, str]]:
    """(profile, image) of the builds that are there already."""
    builds = wanted(snapshot.model, snapshot.profiles, snapshot.settings)
    return [
        (profile, answer.reference)
        for profile, build in sorted(builds.items())
        if isinstance(answer := snapshot.images.get(build.key), Image)
    ]
