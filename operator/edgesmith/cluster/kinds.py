"""The kinds we read and write, and where the API server has them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from edgesmith.api import deviceprofile, edgemodel
from edgesmith.api.names import GROUP, VERSION


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object."""

    group: str
    """Empty for the core group."""
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As it stands in manifests."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The address below the API server: a collection where no name is given.

        Names are quoted: one that came out of a file must not reach into another path.
        """
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(quote(part, safe="") for part in parts)


EDGE_MODEL = Kind(GROUP, VERSION, edgemodel.KIND, edgemodel.PLURAL)
DEVICE_PROFILE = Kind(GROUP, VERSION, deviceprofile.KIND, deviceprofile.PLURAL, namespaced=False)
NODE = Kind("", "v1", "Node", "nodes", namespaced=False)
POD = Kind("", "v1", "Pod", "pods")
SERVICE = Kind("", "v1", "Service", "services")
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
EVENT = Kind("", "v1", "Event", "events")
JOB = Kind("batch", "v1", "Job", "jobs")
DAEMON_SET = Kind("apps", "v1", "DaemonSet", "daemonsets")
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases")

KINDS = {kind.kind: kind for kind in (EDGE_MODEL, DEVICE_PROFILE, NODE, POD, SERVICE, CONFIG_MAP, JOB, DAEMON_SET)}
"""By the `kind` of a manifest."""


def kind_of(manifest: dict[str, object]) -> Kind:
    """The kind of a manifest of ours.

    Raises:
        KeyError: It is of a kind that we never write.
    """
    return KINDS[str(manifest["kind"])]
