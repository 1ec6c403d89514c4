"""`edgesmith plan`: it is `decide` with `apply` left out."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from edgesmith.api.conditions import ConditionType
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.status import Condition, EdgeModelStatus, NodeCounts, VariantStatus
from edgesmith.cli.answer import Answer
from edgesmith.cli.asking import cluster
from edgesmith.cli.documents import KINDS, placed, read
from edgesmith.cli.login import login_of
from edgesmith.cli.seen import look
from edgesmith.cli.table import size
from edgesmith.cli.watched import check, watched
from edgesmith.cluster.client import Client
from edgesmith.cluster.configuration import SettingsError, installed_settings, settings_from
from edgesmith.cluster.dry_run import as_applied
from edgesmith.cluster.errors import Forbidden, Missing, Unknown, not_served
from edgesmith.cluster.gather import Gatherer
from edgesmith.cluster.images import Images, registry_of
from edgesmith.cluster.kinds import EDGE_MODEL
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.status import status_manifest
from edgesmith.decide import decide, wanted
from edgesmith.decide.plan import Change, Move, Plan, StartBuild
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import Image, Snapshot
from edgesmith_builder.contract import FileToResolve
from edgesmith_builder.oci import Credentials

WITHOUT_NODES = {ConditionType.PROFILES_RESOLVED, ConditionType.SOURCE_RESOLVED, ConditionType.BUILDS_READY}
"""The conditions that do not depend on nodes."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be done for one EdgeModel."""

    snapshot: Snapshot
    plan: Plan
    nodes_refused: str | None
    """Why nodes could not be listed. What the plan says of nodes and of revisions in use is wrong then."""


def run(found: argparse.Namespace) -> Answer:
    """Carry out the command.

    Raises:
        DocumentError: The file is wrong.
        ClusterError: As for `plan`.
        ValueError: As for `plan`, or the credentials are none or cannot be read.
    """
    # Before a cluster is asked: what is wrong with files needs none to be said.
    documents = read(found.file)
    login = login_of(found)
    made = asyncio.run(_planned(found, documents, login))
    return Answer(as_json(made) if found.output == "json" else as_text(made))


async def _planned(
    found: argparse.Namespace, documents: list[dict[str, Any]], login: Credentials | None
) -> list[Planned]:
    async with cluster(found) as (client, namespace):
        return await plan(client, placed(documents, namespace), found.operator_namespace, login)


async def plan(
    client: Client, documents: list[dict[str, Any]], operator_namespace: str, login: Credentials | None
) -> list[Planned]:
    """Plan every EdgeModel of a file as if the whole file had been applied.

    Args:
        client: The API server; it judges every document in a dry run, so that its own sentences come out.
        documents: EdgeModels, each in a namespace, and DeviceProfiles.
        operator_namespace: Where the operator's settings are.
        login: To the registry.

    Returns:
        The plan for each EdgeModel.

    Raises:
        ClusterError: The API server refuses it, or cannot be asked.
        SettingsError: No operator is installed there, or its settings are wrong.
        ValueError: An EdgeModel is in a namespace that the operator does not work in.
    """
    settings = await find_settings(client, operator_namespace)
    among = watched(settings, operator_namespace)
    check(documents, among)
    seen = await look(client, _where(documents), models=named(documents))
    objects = seen.objects
    keys = await _suppose(client, objects, documents)
    async with registry_of(settings, login, attempts=1) as registry:
        gatherer = Gatherer(objects, Images(registry, time.monotonic, settings.signed_by), settings, client)
        found = []
        for key in keys:
            model = objects.models.get(*key)
            if model is not None and (not among or key[0] in among):
                snapshot = await gatherer.snapshot_of(model)
                found.append(Planned(snapshot, decide(snapshot, datetime.now(UTC)), seen.nodes_refused))
        return found


def _where(documents: list[dict[str, Any]]) -> str:
    """The namespace to read: a tenant may read no other; empty for all, where a profile or two namespaces are asked."""
    namespaces = {document["metadata"].get("namespace", "") for document in documents}
    return namespaces.pop() if len(namespaces) == 1 else ""


def named(documents: list[dict[str, Any]]) -> set[str] | None:
    """The EdgeModels whose children are read; None for all, where a file has profiles alone.

    What cannot be a name is refused later, in the API server's words: it would break the selector.
    """
    names = {document["metadata"]["name"] for document in documents if document["kind"] == EDGE_MODEL.kind}
    return {name for name in names if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name)} or None


