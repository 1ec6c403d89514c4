"""Metrics of each EdgeModel, read from the statuses that were written: what a dashboard of a fleet is made of. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.status import NodeCounts
from edgesmith.controller.metrics import Family

_STATES = {name: field.alias or name for name, field in NodeCounts.model_fields.items()}
"""Values of the label `state`, and the field of a status that each is."""


def nodes(models: Iterable[EdgeModel]) -> Family:
    """How many nodes of each EdgeModel are how: ``{(namespace, edgemodel, state): count}``."""
    return {
        (*key, state): float(status.get("nodes", {}).get(field, 0))
        for key, status in _statuses(models)
        for state, field in _STATES.items()
    }


def conditions(models: Iterable[EdgeModel]) -> Family:
    """The conditions as they stand: ``{(namespace, edgemodel, type, status, reason): 1.0}``.

    One that is not there has no series.
    """
    return {
        (*key, one["type"], one["status"], one["reason"]): 1.0
        for key, status in _statuses(models)
        for one in status.get("conditions", [])
    }


def variants(models: Iterable[EdgeModel]) -> Family:
    """What is rolled out: ``{(namespace, edgemodel, profile, state, revision, precision): 1.0}``; empty: none yet."""
    return {
        (*key, one["profile"], one["state"], one.get("revision") or "", one.get("precision") or ""): 1.0
        for key, status in _statuses(models)
        for one in status.get("variants", [])
    }


def _statuses(models: Iterable[EdgeModel]) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    """Namespace and name of each EdgeModel, with its status as the API server has it."""
    return (((model.metadata.namespace, model.metadata.name), model.status) for model in models)
