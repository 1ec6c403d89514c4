"""`edgesmith status`."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import node_label
from edgesmith.api.source import Dataset
from edgesmith.api.status import UNSEEN, EdgeModelStatus, VariantStatus
from edgesmith.api.trial_status import candidate_name
from edgesmith.api.units import parse_duration
from edgesmith.cli.answer import Answer
from edgesmith.cli.asking import choose, cluster, left_out, unreadable
from edgesmith.cli.command import command_of
from edgesmith.cli.seen import Seen, look
from edgesmith.cli.table import size, table
from edgesmith.cli.watched import ignored
from edgesmith.cluster.kinds import DAEMON_SET, DEVICE_PROFILE, EDGE_MODEL, NODE, POD
from edgesmith.cluster.listing import load
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.unreadable import Unreadable
from edgesmith.decide.allowance import Allowance, Terms
from edgesmith.decide.devices import devices_of
from edgesmith.decide.digests import looked_at_fields, measured, recorded
from edgesmith.decide.fleet import NodeState, ServerState
from edgesmith.decide.marks import Mark, marks_of
from edgesmith.decide.observe import observe
from edgesmith.decide.placement import placement
from edgesmith.decide.profiles import assign, resolve
from edgesmith.decide.record import parse_record
from edgesmith.decide.snapshot import Pod

KINDS = (DEVICE_PROFILE, NODE, DAEMON_SET, POD)
"""What is read to say everything about an EdgeModel, beside itself."""
NODES_SHOWN = 50
"""How many nodes a person is shown, at most; the others are counted."""


def run(found: argparse.Namespace) -> Answer:
    """Carry out the command.

    Raises:
        ClusterError: The cluster could not be asked, or has no EdgeModel of that name.
    """
    return command_of("watching").run(found) if found.watch else Answer(asyncio.run(_shown(found)))


async def _shown(found: argparse.Namespace) -> str:
    async with cluster(found) as (client, namespace):
        where = "" if found.all_namespaces else namespace
        objects = await load(client, where, [EDGE_MODEL])
        models = choose(objects, found.name, where)
        said = await ignored(client, found.operator_namespace, {model.metadata.namespace for model in models})
        if found.output == "text" and not found.name:
            return "\n\n".join(filter(None, [overview(models, where, unreadable(objects)), said]))
        seen = await look(client, where, KINDS, models=[found.name] if found.name else None)
    if found.output == "json":
        return as_json(seen, models, said)
    return "\n\n".join(filter(None, [*(detail(seen, model) for model in models), said]))


def overview(models: list[EdgeModel], namespace: str, unread: Sequence[Unreadable] = ()) -> str:
    """One line for each EdgeModel, those that cannot be read among them; an empty namespace is all of them."""
    if not models and not unread:
        return f"No EdgeModels found in {f'namespace {namespace!r}' if namespace else 'any namespace'}."
    header = ["NAME", "READY", "REASON", "NODES", "UPDATED", "SERVING", "NOTREADY", "FAILED", "MESSAGE"]
    rows = []
    for model in models:
        status = status_of(model)
        ready = next((condition for condition in status.conditions if condition.type == "Ready"), None)
        nodes = status.nodes
        counts = [str(count) for count in (nodes.desired, nodes.updated, nodes.ready, nodes.not_ready, nodes.failed)]
        words = [ready.status, ready.reason] if ready else ["Unknown", "NotSeenYet"]
        message = ready.message if ready else "The operator has not looked at it yet."
        rows.append([model.metadata.name, *words, *counts, message])
    if not namespace:
        header = ["NAMESPACE", *header]
        rows = [[model.metadata.namespace, *row] for model, row in zip(models, rows, strict=True)]
    for one in unread:
        where = [] if namespace else [one.namespace]
        rows.append([*where, one.name, "Unknown", "Unreadable", *[""] * 5, one.message])
    return table(header, rows)


def detail(seen: Seen, model: EdgeModel) -> str:
    """Everything about one EdgeModel."""
    found = describe(seen, model)
    lines = [f"EdgeModel {model.metadata.namespace}/{model.metadata.name}, generation {model.metadata.generation}"]
    observed = status_of(model).observed_generation or UNSEEN
    if observed != model.metadata.generation:
        about = "none" if observed == UNSEEN else observed
        lines.append(f"The operator has not looked at this generation yet; what follows is about {about}.")
    if model.unread:
        lines.append(f"{left_out(model)}.")
    sections = {
        "CONDITION": (["CONDITION", "STATUS", "REASON", "MESSAGE"], "conditions"),
        "REQUEST": (["REQUEST", "STATE", "MESSAGE"], "requests"),
        "SOURCE": (["SOURCE", "SHA256", "SIZE", "LOOKED AT", "URI"], "sources"),
        "VARIANT": (
            [
                *("VARIANT", "STATE", "PRECISION", "ACCURACY", "+/-", "DROP", "+/-", "AGREEMENT", "+/-"),
                *("SIZE", "P95", "REVISION", "REASON", "MESSAGE"),
            ],
            "variants",
        ),
        "REVISION": (["REVISION", "PROFILE", "NODES", "AGE", "STATE", "IMAGE"], "revisions"),
        "DRIFT": (["DRIFTED NODE", "SINCE", "BY"], "drift"),
        "NODE": (["NODE", "PROFILE", "REVISION", "STATE", "P95", "MESSAGE"], "nodes"),
    }
    for header, name in sections.values():
        rows = [list(row.values()) for row in (_first(found[name]) if name == "nodes" else found[name])]
        if rows:
            lines += ["", table(header, rows)]
    if len(found["nodes"]) > NODES_SHOWN:
        counted = Counter(row["state"] for row in found["nodes"])
        words = ", ".join(f"{count:,} {state}" for state, count in sorted(counted.items()))
        lines += ["", f"{len(found['nodes']):,} nodes in all: {words}. With -o json every one is listed."]
    if seen.nodes_refused:
        lines += ["", f"Nodes are not shown: {seen.nodes_refused}"]
    return "\n".join(lines)


def _first(nodes: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The nodes that a person is shown: of a large fleet, those first that do not serve."""
    if len(nodes) <= NODES_SHOWN:
        return list(nodes)
    return sorted(nodes, key=lambda row: row["state"] == ServerState.SERVING.value)[:NODES_SHOWN]


