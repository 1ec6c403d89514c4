"""What a cluster leaves on disk: its folder, and the file that says what it is."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from edgesmith_cluster.plan import Plan

# On disk and not under /run, which is memory: a cluster holds images, a registry and MinIO's objects.
ROOT = Path("/var/lib/edgesmith/clusters")
LOCKS = Path("/run/lock/edgesmith")


@dataclass(frozen=True)
class Folder:
    """The paths of one cluster.

    Attributes:
        name: the cluster's name.
    """

    name: str

    @property
    def root(self) -> Path:
        """Everything the cluster keeps."""
        return ROOT / self.name

    @property
    def record(self) -> Path:
        """The file that says what the cluster is."""
        return self.root / "cluster.json"

    @property
    def credentials(self) -> Path:
        """Certificates, keys and kubeconfigs."""
        return self.root / "credentials"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "kubeconfig"

    @property
    def control_plane(self) -> Path:
        """What etcd, the API server, the controllers, the registry and MinIO keep."""
        return self.root / "control-plane"

    @property
    def logs(self) -> Path:
        """The control plane's logs."""
        return self.control_plane / "log"

    def node(self, node: str) -> Path:
        """Return what a node sees as its own /run, /var/lib and /var/log."""
        return self.root / "nodes" / node

    @property
    def lock(self) -> Path:
        """Held while the cluster is started, stopped or disturbed."""
        return LOCKS / f"{self.name}.lock"


@dataclass(frozen=True)
class Record:
    """What one needs to know of a cluster to use it, to disturb it and to stop it.

    Attributes:
        name: its name.
        index: its network, see ``Plan``.
        nodes: its nodes, the hub first.
        access_key: MinIO's user.
        secret_key: MinIO's password.
        ready: whether ``up`` came to its end.
        uplink: the cluster that its uplink leads to, if it has one.
    """

    name: str
    index: int
    nodes: tuple[str, ...]
    access_key: str
    secret_key: str
    ready: bool
    uplink: str | None = None

    @property
    def plan(self) -> Plan:
        """The cluster's addresses."""
        return Plan(self.index, self.nodes)

    @property
    def folder(self) -> Folder:
        """The cluster's paths."""
        return Folder(self.name)


def write_record(record: Record) -> None:
    """Write the record so that a reader sees the old one or the new one, never half of it."""
    file = record.folder.record
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(asdict(record), indent=2) + "\n")
    fresh.rename(file)


def read_record(name: str) -> Record | None:
    """Return a cluster's record; None when there is no such cluster, or none whose record can be read."""
    try:
        content = json.loads(Folder(name).record.read_text())
        return Record(**{**content, "nodes": tuple(content["nodes"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def clusters() -> list[str]:
    """Return the names of the clusters that have a folder, whole or left over."""
    try:
        return sorted(entry.name for entry in ROOT.iterdir() if entry.is_dir())
    except FileNotFoundError:
        return []
