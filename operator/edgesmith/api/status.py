"""The status of an EdgeModel as it is written."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from edgesmith.api.drift_status import DriftStatus
from edgesmith.api.history import HistoryEntry, RequestStatus
from edgesmith.api.made_build import MadeBuild
from edgesmith.api.model import Model
from edgesmith.api.recompiled import Recompiled
from edgesmith.api.revision_status import RevisionStatus
from edgesmith.api.source_status import SourceStatus
from edgesmith.api.trial_status import ALTERNATIVE, TrialStatus, candidate_name


class Condition(Model):
    """One condition, in the shape of metav1.Condition."""

    type: str = Field(description="What the condition is about.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(description="Why, in one word for machines.")
    message: str = Field(max_length=32768, description="Why, in one sentence for people.")
    last_transition_time: str = Field(
        description="When `status` last changed.", json_schema_extra={"format": "date-time"}
    )
    observed_generation: int = Field(description="The generation this was said of.")


class NodeCounts(Model):
    """Nodes, counted. Those can be updated that are neither NotReady nor tainted nor lack a device."""

    desired: int = Field(0, description="Nodes that are to run the model.")
    updated: int = Field(0, description="Nodes that can be updated whose label names the revision that is rolled out.")
    ready: int = Field(0, description="Nodes that can be updated whose server is ready, whatever the revision.")
    not_ready: int = Field(0, description="Nodes that are NotReady; they are updated when they return.")
    tainted: int = Field(0, description="Ready nodes whose taint keeps new pods away; they are updated when it goes.")
    device_missing: int = Field(
        0, description="Ready, untainted nodes that do not offer a device that their server asks for."
    )
    disk_full: int = Field(
        0,
        description=(
            "Nodes that can be updated and whose disk has no room for the image, or for the candidates that they are "
            "to try; they keep what they run, and look again."
        ),
    )
    failed: int = Field(0, description="Nodes that can be updated whose server failed or did not become ready.")


class ChangedAnswers(Model):
    """Evaluation samples that one candidate and the source answer differently, both ways."""

    lost: int = Field(description="The source is right and the variant wrong.")
    gained: int = Field(description="The source is wrong and the variant right.")
    samples: int = Field(description="Evaluation samples in all.")


class RefusedCandidate(Model):
    """A candidate of the present build that is out, and what was measured of it."""

    alternative: str | None = Field(None, description=ALTERNATIVE)
    precision: str = Field(description="The rung of the ladder that it is.")
    accuracy: str | None = Field(None, description="As `variants[].accuracy`.")
    accuracy_error: str | None = Field(None, description="As `variants[].accuracyError`.")
    accuracy_drop: str | None = Field(None, description="As `variants[].accuracyDrop`.")
    accuracy_drop_error: str | None = Field(None, description="As `variants[].accuracyDropError`.")
    agreement: str | None = Field(None, description="As `variants[].agreement`.")
    agreement_error: str | None = Field(None, description="As `variants[].agreementError`.")
    multiplications: str | None = Field(None, description="As `variants[].multiplications`.")
    size: int | None = Field(None, description="Bytes of its model file.")
    image_size: int | None = Field(None, description="Compressed bytes of its whole image, base included.")
    message: str = Field(
        max_length=1024,
        description="Which gate it breaks, why it cannot be made, or why no node tries it, in one sentence.",
    )

    @property
    def name(self) -> str:
        """As sentences name it: `gru/int8`."""
        return candidate_name(self.alternative, self.precision)


_WAITING_SINCE = (
    "When the registry said first that the build is not there, where another installation is to make it "
    "(builder.enabled is false). Absent: it is there, or nothing is waited for."
)


class VariantBuild(Model):
    """One of the builds of a variant that has alternatives."""

    alternative: str = Field(description="Of spec.optimize.alternatives, or source: spec.source.")
    build_key: str = Field(description="As `variants[].buildKey`.")
    image: str | None = Field(None, description="The image under the build's tag by digest, where it is known.")
    state: str = Field(description="Built, Building, Waiting, or Failed: it is out, and the others go on without it.")
    reason: str | None = Field(None, description="Why it is in that state, in one word for machines.")
    message: str | None = Field(None, max_length=1024, description="Why, in one sentence for people.")
    waiting_since: str | None = Field(None, description=_WAITING_SINCE)
    renamed: str | None = Field(
        None,
        max_length=1024,
        description=(
            "Tensors of the alternative that the build calls as spec.source does, with the names that they came under: "
            "`input.1 -> data, 473 -> scores`."
        ),
    )


class TransferStatus(Model):
    """What a revision still moves to nodes, in compressed bytes of layers that they do not have."""

    each: int = Field(
        description="Bytes for a node that goes from the revision before; of the first one, those of the whole image."
    )
    nodes: int = Field(description="Nodes that have not been given the revision.")
    total: int | None = Field(
        None, description="Bytes for all of them. Absent: the registry does not show the image that one of them runs."
    )


class PartitionStatus(Model):
    """How far spec.rollout.partitions lets a variant's revision go."""

    open: str = Field(description="The partition that was opened last; empty: the nodes without the label.")
    following: int = Field(description="How many partitions come after it.")