def describe(seen: Seen, model: EdgeModel) -> dict[str, Any]:
    """Everything about one EdgeModel, as rows of words in the order of the columns; no nodes where none were listed."""
    return {
        "namespace": model.metadata.namespace,
        "name": model.metadata.name,
        "unread": list(model.unread),
        "conditions": [
            {"type": c.type, "status": c.status, "reason": c.reason, "message": c.message}
            for c in status_of(model).conditions
        ],
        "requests": [
            {"request": one.request, "state": one.state, "message": one.message} for one in status_of(model).requests
        ],
        "sources": _sources(model),
        "variants": _variants(model),
        "revisions": _revisions(seen, model),
        "drift": _drift(model),
        "nodes": [] if seen.nodes_refused else _nodes(seen.objects, model),
    }


def as_json(seen: Seen, models: list[EdgeModel], ignored_namespaces: str | None = None) -> str:
    """The same for programs; `nodesRefused` and `namespacesIgnored` are there where there is something to say."""
    more = {"nodesRefused": seen.nodes_refused, "namespacesIgnored": ignored_namespaces}
    told = {name: sentence for name, sentence in more.items() if sentence}
    return json.dumps([describe(seen, model) | told for model in models], indent=2)


def _sources(model: EdgeModel) -> list[dict[str, str]]:
    """The files that a look is about, for their digest or their size, and those whose size the spec gives."""
    known, looked_at, rows = recorded(model) | measured(model), looked_at_fields(model), []
    for field, file in model.spec.files.items():
        entry, given = known.get(field), None if isinstance(file, Dataset) else file.bytes
        if field not in looked_at and entry is None and given is None:
            continue
        rows.append(
            {
                "field": field,
                "sha256": entry.sha256 if entry else file.sha256 or "",
                "size": size(entry.bytes if entry else given),
                "resolvedAt": entry.resolved_at if entry else "",
                "uri": file.uri,
            }
        )
    return rows


def _variants(model: EdgeModel) -> list[dict[str, str]]:
    return [
        {
            "profile": variant.profile,
            "state": variant.state,
            "precision": candidate_name(variant.alternative, variant.precision) if variant.precision else "",
            "accuracy": variant.accuracy or "",
            "accuracyError": variant.accuracy_error or "",
            "accuracyDrop": variant.accuracy_drop or "",
            "accuracyDropError": variant.accuracy_drop_error or "",
            "agreement": variant.agreement or "",
            "agreementError": variant.agreement_error or "",
            "size": size(variant.size),
            "latency": variant.latency or "",
            "revision": variant.revision or "",
            "reason": variant.reason or "",
            "message": " ".join(_sentences(variant)),
        }
        for variant in status_of(model).variants
    ]


