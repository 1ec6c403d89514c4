"""Snapshots in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from devices import MISMATCH
from new_jobs import new_job

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import (
    job_name,
    next_label,
    node_label,
)
from edgesmith.decide.build_jobs import attempt_of
from edgesmith.decide.builds import build_for
from edgesmith.decide.plan import (
    Plan,
)
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import (
    BuildJob,
    Image,
    Node,
    Pod,
    SelfTest,
    Snapshot,
)
from edgesmith_builder.contract import BuildFailure, BuildReport, Candidate, FailureReason, Finalist

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
LABEL = node_label("plant", "parts")
NEXT = next_label(LABEL)
SETTINGS = Settings(
    runtime_images={"onnxruntime": f"registry:5000/edgesmith/runtime@sha256:{'1' * 64}"},
    builder_image=f"registry:5000/edgesmith/builder@sha256:{'2' * 64}",
    repository="registry:5000/models",
    node_grace_seconds=0,
)
REPORT = BuildReport(
    precision="int8",
    accuracy=0.98,
    accuracy_drop=0.01,
    accuracy_drop_error=0.0085,
    agreement=0.9775,
    samples=400,
    size=4711,
    warnings=("the drop is hardly known",),
    candidates=(
        Candidate(
            precision="int8",
            accuracy=0.98,
            accuracy_drop=0.01,
            accuracy_drop_error=0.0085,
            agreement=0.9775,
            lost=6,
            gained=2,
        ),
    ),
    finalists=(Finalist(precision="int8", size=4711, warnings=("the drop is hardly known",)),),
)

Object = dict[str, Any]


ROLLOUT: Object = {"steps": [{"nodes": 1, "bake": "30s"}], "maxUnavailable": 1, "progressDeadline": "5m"}


def model(
    *, annotations: Mapping[str, str] | None = None, generation: int = 1, name: str = "parts", **spec: Any
) -> EdgeModel:
    """An EdgeModel as it would come from the API server; `spec` replaces whole fields of its spec."""
    base: Object = {
        "source": {"uri": "s3://models/parts/a/model.onnx", "sha256": "a" * 64},
        "deviceProfiles": {"names": ["amd64"]},
        "rollout": ROLLOUT,
    }
    metadata: Object = {"name": name, "namespace": "plant", "uid": "u", "generation": generation}
    metadata["annotations"] = dict(annotations or {})
    return EdgeModel.model_validate({"metadata": metadata, "spec": base | spec})


def profile(name: str = "amd64", **spec: Any) -> DeviceProfile:
    """A DeviceProfile for nodes labelled device=NAME."""
    base: Object = {"nodeSelector": {"device": name}, "platform": {"architecture": "amd64"}}
    return DeviceProfile.model_validate({"metadata": {"name": name}, "spec": base | spec})


def node(name: str, device: str = "amd64", *, ready: bool = True, revision: str | None = None, **labels: str) -> Node:
    """A node of a device class."""
    said = {"device": device, **labels}
    return Node(name, said | ({LABEL: revision} if revision else {}), ready)


def pod(on: str, revision: str, *, age: float = 600, ready: bool = True, **more: Any) -> Pod:
    """A serving pod, `age` seconds old by the device's clock."""
    created = NOW - timedelta(seconds=age)
    base = Pod(f"{on}-{revision}", on, revision, created, ready, False, 0, None, None, None)
    return replace(base, **more)


def failed_selftest(reason: str = MISMATCH[0], message: str = MISMATCH[1]) -> SelfTest:
    """What a device says of a bundle that it refuses."""
    return SelfTest(False, reason, message)


def key_of(of: EdgeModel, at: DeviceProfile | None = None) -> str:
    """The build key of a variant."""
    return build_for(of, at or profile(), SETTINGS).key


def image(of: EdgeModel, at: DeviceProfile | None = None) -> Image:
    """The image of a variant."""
    return Image(f"{SETTINGS.repository}/plant/models@sha256:{key_of(of, at) * 2}", REPORT)


def rebased(of: EdgeModel, origin: str | None) -> Image:
    """The image of a variant whose layers are those of another, by digest; None: it was compiled."""
    found = image(of)
    finalists = tuple(one.model_copy(update={"rebased_from": origin}) for one in found.report.finalists)
    return replace(found, report=found.report.model_copy(update={"finalists": finalists, "rebased_from": origin}))


def job(of: EdgeModel, at: DeviceProfile | None = None, **more: Any) -> BuildJob:
    """A build Job that runs."""
    at = at or profile()
    key = key_of(of, at)
    attempt = more.get("attempt", attempt_of(of))
    name = job_name(key, attempt, more.get("tries", 0))
    return replace(new_job(name, key, at.metadata.name, attempt, NOW - timedelta(seconds=60)), **more)


def failed_job(of: EdgeModel, reason: FailureReason, *, retry: bool = False, ago: float = 1, **more: Any) -> BuildJob:
    """A build Job that failed in the builder's own words."""
    failure = BuildFailure(reason=reason, message=f"{reason} it is.", retry=retry)
    return job(of, finished=True, failure=failure, finished_at=NOW - timedelta(seconds=ago), **more)


def snapshot(of: EdgeModel | None = None, **more: Any) -> Snapshot:
    """A snapshot of one profile and no nodes, its build in the registry."""
    of = of or model()
    base = Snapshot(of, SETTINGS, (profile(),), (), (), (), (), {key_of(of): image(of)})
    return replace(base, **more)


def said(plan: Plan) -> dict[str, tuple[str, str]]:
    """Conditions as type: (status, reason)."""
    return {condition.type: (condition.status, condition.reason) for condition in plan.status.conditions}


def sentence(plan: Plan, kind: str = "Ready") -> str:
    """A condition's message."""
    return next(condition.message for condition in plan.status.conditions if condition.type == kind)
