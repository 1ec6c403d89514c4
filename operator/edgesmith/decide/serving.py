"""What a serving pod is made of. A revision is the hash of exactly this, and the pod template is made of nothing else.

So a node is restarted when something that its pod depends on changed, and at no other time: not by a new generation of
the EdgeModel, not by a rollout setting, and by a new version of the operator only where `TEMPLATE_VERSION` was raised.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import short_hash
from edgesmith.api.units import parse_bytes, parse_duration
from edgesmith.decide.settings import Settings

TEMPLATE_VERSION = "1"
"""Raise it with every change of the pod template: the same revision must never mean two templates."""

DEFAULT_REQUESTS: Mapping[str, str] = {"cpu": "100m", "memory": "128Mi"}
"""Asked for where neither the profile nor the EdgeModel says anything of the resource.

There are no default limits: a CPU limit throttles in the middle of an inference, and a memory limit of our choosing
would kill a model that is larger than we thought.
"""

Resources = dict[str, dict[str, str | int]]


@dataclass(frozen=True, slots=True)
class Serving:
    """Everything that a serving pod depends on."""

    namespace: str
    name: str
    profile: str
    image: str
    """By digest."""
    port: int
    grpc_port: int
    resources: Resources
    tolerations: tuple[Mapping[str, Any], ...]
    runtime_class: str | None
    max_latency_ms: float | None
    max_memory_bytes: int | None
    pull_secret: str | None

    @property
    def revision(self) -> str:
        """Ten hex digits."""
        facts = {key: value for key, value in asdict(self).items() if value is not None}
        return short_hash(f"{TEMPLATE_VERSION}\n{json.dumps(facts, sort_keys=True, separators=(',', ':'))}")


def serving(model: EdgeModel, profile: DeviceProfile, image: str, settings: Settings) -> Serving:
    """Say what the pods of one variant depend on."""
    gates, spec = model.spec.gates, model.spec.serving
    return Serving(
        namespace=model.metadata.namespace,
        name=model.metadata.name,
        profile=profile.metadata.name,
        image=image,
        port=spec.port,
        grpc_port=spec.grpc_port,
        resources=merge_resources(profile.spec.runtime.resources, spec.resources),
        tolerations=profile.spec.runtime.tolerations,
        runtime_class=profile.spec.runtime.runtime_class_name,
        max_latency_ms=parse_duration(gates.max_latency).total_seconds() * 1000 if gates.max_latency else None,
        max_memory_bytes=parse_bytes(gates.max_memory) if gates.max_memory else None,
        pull_secret=settings.registry_secret,
    )


def revision_of(profile: DeviceProfile, image: str, model: EdgeModel, settings: Settings) -> str:
    """The revision that one image of a variant is under the EdgeModel's present serving configuration."""
    return serving(model, profile, image, settings).revision


def merge_resources(profile: Resources | None, model: Resources | None) -> Resources:
    """Requests and limits: the EdgeModel's win over the profile's, resource by resource, and those over the defaults.

    A default request gives way to a limit: it could be larger, and Kubernetes takes the limit where no request is.
    """
    merged: Resources = {"requests": {}, "limits": {}}
    for source in (profile or {}, model or {}):
        for section in merged:
            merged[section].update(source.get(section, {}))
    for resource, quantity in DEFAULT_REQUESTS.items():
        if resource not in merged["requests"] and resource not in merged["limits"]:
            merged["requests"][resource] = quantity
    return {section: dict(sorted(values.items())) for section, values in merged.items() if values}