def _drift(model: EdgeModel) -> list[dict[str, str]]:
    """The nodes that drift, as far as the status names them."""
    drift = status_of(model).drift
    return [
        {"node": one.name, "since": one.since, "features": ", ".join(one.features)}
        for one in (drift.nodes if drift else ())
    ]


def _sentences(variant: VariantStatus) -> Iterator[str]:
    """What there is to say of a variant: where it stands, whose layers it has, what is not as good as it looks."""
    yield variant.message
    if variant.transfer and (variant.transfer.each or variant.transfer.total):
        whole = f"; {size(variant.transfer.total)} in all" if variant.transfer.total is not None else ""
        yield f"A node that is given it pulls {size(variant.transfer.each)} at the most{whole}."
    if variant.rebased_from:
        yield f"It was not compiled: its layers are those of {variant.rebased_from}, over another base image."
    for words in (*variant.warnings, *variant.device_warnings):
        yield f"Warning: {words}."
    for one in variant.recompiled:
        yield one.sentence


def _revisions(seen: Seen, model: EdgeModel) -> list[dict[str, str]]:
    key = node_label(model.metadata.namespace, model.metadata.name)
    labels = [node.labels.get(key) for node in seen.objects.nodes.all()]
    now = datetime.now(UTC)
    marks = marks_of(model.status)
    owned = [entry.noun for _, entry in seen.objects.revisions.of_model(model.metadata.namespace, model.metadata.name)]
    return [
        {
            "revision": revision.revision,
            "profile": revision.profile,
            "nodes": "" if seen.nodes_refused else str(labels.count(revision.revision)),
            "age": _age((now - revision.created).total_seconds()),
            "state": _revision_word(marks.get(revision.revision)),
            "image": revision.image,
        }
        for revision in sorted(owned, key=lambda revision: (revision.profile, revision.created))
    ]


def _nodes(objects: Objects, model: EdgeModel) -> list[dict[str, str]]:
    """Every node that runs the model, is to run it, or is pending."""
    metadata = model.metadata
    nodes = objects.nodes.all()
    profiles = resolve(model, objects.profiles.all()).profiles
    assigned = assign(model, profiles, nodes)
    tolerations = {one.metadata.name: one.spec.runtime.tolerations for one in profiles}
    devices = {one.metadata.name: devices_of(one, model) for one in profiles}
    revisions = {e.noun.revision: e.noun for _, e in objects.revisions.of_model(metadata.namespace, metadata.name)}
    pods: dict[str, list[Pod]] = {}
    for _, entry in objects.pods.of_model(metadata.namespace, metadata.name):
        pods.setdefault(entry.noun.node, []).append(entry.noun)
    pending = {one.name: one.message for one in status_of(model).pending}
    allowed = Allowance(parse_duration(model.spec.rollout.progress_deadline), unfinished=False)
    key, now, rows = node_label(metadata.namespace, metadata.name), datetime.now(UTC), []
    for node in nodes:
        placed, profile = placement(node, key), assigned.profile_of.get(node.name)
        label = placed.label
        if not (label or profile or node.name in pending):
            continue
        here = pods.get(node.name, [])
        terms = Terms(
            label,
            label in revisions,
            allowed,
            now,
            tolerations.get(profile or "", ()),
            devices=devices.get(profile or ""),
        )
        state = observe(node, terms, here, parse_record(node.records.get(key), now), placed).state
        tests = [pod.selftest for pod in here if pod.revision == label and pod.selftest]
        p95 = next((test.p95_ms for test in tests if test.p95_ms is not None), None)
        anew = next((f"It compiles the model anew, since {test.recompiled}." for test in tests if test.recompiled), "")
        rows.append(
            {
                "node": node.name,
                "profile": profile or (revisions[label].profile if label in revisions else ""),
                "revision": label or "",
                "state": _word(state),
                "latency": f"{p95:.1f} ms" if p95 is not None else "",
                "message": pending.get(node.name) or state.note or anew,
            }
        )
    return rows


def _word(state: NodeState) -> str:
    if not state.ready:
        return "NotReady"
    if state.taint:
        return "Tainted"
    if state.shortage:
        return "DeviceMissing"
    return "Idle" if state.server is ServerState.NONE else state.server.value


def _revision_word(mark: Mark | None) -> str:
    if mark is None:
        return "New"
    return "RolledBack" if mark.state.rolled_back else "Proven" if mark.state.proven else "New"


def status_of(model: EdgeModel) -> EdgeModelStatus:
    """What the operator said of it last."""
    return EdgeModelStatus.model_validate(model.status)


def _age(seconds: float) -> str:
    for length, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= length:
            return f"{int(seconds // length)}{letter}"
    return f"{max(int(seconds), 0)}s"
