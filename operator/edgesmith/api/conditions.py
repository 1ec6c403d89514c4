"""The conditions of an EdgeModel and their reasons: the contract that `kubectl wait`, Flux and Argo CD read.

`Ready`, `Reconciling` and `Stalled` follow kstatus; the rest say which part they come from. `Ready` is derived from
the others and never set on its own. `Reconciling` and `Stalled` have negative polarity: they are there only when True.
"""

from __future__ import annotations

from enum import StrEnum


class ConditionType(StrEnum):
    """What a condition is about. Each member's docstring gives its meaning and polarity."""

    READY = "Ready"
    """True: enough of the desired nodes serve the newest revision, and none is on its way. Positive polarity, always
    present."""
    RECONCILING = "Reconciling"
    """True: on the way, nothing for the user to do. Negative polarity, present only when True."""
    STALLED = "Stalled"
    """True: the user must change something; the message says what. Negative polarity, present only when True."""
    PROFILES_RESOLVED = "ProfilesResolved"
    """True: every profile named exists and every node matched is of exactly one. Positive polarity."""
    SOURCE_RESOLVED = "SourceResolved"
    """True: the digest of every file is known, from the spec or from a look at its URI. Positive polarity."""
    BUILDS_READY = "BuildsReady"
    """True: an image that keeps the gates exists for every profile. Positive polarity."""
    ROLLOUT_COMPLETE = "RolloutComplete"
    """True: every desired node has been given the newest revision, those that are away too. Positive polarity."""
    DRIFTED = "Drifted"
    """True: nodes are asked other things than the model was made with. Unknown: none has seen enough. Negative
    polarity, present only with spec.feedback.privacy other than None; it makes nothing unready."""