class VariantStatus(Model):
    """One variant: the EdgeModel built for one DeviceProfile."""

    profile: str = Field(description="DeviceProfile.")
    build_key: str | None = Field(None, description="Hash of everything that decides the image's bytes.")
    image: str | None = Field(None, description="The image by digest.")
    built_image: str | None = Field(
        None,
        description=(
            "The image under the build's tag by digest, where another candidate of the build is rolled out, or none."
        ),
    )
    rebased_from: str | None = Field(
        None,
        description=(
            "Digest of the image in the same repository whose layers were put over another base image, without "
            "compiling. Absent: it was compiled."
        ),
    )
    alternative: str | None = Field(None, description=f"The model that is rolled out. {ALTERNATIVE}")
    precision: str | None = Field(None, description="The rung of the ladder that is rolled out.")
    metric: str | None = Field(None, description="How the evaluation set was scored; accuracy is this metric's value.")
    accuracy: str | None = Field(
        None,
        description=(
            "The metric's value on the evaluation set, as a percentage: 97.10%, say. Of RMSE and MAE in the unit of "
            "the labels: 0.7312, say."
        ),
    )
    accuracy_error: str | None = Field(None, description="How far its 95 % interval reaches from accuracy.")
    accuracy_drop: str | None = Field(
        None,
        description=(
            "What of that is lost against the source, as a percentage: 0.20%, say. Of RMSE and MAE by how much it "
            "rose, as a share of the source's."
        ),
    )
    accuracy_drop_error: str | None = Field(None, description="Half the width of the drop's 95 % interval: 0.85%, say.")
    changed_answers: ChangedAnswers | None = Field(
        None, description="Evaluation samples that are answered otherwise than by the source."
    )
    agreement: str | None = Field(
        None,
        description=(
            "Agreement with the source in the output and channel where it is least, as a percentage: 98.20%, say. "
            "Absent where the source itself won."
        ),
    )
    agreement_error: str | None = Field(None, description="How far its 95 % interval reaches from agreement.")
    multiplications: str | None = Field(
        None,
        description=(
            "Share of the source's multiplications that pruning left, as a percentage; absent where nothing was pruned."
        ),
    )
    refused: tuple[RefusedCandidate, ...] = Field(
        (),
        max_length=64,
        description=(
            "Candidates that break a gate, cannot be made or are left out of the trial, in the ladder's order."
        ),
    )
    waiting_since: str | None = Field(
        None, description=f"{_WAITING_SINCE} With spec.optimize.alternatives, `builds` says it of each."
    )
    builds: tuple[VariantBuild, ...] = Field(
        (),
        max_length=9,
        description="Every build of the variant, where spec.optimize.alternatives has any: that of spec.source first.",
        json_schema_extra={"x-map-key": "alternative"},
    )
    made: tuple[MadeBuild, ...] = Field(
        (),
        max_length=9,
        description=(
            "The last image of each build that a Job made, and did not find in the registry: over another base image, "
            "its layers are taken instead of compiling."
        ),
        json_schema_extra={"x-map-key": "alternative"},
    )
    warnings: tuple[str, ...] = Field(
        (), description="What a build measured and is not as good as it looks.", json_schema_extra={"x-member": "One."}
    )
    device_warnings: tuple[str, ...] = Field(
        (),
        max_length=8,
        description="What is not as it should be on devices though the model answers there, each in one sentence.",
        json_schema_extra={"x-member": "One."},
    )
    recompiled: tuple[Recompiled, ...] = Field(
        (),
        max_length=8,
        description="Devices that changed since they compiled the model, by their last self-test: it is compiled anew.",
    )
    latency: str | None = Field(None, description="Worst p95 latency that a device measured in its self-test.")
    size: int | None = Field(
        None,
        description="Bytes of the model layer: what travels when the model changes and the evaluation set does not.",
    )
    revision: str | None = Field(None, description="The revision that nodes are being moved to or run.")
    strategy: str | None = Field(
        None,
        description=(
            "How its nodes go from one revision to the next: Surge or Replace. Where they cannot hold two servers, it "
            "is Replace, whatever spec.rollout.strategy says."
        ),
    )
    strategy_message: str | None = Field(
        None, description="Why strategy is not what spec.rollout.strategy says, in one sentence."
    )
    transfer: TransferStatus | None = Field(
        None,
        description=(
            "What the revision still moves. Absent: all nodes were given it, or the registry does not show its image."
        ),
    )
    partition: PartitionStatus | None = Field(
        None, description="How far spec.rollout.partitions lets the revision go. Absent: to every node."
    )
    state: str = Field(
        description=(
            "Building, BuildFailed, Built (for sites), Trial, TrialFailed, Canary, RollingOut, RollingBack, "
            "RolledBack, Complete, Degraded, Paused, WaitingForWindow, Waiting or NoNodes."
        )
    )
    reason: str | None = Field(None, description="Why it is in that state, in one word for machines.")
    message: str = Field("", description="Why it is in that state, in one sentence for people.")
    nodes: NodeCounts = Field(NodeCounts(), description="This variant's nodes.")


