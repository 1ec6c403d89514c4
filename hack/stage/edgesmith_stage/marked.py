"""What is the demo's on somebody's own cluster: it marks what it makes, takes nothing over and removes nothing more."""

from __future__ import annotations

from collections.abc import Iterable

from edgesmith_stage.errors import StageError
from edgesmith_stage.install import NAMESPACE
from edgesmith_stage.kube import Kube, Object

KEY = "edgesmith.dev/demo"
MARK = {KEY: "true"}
"""The label of everything that the demo makes beside the chart."""
_CHART = {"app.kubernetes.io/name": "edgesmith"}
"""The label of the chart's objects, however they were installed."""
_PLURALS = {"EdgeModel": "edgemodels", "DeviceProfile": "deviceprofiles", "Secret": "secrets"}
"""The kinds that the demo applies, those first that the operator reads; they go in this order."""


def marked(manifest: Object) -> Object:
    """An object with the demo's mark."""
    metadata = manifest["metadata"]
    return manifest | {"metadata": metadata | {"labels": metadata.get("labels", {}) | MARK}}


def claim(kube: Kube, objects: Iterable[Object], namespace: str) -> None:
    """See that nothing stands where the demo is to stand, and make the chart's namespace, marked.

    Args:
        kube: The cluster.
        objects: What the demo is going to apply.
        namespace: To which.

    Raises:
        StageError: Edgesmith, or an object of one of these names, is there and is not the demo's.
    """
    ours = claimed(kube)
    for deployment in kube.list("deployments", None, _CHART):
        where = deployment["metadata"]["namespace"]
        if where != NAMESPACE:
            raise StageError(f"Edgesmith is installed in the namespace {where} already; a cluster takes it once")
    for one in objects:
        kind, name = one["kind"], one["metadata"]["name"]
        found = kube.get(_PLURALS[kind], name, namespace) if _served(kube, kind) else None
        if found and not _is_marked(found):
            raise StageError(f"{kind} {name} is there already and was not made by the demo, which leaves it alone")
    if not ours:
        # Not applied: where somebody made it meanwhile, that is refused and not marked.
        kube.create(marked({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))


def claimed(kube: Kube) -> bool:
    """Whether the chart's namespace is there and is the demo's.

    Raises:
        StageError: It is there and is not.
    """
    found = kube.get("namespaces", NAMESPACE)
    if found and not _is_marked(found):
        raise StageError(
            f"the namespace {NAMESPACE} is on this cluster already and was not made by the demo, "
            "which leaves it and what is installed there alone"
        )
    return found is not None


def remove(kube: Kube, namespace: str) -> None:
    """Delete what the demo applied, and nothing else."""
    for kind, plural in _PLURALS.items():
        if _served(kube, kind):
            kube("delete", plural, "-n", namespace, "-l", f"{KEY}={MARK[KEY]}")


def _is_marked(found: Object) -> bool:
    return bool(found["metadata"].get("labels", {}).get(KEY) == MARK[KEY])


def _served(kube: Kube, kind: str) -> bool:
    """Whether the cluster has the kind: before the chart is there it lacks ours, and kubectl fails."""
    return kind == "Secret" or kube.get("customresourcedefinitions", f"{_PLURALS[kind]}.edgesmith.dev") is not None