class Reason(StrEnum):
    """Why a condition stands as it does. One word for machines; the message beside it is for people."""

    # Ready, RolloutComplete
    SUCCEEDED = "Succeeded"
    """Everything that can be reached is as the spec says."""
    NODES_NOT_READY = "NodesNotReady"
    """The revision serves on enough nodes; some are NotReady and are updated when they return."""
    NODES_TAINTED = "NodesTainted"
    """The revision serves on enough nodes; taints keep new pods from some, which are updated when they are removed."""

    # Ready, RolloutComplete, Reconciling
    DEVICE_MISSING = "DeviceMissing"
    """Nodes do not offer a device that their server asks for; they are updated when a device plugin offers it."""
    DISK_FULL = "DiskFull"
    """Disks of nodes have no room for the revision's image, or for the candidates of a trial; the nodes keep what they
    run and look again."""
    NO_NODES = "NoNodes"
    """No node of the cluster is of any of the profiles. New nodes are picked up as they join."""
    BUILT_FOR_SITES = "BuiltForSites"
    """What spec.builds.profiles names is in the registry, and no node of the cluster is to run it."""
    WAITING_FOR_NODES = "WaitingForNodes"
    """No node that could be given the revision is ready and free of taints."""
    PAUSED = "Paused"
    """spec.rollout.paused is true, and some nodes do not run the newest revision."""
    WAITING_FOR_WINDOW = "WaitingForWindow"
    """None of spec.rollout.windows is open, and some nodes do not run the newest revision; the message says when the
    next one opens."""

    # Drifted
    NODES_DRIFTED = "NodesDrifted"
    """Nodes say that what they are asked is unlike the model's baseline; the message has the worst of both."""
    NO_DRIFT = "NoDrift"
    """Of the nodes that say something, none says that."""
    DRIFT_UNKNOWN = "DriftUnknown"
    """No node that can be reached has seen enough of the revision that is rolled out, or its model has no baseline."""

    # ProfilesResolved, Stalled
    PROFILE_NOT_FOUND = "ProfileNotFound"
    """A DeviceProfile named in spec.deviceProfiles does not exist."""
    PROFILE_NOT_ALLOWED = "ProfileNotAllowed"
    """A DeviceProfile named in spec.deviceProfiles has spec.allowedNamespaces without the EdgeModel's namespace."""
    PROFILE_INVALID = "ProfileInvalid"
    """A DeviceProfile asks its toolchain for an option, a value or a precision that it does not have, or for one of its
    own spec.toolchain.impossible."""
    DEVICE_TOO_SMALL = "DeviceTooSmall"
    """The EdgeModel asks for more memory than spec.hardware.memory of a DeviceProfile has."""
    RUNTIME_IMAGE_NOT_SET = "RuntimeImageNotSet"
    """Neither a DeviceProfile nor the installation has the runtime base image that its toolchain or server needs."""
    BUILDER_IMAGE_NOT_SET = "BuilderImageNotSet"
    """A DeviceProfile's toolchain compiles with its vendor's packages, and the installation has no builder image with
    them."""
    COMPILER_NOT_SET = "CompilerNotSet"
    """A DeviceProfile's toolchain has a compiler that is no part of the builder, and neither the EdgeModel brings a
    compiled file nor the DeviceProfile names an image with the compiler."""
    NODE_MATCHES_TWO_PROFILES = "NodeMatchesTwoProfiles"
    """A node is of more than one of the profiles; it is left alone."""
    WRONG_ARCHITECTURE = "WrongArchitecture"
    """A node's architecture is not that of the profile it is of; it is left alone."""
    UNREADABLE = "Unreadable"
    """This version of the operator cannot read the EdgeModel, or a DeviceProfile that it names; its nodes stay as they
    are."""
    SPEC_INVALID = "SpecInvalid"
    """The spec holds a value that the schema could not refuse."""

    # SourceResolved, Reconciling
    RESOLVING = "Resolving"
    """A Job looks at files whose digest the spec does not give, or waits for its turn or for its pod to start."""

    # SourceResolved, Stalled
    DIGEST_NOT_GIVEN = "DigestNotGiven"
    """The spec gives no digest of a file, and the installation makes no Job that could look (builder.enabled is
    false)."""

    # SourceResolved
    LOOK_FAILED = "LookFailed"
    """Files could not be looked at again; what was found before goes on to be used, and the message says since when."""

    # BuildsReady, Reconciling
    BUILDING = "Building"
    """A build runs, or waits for its turn or for its pod to start; the message says which."""
    WAITING_FOR_BUILD = "WaitingForBuild"
    """The installation makes no builds (builder.enabled is false), and the registry does not hold the build yet; the
    message has its key and the repository."""
    WAITING_FOR_REGISTRY = "WaitingForRegistry"
    """The operator cannot ask the registry whether the build exists; it asks again."""
    WAITING_FOR_SOURCE = "WaitingForSource"
    """The bucket, server or registry of a URI cannot be reached; the build, or the look at the file, is tried again."""

    # SourceResolved, BuildsReady, Stalled: the builder's own words
    SOURCE_NOT_FOUND = "SourceNotFound"
    """Nothing is at a URI that the spec names."""
    SOURCE_UNREACHABLE = "SourceUnreachable"
    """The bucket, server or registry of a URI does not answer."""
    SOURCE_FORBIDDEN = "SourceForbidden"
    """The bucket, server or registry of a URI refused the credentials, or wants some."""
    CREDENTIALS_NOT_FOUND = "CredentialsNotFound"
    """The Secret that spec.source.secretRef names does not exist in the EdgeModel's namespace."""
    DIGEST_MISMATCH = "DigestMismatch"
    """A file's SHA-256 is not the one in the spec, or in status.sources where the spec gives none."""
    MODEL_INVALID = "ModelInvalid"
    """The source is not a model that can be built."""
    MODEL_HAS_NAN = "ModelHasNaN"
    """The model's weights hold NaN or infinity."""
    INTERFACE_MISMATCH = "InterfaceMismatch"
    """An alternative takes other inputs or answers other outputs than the model of spec.source."""
    MODEL_TOO_LARGE = "ModelTooLarge"
    """The source is larger than spec.hardware.memory of a DeviceProfile, or than the memory limit of its pods."""
    DATASET_INVALID = "DatasetInvalid"
    """A calibration or evaluation set cannot be read, or holds pickled objects."""
    DATASET_MISMATCH = "DatasetMismatch"
    """A set's arrays do not fit the model's inputs, its labels not the answers, or calibration shows one class only."""
    NO_CANDIDATE = "NoCandidate"
    """No rung of the ladder can be made and works; no gate was asked."""
    GATES_FAILED = "GatesFailed"
    """The build is there, and none of its candidates keeps the gates; other gates judge it anew, without a build."""
    REGISTRY_UNREACHABLE = "RegistryUnreachable"
    """The registry does not answer."""
    REGISTRY_FORBIDDEN = "RegistryForbidden"
    """The registry refused the credentials."""
    REGISTRY_REFUSED = "RegistryRefused"
    """The registry refused the image."""
    IMAGE_DIGEST_MISMATCH = "ImageDigestMismatch"
    """The image under the build's tag in the registry is another than the one that the build pushed."""
    SIGNATURE_MISSING = "SignatureMissing"
    """The image under the build's tag has no signature, and the installation asks for one."""
    SIGNATURE_INVALID = "SignatureInvalid"
    """The image under the build's tag has signatures, and none of them is by the installation's key."""
    REQUEST_INVALID = "RequestInvalid"
    """The build request contradicts itself."""
    BUILD_FAILED = "BuildFailed"
    """The build ended without saying why: killed, evicted or out of memory."""

    # RolloutComplete, Reconciling
    TRIAL = "Trial"
    """A node tries the candidates that keep the gates, or is awaited for it; nodes keep what they run."""
    CANARY = "Canary"
    """The revision is in its first step: its nodes are being moved, or must serve for the bake."""
    ROLLING_OUT = "RollingOut"
    """The first step was held; the other nodes follow, step by step."""
    ROLLING_BACK = "RollingBack"
    """A revision was rolled back; its nodes return to the one before."""

    # RolloutComplete, Stalled
    TRIAL_FAILED = "TrialFailed"
    """On the node that tried them, no candidate kept the gates on latency and memory with the right answers."""
    ROLLED_BACK = "RolledBack"
    """The newest revision was rolled back; the one before serves. A new source or profile starts the next try."""
    ROLLBACK_REFUSED = "RollbackRefused"
    """spec.rollout.rollbackTo cannot be met: what it goes back to is gone, or has not held its steps."""
    NO_REVISION_LEFT = "NoRevisionLeft"
    """The newest revision was rolled back and there is none before it."""
    IMAGE_PULL_FAILED = "ImagePullFailed"
    """A node cannot pull the revision's image."""
    NODES_FAILED = "NodesFailed"
    """The revision failed on nodes, or nodes stopped serving it, and the others serve it."""

    # Ready, Stalled: the API server refuses what the operator writes
    QUOTA_EXCEEDED = "QuotaExceeded"
    """A ResourceQuota of the namespace refuses a Job, DaemonSet or Service."""
    ADMISSION_DENIED = "AdmissionDenied"
    """A webhook, a policy, Pod Security or a LimitRange refuses an object."""
    FORBIDDEN = "Forbidden"
    """The operator lacks a right that it needs; see the chart's RBAC."""
    NAME_TAKEN = "NameTaken"
    """A Service of the EdgeModel's name exists that is not the EdgeModel's; rename one of them."""