class PendingReason(StrEnum):
    """Why a node is pending: one word for machines."""

    NOT_READY = "NotReady"
    """The node is NotReady; it is updated when it returns."""
    TAINTED = "Tainted"
    """A taint of the node keeps new pods away."""
    STEP_NOT_HELD = "StepNotHeld"
    """The revision has not held its step of the rollout yet."""
    STAGED = "Staged"
    """The node makes the revision ready beside its server, which goes on until then, or before its first one starts."""
    MAX_UNAVAILABLE = "MaxUnavailable"
    """As many nodes as spec.rollout.maxUnavailable allows are without a ready server."""
    MAX_PULLING = "MaxPulling"
    """As many nodes as spec.rollout.maxPulling allows pull an image."""
    JITTER = "Jitter"
    """The node's turn within spec.rollout.jitter has not begun."""
    DISK_FULL = "DiskFull"
    """The node's disk has no room for the revision's image, or for what it is to try; the node looks again."""
    DEVICE_MISSING = "DeviceMissing"
    """The node does not offer a device that its server asks for."""
    FAILED = "Failed"
    """The revision failed on the node, which went back to the one before."""
    PAUSED = "Paused"
    """spec.rollout.paused is true."""
    WINDOW_CLOSED = "WindowClosed"
    """None of spec.rollout.windows is open."""
    NODE_BUSY = "NodeBusy"
    """Another EdgeModel makes a revision ready on the node, or comes first by its priority."""
    PARTITION_CLOSED = "PartitionClosed"
    """A partition that comes before the node's has not served the revision yet."""
    TRIAL = "Trial"
    """The node gave up its server for a trial, which needs the device that this held."""
    NODE_MATCHES_TWO_PROFILES = "NodeMatchesTwoProfiles"
    """The node matches more than one of the profiles."""
    WRONG_ARCHITECTURE = "WrongArchitecture"
    """The node's architecture is not its profile's."""


class PendingNode(Model):
    """A node that does not run the newest revision, or lacks a device, and is not moved now, and why."""

    name: str = Field(description="Node.")
    reason: str = Field(description="Why it is not moved, in one word for machines.")
    message: str = Field(description="Why it is not moved, in one sentence for people.")


UNSEEN = -1
"""`observedGeneration` of an EdgeModel that the operator has never looked at, by default.

Without it, kstatus takes an object without a condition for one that is done, and `flux` or `kubectl wait` go on.
"""


class EdgeModelStatus(Model):
    """What the operator found and did."""

    observed_generation: int | None = Field(
        None, description=f"The generation of the spec this was said of; {UNSEEN}: the operator has looked at none yet."
    )
    last_handled_retry: str | None = Field(
        None,
        description=(
            "The last value of the annotation edgesmith.dev/retry that was acted on; removing the annotation starts "
            "nothing."
        ),
    )
    conditions: tuple[Condition, ...] = Field(
        (), description="kstatus conditions and our own, by type.", json_schema_extra={"x-map-key": "type"}
    )
    variants: tuple[VariantStatus, ...] = Field(
        (), description="One entry per DeviceProfile.", json_schema_extra={"x-map-key": "profile"}
    )
    revisions: tuple[RevisionStatus, ...] = Field(
        (),
        description="What was found out about each revision, in the order of their names.",
        json_schema_extra={"x-map-key": "name"},
    )
    requests: tuple[RequestStatus, ...] = Field(
        (),
        max_length=48,
        description="What became of each entry of spec.rollout.promote, rollbackTo and override.",
        json_schema_extra={"x-map-key": "request"},
    )
    history: tuple[HistoryEntry, ...] = Field(
        (),
        max_length=64,
        description=(
            "The last revisions that the spec asked for, the newest first: ten per DeviceProfile, 5 kB in all."
        ),
    )
    trials: tuple[TrialStatus, ...] = Field(
        (),
        description="What devices measured of the candidates of each build that has several.",
        json_schema_extra={"x-map-key": ["profile", "buildKey"]},
    )
    sources: tuple[SourceStatus, ...] = Field(
        (),
        description=(
            "What lies at the URI of each file whose digest the spec does not give, and how large models are whose "
            "digest it gives."
        ),
        json_schema_extra={"x-map-key": "field"},
    )
    nodes: NodeCounts = Field(NodeCounts(), description="All nodes of the EdgeModel.")
    drift: DriftStatus | None = Field(
        None, description="What nodes say of drift. Absent: spec.feedback.privacy is None, or Triton serves."
    )
    pending: tuple[PendingNode, ...] = Field(
        (),
        max_length=20,
        description="The first 16 nodes that do not run the newest revision, or lack a device, and are not moved now.",
        json_schema_extra={"x-map-key": "name"},
    )
