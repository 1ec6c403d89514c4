"""`edgesmith pause`, `resume`, `promote` and `rollback`: edits of `spec.rollout`, as commits in git would make them."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import yaml

from edgesmith.api import go_yaml
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.history import RequestState
from edgesmith.api.revision_status import RevisionStatus
from edgesmith.api.rollout import RollbackTo
from edgesmith.api.status import EdgeModelStatus, VariantStatus
from edgesmith.cli.answer import Answer
from edgesmith.cli.asking import cluster, named, unobserved
from edgesmith.cluster.client import Client
from edgesmith.cluster.errors import Missing
from edgesmith.cluster.kinds import DAEMON_SET, EDGE_MODEL
from edgesmith.cluster.listing import load
from edgesmith.decide.requests import Named
from edgesmith.decide.requests import named as called

MANAGER = "edgesmith-cli"
"""The field manager of these edits."""
_MOST = 16
"""Entries that a list of `spec.rollout` can have."""


def run(found: argparse.Namespace) -> Answer:
    """Make one of the edits, and say what git has to say of it.

    Raises:
        ValueError: There is nothing to promote or to go back to, or no room for an entry more.
        ClusterError: The API server refused the edit, or somebody else made one meanwhile.
    """
    return Answer(asyncio.run(_steered(found)))


async def _steered(found: argparse.Namespace) -> str:
    async with cluster(found) as (client, namespace):
        return await _steer(client, await named(client, found.name, namespace), found)


async def _steer(client: Client, model: EdgeModel, found: argparse.Namespace) -> str:
    rollout = edit_of(await _there(client, model, found), model, found)
    if not found.dry_run:
        await _write(client, model, rollout)
    if found.output == "json":
        return json.dumps({"spec": {"rollout": rollout}}, indent=2)
    name = f"EdgeModel {model.metadata.namespace}/{model.metadata.name}"
    done = "would be edited" if found.dry_run else "was edited"
    text = yaml.dump({"spec": {"rollout": rollout}}, Dumper=go_yaml.Dumper, sort_keys=False).rstrip()
    return f"# {name} {done}; where it comes from git, commit the same there:\n{text}"


async def _there(client: Client, model: EdgeModel, found: argparse.Namespace) -> tuple[Named, ...]:
    """The revisions that have a DaemonSet; only a rollback asks for them."""
    if found.command != "rollback":
        return ()
    objects = await load(client, model.metadata.namespace, [DAEMON_SET], models=[model.metadata.name])
    return tuple(called(one) for one in objects.revisions.all())


def edit_of(there: Collection[Named], model: EdgeModel, found: argparse.Namespace) -> dict[str, Any]:
    """The fields of `spec.rollout` that a command changes.

    Args:
        there: The revisions that have a DaemonSet.
        model: The EdgeModel.
        found: The command, with what it was given.

    Raises:
        ValueError: There is nothing to promote or to go back to, no room for an entry more, an entry to replace is
            about several revisions, or the status is that of another generation.
    """
    if found.command in {"pause", "resume"}:
        return {"paused": found.command == "pause"}
    if stale := unobserved(model):
        raise ValueError(stale)
    if found.command == "promote":
        return {"promote": _promoted(model, found.profile, every=found.all_steps)}
    return {"rollbackTo": _back(there, model, found.profile, found.to)}


def _promoted(model: EdgeModel, profile: str | None, *, every: bool) -> list[dict[str, Any]]:
    """`promote` with every revision that is in its steps now; entries that say nothing any more are left out."""
    status = EdgeModelStatus.model_validate(model.status)
    marks = {one.name: one for one in status.revisions}
    names: dict[str, dict[str, Any]] = {}
    for variant in _variants(status, profile):
        mark = marks.get(variant.revision or "")
        if mark and not mark.proven_time and not mark.rolled_back:
            names[mark.name] = {"revision": mark.name} | ({} if every else {"steps": mark.steps + 1})
    if not names:
        raise ValueError(f"no revision of EdgeModel {model.metadata.name} is in its steps, so none can be promoted")
    before = {
        f"promote[{entry.revision}]": entry.model_dump(by_alias=True, exclude_none=True)
        for entry in model.spec.rollout.promote
        if entry.revision not in names
    }
    return [*_kept(status, before, "promote", len(names)), *names.values()]


def _back(there: Collection[Named], model: EdgeModel, profile: str | None, to: str | None) -> list[dict[str, str]]:
    """`rollbackTo` with what each variant's nodes run now, and what they are to go back to.

    Raises:
        ValueError: There is nothing to go back to, no room for an entry more, or an entry is about several revisions.
    """
    status = EdgeModelStatus.model_validate(model.status)
    entries = {entry.from_: entry for entry in model.spec.rollout.rollback_to}
    added: dict[str, str] = {}
    names = {one.revision for one in there}
    for variant in _variants(status, profile):
        runs = variant.revision or ""
        known = next((one for one in there if one.revision == runs), Named(runs, "", ""))
        # Where a rollback is in effect, the spec still asks for what was left: the entry is about that one.
        words = [one.from_ for one in entries.values() if known.is_called(one.revision)]
        # One that names what nodes run and is not met would come before another one about the same.
        words += [one.from_ for one in entries.values() if known.is_called(one.from_)]
        left = words[0] if words else runs
        about = {one.revision for one in there if one.is_called(left)}
        if len(about) > 1:
            raise ValueError(
                f"spec.rollout.rollbackTo[{left}] is about the revisions {', '.join(sorted(about))}; put an entry for "
                "each of them by its name in its place and try again"
            )
        choice = _choice(names - {runs, left} - about, status.revisions, variant, to)
        if choice and runs:
            added[left] = choice
    if not added:
        wanted = f"revision {to}" if to else "revision before this one"
        raise ValueError(
            f"EdgeModel {model.metadata.name} has no {wanted} that has held its steps and has a DaemonSet; "
            "`edgesmith history` has those that were there"
        )
    before = {f"rollbackTo[{entry.from_}]": _entry(entry) for entry in entries.values() if entry.from_ not in added}
    kept = _kept(status, before, "rollbackTo", len(added))
    return [*kept, *({"from": left, "revision": choice} for left, choice in added.items())]


def _choice(there: set[str], marks: Iterable[RevisionStatus], variant: VariantStatus, to: str | None) -> str | None:
    """What a variant goes back to: the revision that was named, or the one that held its steps last before."""
    proven = [
        (mark.proven_time, mark.name)
        for mark in marks
        if mark.profile == variant.profile
        and mark.proven_time
        and not mark.rolled_back
        and mark.name in there
        and to in {None, mark.name}
    ]
    return max(proven)[1] if proven else None


def _variants(status: EdgeModelStatus, profile: str | None) -> list[VariantStatus]:
    """The variants that a command is about.

    Raises:
        ValueError: There is none of the profile.
    """
    found = [one for one in status.variants if profile in {None, one.profile}]
    if profile and not found:
        raise ValueError(f"the EdgeModel has no variant for the DeviceProfile {profile!r}")
    return found


def _kept(
    status: EdgeModelStatus, before: Mapping[str, dict[str, Any]], field: str, added: int
) -> Iterable[dict[str, Any]]:
    """The entries of a list that stay beside new ones; one that is acted on is never left out for the want of room.

    Args:
        status: What became of each.
        before: The entries, by the names of their requests.
        field: The list's name in `spec.rollout`.
        added: How many come.

    Raises:
        ValueError: They are too many together.
    """
    states = {one.request: one.state for one in status.requests}
    kept = {name: entry for name, entry in before.items() if states.get(name) != RequestState.OBSOLETE}
    if len(kept) + added > _MOST:  # a revision that is not found may come yet
        kept = {name: entry for name, entry in kept.items() if states.get(name) != RequestState.NOT_FOUND}
    if len(kept) + added > _MOST:
        raise ValueError(
            f"spec.rollout.{field} would have {len(kept) + added} entries, and {_MOST} are the most; take out some "
            "that are not needed any more (status.requests says what became of each) and try again"
        )
    return kept.values()


def _entry(entry: RollbackTo) -> dict[str, str]:
    return {"from": entry.from_, "revision": entry.revision}


async def _write(client: Client, model: EdgeModel, rollout: dict[str, Any]) -> None:
    """Write the fields, unless the EdgeModel is another one than was looked at."""
    namespace, name = model.metadata.namespace, model.metadata.name
    live = await client.get(EDGE_MODEL, namespace, name)
    if live is None:
        raise Missing(f"There is no EdgeModel {name!r} in namespace {namespace!r} any more.")
    if live["metadata"].get("generation") != model.metadata.generation:
        raise ValueError(f"EdgeModel {name} was changed a moment ago; look at it and try again")
    body = {"metadata": {"resourceVersion": live["metadata"]["resourceVersion"]}, "spec": {"rollout": rollout}}
    await client.edit(EDGE_MODEL, namespace, name, body, manager=MANAGER)
