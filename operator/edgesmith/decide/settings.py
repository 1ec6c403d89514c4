"""How the operator was installed: what decisions need of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Settings:
    """The installation's settings, from the chart's values."""

    runtime_images: Mapping[str, str]
    """Runtime base images by flavour, each by digest: `REGISTRY/NAME@sha256:HEX`."""
    builder_image: str | None
    """The builder's image by digest; None where no builds are made."""
    builder_images: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """Builder images with a vendor's packages by flavour, each by digest."""
    repository: str
    """Where variant images go: `REGISTRY/PREFIX`; `/NAMESPACE/models` is added."""
    operator_image: str | None = None
    """The operator's own image, as the chart names it."""
    builds: bool = True
    """Whether builds are made; at a site none are, and what another installation built is waited for."""
    plain_http: bool = False
    """Talk HTTP to the registry."""
    pull_secret: str | None = None
    """A kubernetes.io/dockerconfigjson Secret in the EdgeModel's namespace that pods pull images with."""
    push_secret: str | None = None
    """A kubernetes.io/dockerconfigjson Secret in the EdgeModel's namespace that build Jobs push with."""
    registry_ca: str | None = None
    """Certificates in PEM of authorities that sign the registry's certificate, besides the public ones."""
    signing_secret: str | None = None
    """A Secret in the EdgeModel's namespace with the key that build Jobs sign images with."""
    signing_public_key: str | None = None
    """The public key in PEM that images are held against where signatures are required."""
    signatures_required: bool = False
    """Whether an image without a signature by that key is not rolled out; otherwise signatures are not looked at."""
    bucket_endpoint: str | None = None
    """Endpoint of the bucket where an EdgeModel names no credentials."""
    bucket_ca: str | None = None
    """Certificates in PEM of authorities that sign a bucket's certificate, besides the public ones."""
    builder_service_account: str | None = None
    """ServiceAccount of build Jobs in the EdgeModel's namespace, for clouds that give it rights on a bucket."""
    builder_node_selector: dict[str, str] = field(default_factory=dict)
    """Where build Jobs run."""
    builder_resources: dict[str, Any] = field(default_factory=dict)
    """Requests and limits of build Jobs."""
    builder_deadline_seconds: int = 3600
    """Seconds that a build may take, counted from when the kubelet of its node accepted its pod."""
    max_concurrent_builds: int = 10
    """Most build Jobs at once, over all EdgeModels."""
    namespaces: tuple[str, ...] = ()
    """Where EdgeModels are looked after, besides the operator's own namespace; empty for every namespace."""
    revision_history_limit: int = 3
    """How many revisions that no node runs are kept, per variant."""
    node_grace_seconds: int = 50
    """The cluster's `--node-monitor-grace-period`: how long a node that died is taken for ready."""

    def repository_of(self, namespace: str) -> str:
        """Where the images of a namespace's EdgeModels are: `REGISTRY/PREFIX/NAMESPACE/models`."""
        return f"{self.repository}/{namespace}/models"

    @property
    def signed_by(self) -> str | None:
        """The public key in PEM whose signature every image must have; None where none is asked for."""
        return self.signing_public_key if self.signatures_required else None