async def _suppose(client: Client, objects: Objects, documents: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Add the documents as they would be after an apply, and return the EdgeModels to plan.

    A file of profiles alone concerns every EdgeModel that uses them.
    """
    keys, profiles = [], set()
    for document in documents:
        kind = KINDS[document["kind"]]
        try:
            judged = await as_applied(client, kind, document)
        except Missing as error:
            if await client.serves(kind):
                raise
            raise not_served(kind.kind, kind.api_version) from error
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
    missing = f"No operator is installed in namespace {operator_namespace!r} (--operator-namespace)"
    try:
        installed = await installed_settings(client, operator_namespace)
    except Unknown:
        raise  # nothing else can be asked either
    except Forbidden as refused:
        installed, missing = {}, str(refused).rstrip(".")
    try:
        return settings_from(installed | os.environ)
    except SettingsError as error:
        if installed:
            raise
        raise SettingsError(f"{missing}, and the environment does not stand in for it: {error}") from None


def _uses(model: EdgeModel, names: set[str]) -> bool:
    wanted_names = model.spec.device_profiles.names
    return wanted_names is None or bool(names.intersection((*wanted_names, *model.spec.builds.profiles)))


def as_json(found: list[Planned]) -> str:
    """The plans for programs."""
    return json.dumps([_entry(planned) for planned in found], indent=2, default=str)


def _entry(planned: Planned) -> dict[str, Any]:
    snapshot, made = planned.snapshot, planned.plan
    metadata = snapshot.model.metadata
    entry: dict[str, Any] = {
        "namespace": metadata.namespace,
        "name": metadata.name,
        "look": {"why": made.look.why, "files": [_file(file) for file in made.look.files]} if made.look else None,
        "builds": [_start(start) for start in made.builds],
        "buildsAfterLook": [_start(start) for start in made.held],
        "cached": [{"profile": profile, "image": image} for profile, image in _cached(snapshot)],
        "trials": [
            {"profile": trial.profile.metadata.name, "node": trial.node, "images": dict(trial.images)}
            for trial in made.trials
        ],
        "retraining": [
            {"what": one.what, "episode": one.drift.episode.id} for one in made.retraining if one.drift.episode
        ],
        "revisions": [
            {"profile": apply.profile.metadata.name, "revision": apply.revision, "image": apply.image}
            for apply in made.revisions
        ],
        "holds": [
            {"profile": hold.profile.metadata.name, "revision": hold.revision, "image": hold.image}
            for hold in made.holds
        ],
    }
    if planned.nodes_refused:
        conditions = [one.model_dump(mode="json", by_alias=True) for one in _conditions(planned)]
        return entry | {"nodesRefused": planned.nodes_refused, "status": {"conditions": conditions}}
    return entry | {
        "moves": [asdict(move) for move in made.moves],
        "pending": [one._asdict() for one in made.pending],
        "deletes": [asdict(delete) for delete in made.deletes],
        "status": status_manifest(made.status),
    }


def _start(start: StartBuild) -> dict[str, Any]:
    reason = [asdict(change) for change in start.reason]
    return {"profile": start.profile.metadata.name, "key": start.build.key, "reason": reason}


def _file(file: FileToResolve) -> dict[str, str]:
    return {"field": file.field, "uri": file.uri}


def _conditions(planned: Planned) -> list[Condition]:
    """The conditions after the first step; those that depend on nodes are left out where none could be listed."""
    known = planned.plan.status.conditions
    return [one for one in known if one.type in WITHOUT_NODES] if planned.nodes_refused else list(known)


def as_text(found: list[Planned]) -> str:
    """The plans for people."""
    return "\n\n".join(_text(planned) for planned in found) or "No EdgeModel uses these DeviceProfiles."


def _text(planned: Planned) -> str:
    snapshot, made = planned.snapshot, planned.plan
    metadata = snapshot.model.metadata
    lines = [f"EdgeModel {metadata.namespace}/{metadata.name}"]
    if made.look:
        files = ", ".join(f"spec.{file.field} {file.uri}" for file in made.look.files)
        lines.append(f"  look      at {files}: {made.look.why}")
    for start in (*made.builds, *made.held):
        variant = _variant(start.profile.metadata.name, start.alternative)
        after = "" if start in made.builds else ", once it is known how large its model is"
        lines.append(f"  build     {variant}: {_why(start.reason)} (key {start.build.key}){after}")
    lines += [f"  built     {profile}: {image}" for profile, image in _cached(snapshot)]
    lines += [
        f"  refused   {one.name} for {variant.profile}: {one.message}"
        for variant in made.status.variants
        for one in variant.refused
    ]
    lines += [
        f"  try       {' and '.join(trial.images)} for {trial.profile.metadata.name} on {trial.node}"
        for trial in made.trials
    ]
    existing = {revision.revision for revision in snapshot.revisions}
    new = [apply for apply in made.revisions if apply.revision not in existing]
    lines += [f"  revision  {apply.revision} of {apply.profile.metadata.name}" for apply in new]
    lines += [
        f"  retrain   {one.what} for the episode of drift {one.drift.episode.id}"
        for one in made.retraining
        if one.drift.episode
    ]
    held = {one.revision for one in snapshot.holding}
    holds = [hold for hold in made.holds if hold.revision not in held]
    lines += [
        f"  hold      image of revision {hold.revision} on nodes of {hold.profile.metadata.name} that run another one"
        for hold in holds
    ]
    lines += _about_nodes(planned)
    if not (
        made.look
        or made.builds
        or made.held
        or made.trials
        or made.retraining
        or new
        or holds
        or made.moves
        or made.pending
        or made.deletes
        or planned.nodes_refused
    ):
        lines.append("  nothing to do")
    lines += [
        f"  then      {condition.type} is {condition.status}, {condition.reason}: {condition.message}"
        for condition in _conditions(planned)
    ]
    return "\n".join(lines)


def _about_nodes(planned: Planned) -> list[str]:
    """What becomes of the nodes and of what they run; where they could not be listed, what the status knows of them."""
    made = planned.plan
    if planned.nodes_refused:
        return [f"  nodes     moves are not planned: {planned.nodes_refused}{_last_counts(planned.snapshot.model)}"]
    lines = [
        f"  strategy  {variant.profile}: {variant.strategy}, since {_clause(variant.strategy_message)}"
        for variant in made.status.variants
        if variant.strategy_message
    ]
    lines += [
        f"  partition {variant.profile}: {variant.partition.open or 'nodes without the label'} open, "
        f"{variant.partition.following} to follow"
        for variant in made.status.variants
        if variant.partition
    ]
    lines += [
        f"  bytes     {variant.profile}: {_moved(variant, planned.snapshot)}"
        for variant in made.status.variants
        if _moves(variant)
    ]
    lines += [f"  move      {move.node} to {_given(move)}: {move.reason}" for move in made.moves]
    lines += [f"  pending   {one.node}: {one.message}" for one in made.pending]
    lines += [f"  delete    {delete.kind} {delete.name}: {delete.reason}" for delete in made.deletes]
    return [*lines, f"  nodes     {_counts(made.status.nodes)}"]


def _moves(variant: VariantStatus) -> bool:
    """Whether nodes of a variant are still to be given its revision."""
    return variant.revision is not None and variant.state not in {"RolledBack", "NoNodes", "Complete", "Built"}


def _moved(variant: VariantStatus, snapshot: Snapshot) -> str:
    """What a revision still moves, in words."""
    found = variant.transfer
    if found is None and variant.image is None:
        return "not known before it is built"
    if found is None:
        images = {variant.image, *(one.image for one in snapshot.revisions if one.profile == variant.profile)}
        if images <= snapshot.layers.keys() or variant.nodes.updated >= variant.nodes.desired:
            return "nothing, all nodes were given it"
        return "not known, the registry does not show the layers of every image"
    if not found.each and not found.total:
        return "nothing, the nodes have every layer of it"
    nodes = f"{found.nodes} {'node' if found.nodes == 1 else 'nodes'}"
    whole = "not known in all" if found.total is None else f"{size(found.total)} in all"
    return f"{size(found.each)} for each node, {whole} for {nodes}"


def _given(move: Move) -> str:
    """What a node gets, and what it serves until that is ready."""
    meanwhile = f", beside {move.beside} for now" if move.beside else ", pulled first" if move.next else ""
    return f"{move.revision or 'nothing'}{meanwhile}"


def _clause(sentence: str) -> str:
    """A sentence as the end of another one; the names of fields stay as they are."""
    return sentence[0].lower() + sentence[1:] if sentence.startswith(("The ", "Two ")) else sentence


def _last_counts(model: EdgeModel) -> str:
    """The nodes as the operator counted them last."""
    status = EdgeModelStatus.model_validate(model.status)
    return f" When the operator looked last, {_counts(status.nodes)}." if (status.observed_generation or 0) > 0 else ""


def _counts(nodes: NodeCounts) -> str:
    return f"{nodes.desired} are to run it, {nodes.ready} serve, {nodes.not_ready} NotReady"


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


def _variant(profile: str, alternative: str | None) -> str:
    return f"{profile}, {alternative}" if alternative else profile


def _cached(snapshot: Snapshot) -> list[tuple[str, str]]:
    """(profile, image) of the builds that are there already."""
    builds = wanted(snapshot.model, snapshot.profiles, snapshot.settings)
    return [
        (_variant(*names), answer.reference)
        for names, build in builds.items()
        if isinstance(answer := snapshot.images.get(build.key), Image)
    ]
