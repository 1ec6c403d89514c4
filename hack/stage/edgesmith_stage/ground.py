"""The ground the stage stands on: which cluster, which registry, which bucket."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgesmith_stage.bucket import Bucket
from edgesmith_stage.errors import StageError
from edgesmith_stage.kube import Kube
from edgesmith_stage.shell import ROOT, run

DEVICE_LABEL = "edgesmith.dev/device"
NODE_GRACE = 12
"""Of the local cluster: its --node-monitor-grace-period and one --node-monitor-period."""


@dataclass(frozen=True)
class Ground:
    """A cluster with a registry that its nodes pull from and a bucket that its pods reach."""

    kube: Kube
    helm: str
    registry: str
    """`HOST:PORT`."""
    plain_http: bool
    bucket: Bucket
    name: str = "demo"
    hub: bool = False
    """Whether a node carries the label edgesmith.dev/hub, for the operator and the builds."""
    edges: tuple[str, ...] = field(default=())
    node_grace: int | None = None
    """Seconds for which a node that died is taken for ready, for the chart; None leaves the chart's default."""
    authority: Path | None = None
    """A file with the certificate of who signs those of web servers that models come from, for the chart."""


def cluster(*words: str, show: bool = True) -> str:
    """Run the local cluster's own command line."""
    return run([sys.executable, ROOT / "hack/cluster", *words], show=show, timeout=3600)


def local(name: str, devices: Sequence[str], disks: Mapping[str, int] | None = None) -> Ground:
    """Start the local cluster, or take it as it stands after a clean-up, with one edge node for each device label.

    Args:
        name: The cluster's name.
        devices: The label of each edge node.
        disks: Nodes with a disk of their own, and its size in MiB.
    """
    labels = [word for n, device in enumerate(devices, 1) for word in ("--label", f"edge-{n}={DEVICE_LABEL}={device}")]
    own = [word for node, size in (disks or {}).items() for word in ("--disk", f"{node}={size}")]
    cluster("up", "--name", name, "--edges", str(len(devices)), *labels, *own)
    return attach(name)


def attach(name: str) -> Ground:
    """The ground of a local cluster that stands already."""
    status = json.loads(cluster("status", "--name", name, "--json", show=False))
    tools = Path(status["tools"])
    minio = status["minio"]
    return Ground(
        kube=Kube(Path(status["kubeconfig"]), str(tools / "kubectl"), local=True),
        helm=str(tools / "helm"),
        registry=status["registry"],
        plain_http=True,
        bucket=Bucket(minio["endpoint"], minio["accessKey"], minio["secretKey"]),
        name=name,
        hub=True,
        edges=tuple(node["name"] for node in status["nodes"] if node["name"] != "hub"),
        node_grace=NODE_GRACE,
    )


def current(environment: Mapping[str, str]) -> Ground:
    """The cluster of the current kubeconfig, a K3s say, with a registry and a bucket named by the environment.

    Raises:
        StageError: A variable is missing; names all that are.
    """
    wanted = {
        "REGISTRY": "a registry the nodes pull from, such as registry.example:5000",
        "AWS_ENDPOINT_URL": "the bucket's endpoint, such as http://minio.example:9000",
        "AWS_ACCESS_KEY_ID": "the bucket's access key",
        "AWS_SECRET_ACCESS_KEY": "the bucket's secret key",
    }
    missing = [f"{name} ({what})" for name, what in wanted.items() if not environment.get(name)]
    if missing:
        raise StageError(f"CLUSTER=current needs these variables: {'; '.join(missing)}")
    kubeconfig = environment.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    return Ground(
        kube=Kube(Path(kubeconfig)),
        helm="helm",
        registry=environment["REGISTRY"],
        plain_http=environment.get("REGISTRY_PLAIN_HTTP", "") == "true",
        bucket=Bucket(
            environment["AWS_ENDPOINT_URL"],
            environment["AWS_ACCESS_KEY_ID"],
            environment["AWS_SECRET_ACCESS_KEY"],
            environment.get("AWS_REGION", "us-east-1"),
        ),
        name="current",
    )


def kubeconfig_environment(ground: Ground) -> dict[str, str]:
    """What a child process needs to talk to this cluster."""
    tools = Path(ground.helm).parent
    # The tools of the cluster at hand come first; a bare name's parent would be wherever the child runs.
    path = {"PATH": f"{tools}:{os.environ['PATH']}"} if tools.is_absolute() else {}
    return {"KUBECONFIG": str(ground.kube.kubeconfig), **path}
