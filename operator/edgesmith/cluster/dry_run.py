"""What `kubectl apply` would make of an object, asked of the API server in a dry run.

An apply under a name of our own would keep every field that the file leaves out, because another manager owns it. So
the dry run is made as the next real apply will be: with the three-way patch of `kubectl apply` where the object carries
its annotation, and under the name of the manager that applied the object server side where it does not. A field that
the CRD does not have is refused in both, as `kubectl apply` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgesmith.cluster.client import MERGE, Client, Object
from edgesmith.cluster.fields import json_object, mapping, mappings, text
from edgesmith.cluster.kinds import Kind

CLI_MANAGER = "edgesmith-cli"
"""Named in dry runs of objects that do not exist yet: nothing is ever written under it."""
KUBECTL_MANAGER = "kubectl-client-side-apply"
"""Whom `kubectl apply` writes as."""
LAST_APPLIED_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
"""Where `kubectl apply` keeps the file that it applied last, so that it knows which fields were removed."""

_METADATA = ("labels", "annotations")
"""What of an object's metadata a file decides."""


async def as_applied(client: Client, kind: Kind, document: Mapping[str, Any]) -> Object:
    """The object as it would stand after `kubectl apply` of a document.

    Args:
        client: The API server; it judges the document.
        kind: The document's kind.
        document: An object of one of our kinds, without status.

    Raises:
        ClusterError: The API server refuses the document, or cannot be asked.
    """
    metadata = document["metadata"]
    namespace, name = str(metadata.get("namespace", "")), str(metadata["name"])
    live = await client.get(kind, namespace, name)
    if live is None:
        return await client.apply(document, manager=CLI_MANAGER, dry_run=True)
    before = last_applied(live)
    manager = applying_manager(live)
    if before is None and manager:
        return await client.apply(document, manager=manager, dry_run=True)
    return await client.request(
        "PATCH",
        kind.path(namespace, name),
        f"applying {kind.kind} {namespace}/{name}" if namespace else f"applying {kind.kind} {name}",
        query={"fieldManager": KUBECTL_MANAGER, "dryRun": "All", "fieldValidation": "Strict"},
        body=three_way(before or {}, document),
        content_type=MERGE,
    )


def last_applied(live: Mapping[str, Any]) -> Object | None:
    """The file that `kubectl apply` applied last, without what a file does not decide; None where there is none."""
    found = json_object(text(live, "metadata", "annotations", LAST_APPLIED_ANNOTATION))
    if found is None:
        return None
    kept = {key: value for key, value in mapping(found.get("metadata")).items() if key in _METADATA}
    return {**{key: value for key, value in found.items() if key != "status"}, "metadata": kept}


def applying_manager(live: Mapping[str, Any]) -> str | None:
    """Who applied the object server side last; None where nobody did."""
    applied = [
        (text(entry, "time"), text(entry, "manager"))
        for entry in mappings(mapping(live.get("metadata")).get("managedFields"))
        if entry.get("operation") == "Apply" and not entry.get("subresource")
    ]
    return max(applied)[1] if applied else None


def three_way(before: Mapping[str, Any], after: Mapping[str, Any]) -> Object:
    """The merge patch of `kubectl apply`: every field of the new file, and null for those of the old one that it lacks.

    Lists are replaced whole.
    """
    patch: Object = {key: None for key in before if key not in after}
    for key, value in after.items():
        patch[key] = three_way(mapping(before.get(key)), value) if isinstance(value, Mapping) else value
    return patch
