"""What a serving pod is made of. A revision is the hash of exactly this, and the pod template is made of nothing else.

So a node is restarted when something that its pod depends on changed, and at no other time: not by a new generation of
the EdgeModel, and by a new version of the operator only where `TEMPLATE_VERSION` was raised. Of the rollout's settings
only a `progressDeadline` above `START_SECONDS` reaches the pod, in its startup probe.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.feedback import NOTHING, SAMPLES
from edgesmith.api.fraction import parse_fraction
from edgesmith.api.gates import Gates
from edgesmith.api.names import short_hash
from edgesmith.api.serving import Batching
from edgesmith.api.units import parse_bytes, parse_duration
from edgesmith.decide.sampling import Sampling, sampling
from edgesmith.decide.settings import Settings

TEMPLATE_VERSION = "5"
"""Raise it with every change of the pod template: the same revision must never mean two templates."""

DEFAULT_REQUESTS: Mapping[str, str] = {"cpu": "100m", "memory": "128Mi"}
"""Asked for where neither the profile nor the EdgeModel says anything of the resource."""

DEFAULT_MEMORY_LIMIT = 2**30
"""Bytes: the least memory limit of a pod for which neither the profile nor the EdgeModel gives one.

Without a limit, a model that leaks memory or is too large for its device makes the node kill other pods, or fail. Where
`gates.maxMemory` or a memory request says how much the server needs, the limit is twice that if it is more, and never
more than the device has. CPU has no default limit: it would throttle in the middle of an inference.
"""

START_SECONDS = 600
"""The least time that a server has to load its model before the kubelet restarts it."""

MAX_BATCH = 8
"""The largest batch that a server takes where it is told nothing."""

DRIFT_CYCLE = 86400.0
"""Seconds of the cycle that a server takes where it is told nothing."""

OWN_SERVER = "Edgesmith"

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
    architecture: str
    """As the label `kubernetes.io/arch` of nodes has it."""
    start_seconds: int | None
    """How long the startup probe waits; None for `START_SECONDS`."""
    host_http_port: int | None
    """The node's own port that leads to the HTTP port; None where it has none."""
    host_grpc_port: int | None
    """The node's own port that leads to the gRPC port; None where it has none."""
    volumes: tuple[Mapping[str, Any], ...] | None
    """Folders of the node, as the DeviceProfile has them; None where there are none."""
    server: str | None
    """None for our own."""
    max_batch: int | None
    """None for `MAX_BATCH`, the server's own: an EdgeModel that says nothing of it keeps its revision."""
    crowded: bool | None
    """Whether two servers may need more memory than the device has; None where not."""
    judging: Mapping[str, float] | None = None
    """What a server is held to while it serves, where that is not the server's own, by its option; None for Triton."""
    drift_cycle: float | None = None
    """Seconds of `spec.feedback.drift.cycle`; None for the server's own, and where it does not watch for drift."""
    privacy: str | None = None
    """What of requests may leave a server; None: nothing, which is all that Triton is told."""
    sampling: Sampling | None = None
    """Which samples the node sends home; None: none."""
    batching: tuple[float, int | None] | None = None
    """Milliseconds that a run waits for others, and the most samples of one; None: each request is run alone."""

    @property
    def revision(self) -> str:
        """Ten hex digits."""
        facts = {key: value for key, value in asdict(self).items() if value is not None}
        return short_hash(f"{TEMPLATE_VERSION}\n{json.dumps(facts, sort_keys=True, separators=(',', ':'))}")


def serving(model: EdgeModel, profile: DeviceProfile, image: str, settings: Settings) -> Serving:
    """Say what the pods of one variant depend on."""
    gates, spec = model.spec.gates, model.spec.serving
    own = profile.spec.runtime.server == OWN_SERVER
    max_memory = parse_bytes(gates.max_memory) if gates.max_memory else None
    resources = merge_resources(profile.spec.runtime.resources, spec.resources, max_memory, profile.memory)
    on_host = spec.expose if spec.expose and spec.expose.type == "HostPort" else None
    seen = model.spec.feedback.privacy if own and model.spec.feedback.privacy != NOTHING else None
    return Serving(
        namespace=model.metadata.namespace,
        name=model.metadata.name,
        profile=profile.metadata.name,
        image=image,
        port=spec.port,
        grpc_port=spec.grpc_port,
        resources=resources,
        tolerations=profile.spec.runtime.tolerations,
        runtime_class=profile.spec.runtime.runtime_class_name,
        max_latency_ms=parse_duration(gates.max_latency).total_seconds() * 1000 if gates.max_latency else None,
        max_memory_bytes=max_memory,
        pull_secret=settings.pull_secret,
        architecture=profile.spec.platform.architecture,
        start_seconds=_start_seconds(model),
        host_http_port=on_host.http_port if on_host else None,
        host_grpc_port=on_host.grpc_port if on_host else None,
        volumes=tuple(one.model_dump(by_alias=True) for one in profile.spec.runtime.volumes) or None,
        server=None if own else profile.spec.runtime.server,
        max_batch=spec.max_batch if spec.max_batch != MAX_BATCH else None,
        crowded=True if crowd(resources, profile.memory) else None,
        judging=_judging(gates) if own else None,
        privacy=seen,
        drift_cycle=_drift_cycle(model) if seen else None,
        sampling=sampling(model, settings) if seen == SAMPLES else None,
        batching=_batching(spec.batching) if own and spec.batching else None,
    )


