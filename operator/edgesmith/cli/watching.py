"""`edgesmith status --watch`: how EdgeModels stand, again whenever that changes.

Only EdgeModels are read: their statuses count all nodes and name a few, so that a fleet of thousands costs its API
server no more than a fleet of three.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import NoReturn

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.cli import status as showing
from edgesmith.cli.answer import Answer
from edgesmith.cli.asking import choose, cluster, unreadable
from edgesmith.cli.table import table
from edgesmith.cluster.client import Client
from edgesmith.cluster.errors import ClusterError
from edgesmith.cluster.kinds import EDGE_MODEL
from edgesmith.cluster.listing import load

INTERVAL = 2.0
"""Seconds between two looks."""

_FIRST_LINE_OF_AN_EMPTY_SCREEN = "\x1b[H\x1b[2J\x1b[3J"
"""ECMA-48: the cursor goes home, the screen and what was scrolled off it are erased."""


def run(found: argparse.Namespace) -> Answer:
    """Carry out `status --watch`, until the process is interrupted.

    Raises:
        ClusterError: The first look failed.
        ValueError: JSON was asked for.
    """
    if found.output == "json":
        raise ValueError("status --watch prints text: leave -o json out, or --watch")
    return asyncio.run(_followed(found))


async def _followed(found: argparse.Namespace) -> NoReturn:
    async with cluster(found) as (client, namespace):
        await follow(client, found.name, namespace, everywhere=found.all_namespaces)


async def follow(
    client: Client,
    name: str | None,
    namespace: str,
    *,
    everywhere: bool = False,
    show: Callable[[str], None] | None = None,
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> NoReturn:
    """Show EdgeModels until the process is interrupted.

    Args:
        client: The API server.
        name: One of them; None: a line for each.
        namespace: Where they are.
        everywhere: In every namespace.
        show: Prints what changed; a page of the terminal where absent.
        wait: Waits some seconds.

    Raises:
        ClusterError: The first look failed. A later one that fails is said, and the next one is made.
    """
    show, before, shown = show or _page, "", ""
    while True:
        try:
            text = await _look(client, name, namespace, everywhere=everywhere)
        except ClusterError as error:
            if not before:
                raise
            text = f"{before}\n\nNot read since then: {' '.join(str(error).split())}"
        else:
            before = text
        if text != shown:
            show(text)
            shown = text
        await wait(INTERVAL)


async def _look(client: Client, name: str | None, namespace: str, *, everywhere: bool) -> str:
    where = "" if everywhere else namespace
    objects = await load(client, where, [EDGE_MODEL])
    models = choose(objects, name, where)
    if name:
        return "\n\n".join(standing(model) for model in models)
    return showing.overview(models, where, unreadable(objects))


def standing(model: EdgeModel) -> str:
    """How one EdgeModel stands by its status: conditions, variants, nodes counted, and those that are not moved."""
    status, metadata = showing.status_of(model), model.metadata
    counts = status.nodes
    told = {
        "updated": counts.updated,
        "serving": counts.ready,
        "NotReady": counts.not_ready,
        "tainted": counts.tainted,
        "without a device": counts.device_missing,
        "without room on the disk": counts.disk_full,
        "failed": counts.failed,
    }
    words = [f"{count:,} {word}" for word, count in told.items() if count or word in {"updated", "serving"}]
    lines = [
        f"EdgeModel {metadata.namespace}/{metadata.name}, generation {metadata.generation}",
        f"{counts.desired:,} nodes: {', '.join(words)}",
    ]
    if status.observed_generation != metadata.generation:
        lines.append("The operator has not looked at this generation yet.")
    sections = [
        (
            ["CONDITION", "STATUS", "REASON", "MESSAGE"],
            [[one.type, one.status, one.reason, one.message] for one in status.conditions],
        ),
        (
            ["VARIANT", "STATE", "REVISION", "NODES", "UPDATED", "SERVING"],
            [
                [
                    one.profile,
                    one.state,
                    one.revision or "",
                    *map(str, (one.nodes.desired, one.nodes.updated, one.nodes.ready)),
                ]
                for one in status.variants
            ],
        ),
        (["NODE", "REASON", "MESSAGE"], [[one.name, one.reason, one.message] for one in status.pending]),
    ]
    for header, rows in sections:
        if rows:
            lines += ["", table(header, rows)]
    return "\n".join(lines)


def _page(text: str) -> None:
    """Print a page in the place of the last one; where output goes into a file, behind it."""
    start = _FIRST_LINE_OF_AN_EMPTY_SCREEN if sys.stdout.isatty() else ""
    print(f"{start}{datetime.now().astimezone():%H:%M:%S}\n{text}\n", flush=True)
