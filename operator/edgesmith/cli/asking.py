"""The cluster that a command asks, and the EdgeModels that it is about."""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.status import EdgeModelStatus
from edgesmith.cluster.client import Client
from edgesmith.cluster.connection import connect
from edgesmith.cluster.errors import Invalid, Missing
from edgesmith.cluster.kinds import EDGE_MODEL
from edgesmith.cluster.listing import load
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.unreadable import Unreadable

_TIMEOUT = 15.0
"""Seconds for one call: a person waits."""


@asynccontextmanager
async def cluster(found: argparse.Namespace) -> AsyncIterator[tuple[Client, str]]:
    """The cluster of a command line, and the namespace that it means.

    Raises:
        ClusterError: There is none, or the kubeconfig cannot be read.
    """
    connection = await connect(found.kubeconfig, found.context, outside=True)
    async with Client(connection, timeout=_TIMEOUT) as client:
        yield client, found.namespace or connection.namespace


async def named(client: Client, name: str, namespace: str) -> EdgeModel:
    """One EdgeModel; what of its status cannot be read is said on standard error.

    Raises:
        ClusterError: There is none of that name, it cannot be read, or the cluster cannot be asked.
    """
    (model,) = choose(await load(client, namespace, [EDGE_MODEL]), name, namespace)
    if model.unread:
        print(f"edgesmith: {left_out(model)}", file=sys.stderr)
    return model


async def asked_for(found: argparse.Namespace) -> EdgeModel:
    """The EdgeModel of a command that reads nothing else.

    Raises:
        ClusterError: As for `named`.
    """
    async with cluster(found) as (client, namespace):
        return await named(client, found.name, namespace)


def left_out(model: EdgeModel) -> str:
    """What of an EdgeModel's status could not be read, as a sentence without its end."""
    return (
        f"The status of EdgeModel {model.metadata.name} has what this version cannot read, and it is left out: "
        f"{'; '.join(model.unread)}"
    )


def unobserved(model: EdgeModel) -> str | None:
    """Why a status says nothing of an EdgeModel as it is now, as a sentence without its end; None where it does."""
    observed = EdgeModelStatus.model_validate(model.status).observed_generation
    if observed == model.metadata.generation:
        return None
    return (
        f"EdgeModel {model.metadata.namespace}/{model.metadata.name} has not been looked at by the operator since it "
        f"was edited: status.observedGeneration is {observed} and metadata.generation {model.metadata.generation}; "
        "wait until both are the same and try again"
    )


def choose(objects: Objects, name: str | None, namespace: str) -> list[EdgeModel]:
    """The EdgeModels to show.

    Args:
        objects: What was read.
        name: Its name; None for all.
        namespace: Where they were looked for; empty for every namespace.

    Raises:
        Missing: There is none of that name.
        Invalid: There is one, and this version cannot read it.
    """
    models = [model for model in objects.models.all() if name in (None, model.metadata.name)]
    if name and not models:
        for found in unreadable(objects):
            if found.name == name:
                raise Invalid(found.message)
        raise Missing(f"There is no EdgeModel {name!r} in {place(namespace)}.")
    return models


def place(namespace: str) -> str:
    """Where EdgeModels were looked for, in words; empty is every namespace."""
    return f"namespace {namespace!r}" if namespace else "any namespace"


def unreadable(objects: Objects) -> list[Unreadable]:
    """The EdgeModels that this version cannot read, in the order of their names."""
    found = objects.unreadable(EDGE_MODEL)
    return [found[key] for key in sorted(found)]
