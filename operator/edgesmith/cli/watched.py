"""Whether the operator works in a namespace at all."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any

from edgesmith.cluster.client import Client
from edgesmith.cluster.configuration import SettingsError, installed_settings, namespaces_in
from edgesmith.cluster.errors import ClusterError
from edgesmith.decide.settings import Settings


def watched(settings: Settings, operator_namespace: str) -> frozenset[str]:
    """The namespaces that the operator works in; empty for all."""
    return _with_own(settings.namespaces, operator_namespace)


def check(documents: Iterable[dict[str, Any]], among: Collection[str]) -> None:
    """Refuse what the operator would take no notice of.

    Args:
        documents: EdgeModels, each in a namespace, and DeviceProfiles.
        among: Where the operator works; empty for every namespace.

    Raises:
        ValueError: An EdgeModel is somewhere else.
    """
    for metadata in (document["metadata"] for document in documents):
        if among and metadata.get("namespace") and metadata["namespace"] not in among:
            raise ValueError(
                f"EdgeModel {metadata['name']} is in namespace {metadata['namespace']!r}, of which the operator takes "
                f"no notice; one of {', '.join(sorted(among))} was expected (watchNamespaces of its chart)"
            )


async def ignored(client: Client, operator_namespace: str, namespaces: Iterable[str]) -> str | None:
    """Which of some namespaces the operator takes no notice of, in one sentence.

    None where there are none, and where the operator's settings cannot be read, which not everybody may.
    """
    try:
        installed = await installed_settings(client, operator_namespace)
        among = _with_own(namespaces_in(installed | os.environ), operator_namespace)
    except (ClusterError, SettingsError):
        return None
    others = sorted(set(namespaces) - among) if among else []
    if not others:
        return None
    return (
        f"The operator takes no notice of {', '.join(others)}: it works in {', '.join(sorted(among))} "
        "(watchNamespaces of its chart)."
    )


def _with_own(namespaces: Collection[str], own: str) -> frozenset[str]:
    return frozenset({*namespaces, own}) if namespaces else frozenset()
