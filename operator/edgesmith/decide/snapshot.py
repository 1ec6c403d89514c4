"""Everything one pass knows about one EdgeModel, read once and never written to.

The gatherer fills it from the controller's indices or from the API server; a simulation fills it from a dictionary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.decide.drift import Report
from edgesmith.decide.plan import Change
from edgesmith.decide.room import Room
from edgesmith.decide.settings import Settings
from edgesmith.decide.taints import Taint
from edgesmith_builder.contract import BuildFailure, BuildReport, ResolveResult


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster."""

    name: str
    labels: Mapping[str, str]
    ready: bool
    """Its Ready condition is True: the kubelet was heard of within the grace period."""
    taints: tuple[Taint, ...] = ()
    records: Mapping[str, str] = field(default_factory=dict)
    """Its annotations whose key is that of one of our labels."""
    offers: Mapping[str, int] = field(default_factory=dict)
    """Devices that its `status.allocatable` holds, by the resource's name; see `edgesmith.decide.devices`."""
    unheard: datetime | None = None
    """When the cluster's node controller gave up hearing of the kubelet, by the hub's clock; None where it did not.

    A kubelet that itself says that it is not ready says so by its own clock, which is not to be believed.
    """
    boot: str = ""
    """Which start of the machine it is: `status.nodeInfo.bootID`, another one after each."""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What a device found out about a bundle: the termination message of the self-test or of a failed server."""

    passed: bool
    reason: str
    message: str
    p95_ms: float | None = None
    p50_ms: float | None = None
    memory_bytes: int | None = None
    tries: int = 1
    """How many tries of the container have ended, this one included."""
    device: Mapping[str, Any] = field(default_factory=dict)
    warning: str | None = None
    """What is not as it should be though the model answers, as the end of a sentence about it."""
    recompiled: str | None = None
    """What of the device is another than when it compiled the model, which is why it is compiled anew."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A serving pod, or one that stages what is to be served."""

    name: str
    node: str
    """Where it runs or, not being scheduled yet, where its DaemonSet wants it."""
    revision: str
    created: datetime
    ready: bool
    """Its containers are ready. Unlike the pod's own readiness this stays as it was while its node is NotReady."""
    terminating: bool
    restarts: int
    """Of the container that restarted most, init containers included."""
    waiting: str | None
    """The kubelet's reason for a container that waits: ImagePullBackOff, CrashLoopBackOff, …"""
    waiting_message: str | None
    selftest: SelfTest | None
    stage: str = "the readiness probe does not pass"
    """What a pod that is not ready is at, in words, where the kubelet gives no reason."""
    pulled: bool = False
    """A container of it was made, so its image is there."""
    staging: bool = False
    """It pulls and tests the revision and serves nothing; ready once the self-test has passed."""
    ended: SelfTest | None = None
    """Why the server's run before this one ended itself while it served; None where it did not, or ends now."""
    lacks: str = ""
    """What its node's disk lacks for the image, as the end of a sentence; empty where that was not found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderJob:
    """A Job that runs the builder: one build, or one look at files."""

    name: str
    key: str
    """What it is about: the build key, or the files as a hash."""
    attempt: str
    """What it answers beside its key; see `attempt_of` of `decide.build_jobs` and of `decide.digests`."""
    finished: bool
    succeeded: bool
    failure: BuildFailure | None
    """The builder's own words, where it left any."""
    failure_message: str | None
    """What Kubernetes says of a Job that failed, or of a pod that cannot start (a Secret that is missing, say)."""
    started_at: datetime | None
    finished_at: datetime | None
    number: int = 0
    """Which of its EdgeModel's Jobs it is; 0 where it does not say so."""
    asked_at: datetime | None = None
    """When the operator made it, by the hub's clock; what Kubernetes says may be another's."""
    tries: int = 0
    """How many Jobs for the same key and attempt failed before this one."""
    ran: bool = True
    """Whether its builder ever ran, as far as its pods tell; where there are none, it is taken to have run."""
    overdue: bool = False
    """Its pod was ended by the deadline of build Jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildJob(BuilderJob):
    """A build Job."""

    profile: str
    model: str = ""
    """The EdgeModel that it was made for."""
    digest: str | None = None
    """`sha256:HEX` of the image that it pushed or found; known of one that succeeded while its pod is there."""
    made: bool = False
    """Whether it made that image; False: it was found, or nobody says."""
    build: Mapping[str, Any] = field(default_factory=dict)
    """What it is to make, as JSON; empty where that cannot be read."""
    reason: tuple[Change, ...] = ()
    """Why it was made; empty for the first build of a variant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveJob(BuilderJob):
    """A resolve Job."""

    found: ResolveResult | None = None
    """What it found; known of one that succeeded while its pod is there."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the self-test of one finalist ended in a trial."""

    finding: SelfTest | None
    """None where it left none."""
    words: str
    """How its container ended, in the kubelet's words: `OOMKilled, exit code 137`."""