def _batching(spec: Batching) -> tuple[float, int | None]:
    return parse_duration(spec.max_latency).total_seconds() * 1000, spec.max_size


def crowd(resources: Resources, device_memory: int | None) -> int | None:
    """Bytes that two servers may use, where that is more than the device has; None where it is not, or not known.

    Args:
        resources: A server's requests and limits.
        device_memory: Bytes that the device has.
    """
    limit = resources["limits"].get("memory")
    if limit is None or device_memory is None:
        return None
    try:
        both = 2 * parse_bytes(limit)
    except ValueError:  # more than anything has: the profile is refused for it
        return None
    return both if both > device_memory else None


def revision_of(profile: DeviceProfile, image: str, model: EdgeModel, settings: Settings) -> str:
    """The revision that one image of a variant is under the EdgeModel's present serving configuration."""
    return serving(model, profile, image, settings).revision


def _judging(gates: Gates) -> dict[str, float] | None:
    """What differs from what servers do by themselves, by the option of `serve`; None where nothing does."""
    asked, usual = _options(gates), _options(Gates())
    return {option: value for option, value in asked.items() if value != usual.get(option)} or None


def _options(gates: Gates) -> dict[str, float]:
    traffic = gates.traffic
    found: dict[str, float] = {
        "--max-error-rate": parse_fraction(traffic.max_error_rate),
        "--min-requests": traffic.min_requests,
        "--judge-seconds": parse_duration(traffic.period).total_seconds(),
        "--replay-seconds": parse_duration(gates.replay_interval).total_seconds(),
    }
    if traffic.max_latency_ratio is not None:
        found["--max-latency-ratio"] = float(traffic.max_latency_ratio)
    if traffic.max_confidence_drop is not None:
        found["--max-confidence-drop"] = parse_fraction(traffic.max_confidence_drop)
    return found


def _drift_cycle(model: EdgeModel) -> float | None:
    seconds = parse_duration(model.spec.feedback.drift.cycle).total_seconds()
    return seconds if seconds != DRIFT_CYCLE else None


def _start_seconds(model: EdgeModel) -> int | None:
    """A server must not be restarted before its deadline; None where `START_SECONDS` are enough."""
    deadline = math.ceil(parse_duration(model.spec.rollout.progress_deadline).total_seconds())
    return deadline if deadline > START_SECONDS else None


def merge_resources(
    profile: Resources | None,
    model: Resources | None,
    max_memory: int | None = None,
    device_memory: int | None = None,
) -> Resources:
    """Requests and limits: the EdgeModel's win over the profile's, resource by resource, and those over the defaults.

    A default request gives way to a limit: it could be larger, and Kubernetes takes the limit where no request is. Of a
    device whose number is 0, nothing is asked.

    Args:
        profile: The DeviceProfile's.
        model: The EdgeModel's.
        max_memory: Bytes that `gates.maxMemory` allows the server.
        device_memory: Bytes that the device has; the default limit is no more.
    """
    merged: Resources = {"requests": {}, "limits": {}}
    for source in (profile or {}, model or {}):
        for section in merged:
            merged[section].update(source.get(section, {}))
    for section, asked in merged.items():
        merged[section] = {name: quantity for name, quantity in asked.items() if not _is_none(name, quantity)}
    for resource, quantity in DEFAULT_REQUESTS.items():
        if resource not in merged["requests"] and resource not in merged["limits"]:
            merged["requests"][resource] = quantity
    if "memory" not in merged["limits"]:
        merged["limits"]["memory"] = _memory_limit(merged["requests"]["memory"], max_memory, device_memory)
    return {section: dict(sorted(values.items())) for section, values in merged.items() if values}


def _is_none(resource: str, quantity: str | int) -> bool:
    """Whether a pod is to ask for none of a device.

    It must not say so: a kubelet whose plugin has none at the moment admits no pod that names it.
    """
    return "/" in resource and quantity in (0, "0")


def _memory_limit(request: str | int, max_memory: int | None, device_memory: int | None) -> str:
    """The default memory limit as a Quantity; see `DEFAULT_MEMORY_LIMIT`."""
    limit = math.ceil(max(DEFAULT_MEMORY_LIMIT, 2 * (max_memory or 0), 2 * parse_bytes(request)) / 2**20)
    return f"{limit if device_memory is None else min(limit, device_memory // 2**20)}Mi"