@dataclass(frozen=True, slots=True)
class TrialPod:
    """A pod that tries finalists on one node, one after the other."""

    name: str
    trial: str
    """Which trial it is of; see `edgesmith.decide.trials`."""
    node: str
    terminating: bool
    over: bool
    """It will not go on."""
    ended: Mapping[str, Ended]
    """By precision: the finalists whose self-test has ended."""
    waiting: str | None
    """Why it does not go on, in the kubelet's or the scheduler's words."""
    lacks: str = ""
    """What the node's disk lacks for the finalists, as the end of a sentence; empty where that was not found."""
    roomy: bool = False
    """Whether it has looked for room and found it."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A DaemonSet: one variant image with one serving configuration."""

    name: str
    """The DaemonSet's name."""
    revision: str
    profile: str
    image: str
    created: datetime
    build: Mapping[str, Any]
    """The `Build` its image answers, as JSON."""
    built: str = ""
    """The image under the build's tag, where that is another; a trial chose `image` then."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """The DaemonSet as it stands, so that what is applied can be compared."""


@dataclass(frozen=True, slots=True)
class StagingSet:
    """A DaemonSet that stages a revision on nodes whose server runs on."""

    revision: str
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """The DaemonSet as it stands."""
    room: Room | None = None
    """What its pods look for before they pull the image."""


@dataclass(frozen=True, slots=True)
class HoldingSet:
    """A DaemonSet that holds the image of a revision."""

    revision: str
    profile: str
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """The DaemonSet as it stands."""


@dataclass(frozen=True, slots=True)
class RetrainingJob:
    """A Job that an episode of drift started."""

    name: str
    episode: str
    what: str
    """`event`, or `job` for one that trains."""
    finished: bool = False
    failure: str = ""
    """Why Kubernetes gave it up, in its word; empty where it did not."""
    key: str = ""
    """Of no build."""


@dataclass(frozen=True, slots=True)
class ReportingSet:
    """A DaemonSet that reports what the servers of a revision say of drift."""

    revision: str
    profile: str
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """The DaemonSet as it stands."""


@dataclass(frozen=True, slots=True)
class Image:
    """A build that the registry holds."""

    reference: str
    """By digest."""
    report: BuildReport


@dataclass(frozen=True, slots=True)
class ForeignImage:
    """An image under a build's tag that is another than the one known to be ours."""

    reference: str
    """By digest."""
    trusted: tuple[str, ...]
    """The digests that are known to be ours."""


@dataclass(frozen=True, slots=True)
class UnsignedImage:
    """An image under a build's tag that does not have the signature that the installation asks for."""

    reference: str
    """By digest."""
    finding: Literal["Missing", "Invalid"]
    """Whether it has none, or one that is not by the key."""


@dataclass(frozen=True, slots=True)
class StrangeImage:
    """An image under a build's tag that cannot be the build, or of which nobody can tell; it is built anew."""

    reference: str
    """By digest."""
    why: str
    """The end of a sentence about it."""


@dataclass(frozen=True, slots=True)
class RegistryProblem:
    """The registry could not be asked."""

    message: str
    forbidden: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one pass knows about one EdgeModel."""

    model: EdgeModel
    settings: Settings
    profiles: tuple[DeviceProfile, ...]
    """Every DeviceProfile of the cluster."""
    nodes: tuple[Node, ...]
    """Every node of the cluster."""
    pods: tuple[Pod, ...]
    """This EdgeModel's serving pods."""
    jobs: tuple[BuildJob, ...]
    """This EdgeModel's build Jobs."""
    revisions: tuple[Revision, ...]
    """This EdgeModel's DaemonSets."""
    images: Mapping[str, Image | ForeignImage | UnsignedImage | StrangeImage | RegistryProblem | None]
    """By build key: what the registry said; None where it has no such image. A key that was not asked is absent."""
    unreadable_profiles: tuple[str, ...] = ()
    """Names of DeviceProfiles that exist and cannot be read, in order: nothing may be concluded from their absence."""
    other_jobs: tuple[BuildJob, ...] = ()
    """Build Jobs of other EdgeModels of the namespace for builds that this one wants too."""
    trial_pods: tuple[TrialPod, ...] = ()
    """This EdgeModel's trial pods."""
    builds_running: int = 0
    """Jobs of the builder, of all EdgeModels, that run or are being started."""
    builds_waiting: int = 0
    """Other EdgeModels with a build that waits for a slot."""
    resolve_jobs: tuple[ResolveJob, ...] = ()
    """This EdgeModel's resolve Jobs."""
    gone: frozenset[str] = frozenset()
    """Images that spec.rollout.rollbackTo goes back to and that the registry has no more."""
    staging: tuple[StagingSet, ...] = ()
    """This EdgeModel's DaemonSets that stage revisions."""
    holding: tuple[HoldingSet, ...] = ()
    """This EdgeModel's DaemonSets that hold images."""
    reporting: tuple[ReportingSet, ...] = ()
    """This EdgeModel's DaemonSets that report what servers say of drift."""
    reports: tuple[Report, ...] = ()
    """What their pods told."""
    retraining_jobs: tuple[RetrainingJob, ...] = ()
    """The Jobs that episodes of drift of this EdgeModel have started."""
    layers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The layers, digest to compressed bytes, of images by reference, as far as the registry showed them."""
    others: tuple[EdgeModel, ...] = ()
    """Every other EdgeModel that is not on its way out."""
    claimed: frozenset[str] = frozenset()
    """Nodes that passes about other EdgeModels are moving, or begin a trial on, at this moment."""
