"""Every label, annotation and object name, made in one place so that no two places can spell one differently."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

GROUP = "edgesmith.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

DEFAULT_NAMESPACE = "edgesmith-system"
"""Where the operator is installed, unless somebody says otherwise."""

FIELD_MANAGER = "edgesmith"
"""Owns every object and label that the operator applies; changing it would orphan their fields."""

STATUS_MANAGER = "edgesmith-status"
"""Owns the status of EdgeModels and DeviceProfiles."""

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "edgesmith"

COMPONENT_LABEL = "app.kubernetes.io/component"
"""On every pod: what it does, so that a Service cannot take a build pod for a server."""
SERVER = "server"
BUILDER = "builder"
TRIAL = "trial"
STAGING = "staging"
HOLDING = "holding"
REPORTER = "reporter"
RETRAINING = "retraining"

MODEL_LABEL = f"{GROUP}/model"
"""On every child: the EdgeModel's name."""
PROFILE_LABEL = f"{GROUP}/profile"
"""On Jobs, DaemonSets and serving pods: the DeviceProfile's name."""
REVISION_LABEL = f"{GROUP}/revision"
"""On DaemonSets and serving pods: the revision they are."""
UPLINK_LABEL = f"{GROUP}/uplink"
"""On serving pods that send to a bucket: NetworkPolicies let them."""
REPORTS_LABEL = f"{GROUP}/reports"
"""On pods that report what servers say of drift: the revision of those."""
EPISODE_LABEL = f"{GROUP}/episode"
"""On Jobs that an episode of drift started: which."""
RETRAINING_LABEL = f"{GROUP}/retraining"
"""On the same: `event`, or `job` for one that trains."""
HELD_LABEL = f"{GROUP}/held"
"""On pods that hold an image: the revision it is of."""
BUILD_KEY_LABEL = f"{GROUP}/build-key"
"""On build Jobs: the key that they make."""

RESOLVE_LABEL = f"{GROUP}/resolve"
"""On resolve Jobs: the files that they look at, as a hash; see `edgesmith.decide.sources`."""

TRIAL_LABEL = f"{GROUP}/trial"
"""On trial pods: the trial that they are of; see `edgesmith.decide.trials`."""

BUILD_REASON_ANNOTATION = f"{GROUP}/build-reason"
"""On build Jobs: why the build was needed, with old and new value, as JSON."""
ATTEMPT_ANNOTATION = f"{GROUP}/attempt"
"""On build and resolve Jobs: the attempt they answer."""
TRIES_ANNOTATION = f"{GROUP}/tries"
"""On build and resolve Jobs: how many Jobs for the same and the same attempt failed before this one."""
NUMBER_ANNOTATION = f"{GROUP}/number"
"""On build and resolve Jobs: which of its EdgeModel's Jobs it is; a later one has a higher number."""
ASKED_ANNOTATION = f"{GROUP}/asked"
"""On build and resolve Jobs: when the operator made it, by its own clock."""
REQUEST_ANNOTATION = f"{GROUP}/request"
REGISTRY_CA_ANNOTATION = f"{GROUP}/registry-ca"
BUCKET_CA_ANNOTATION = f"{GROUP}/bucket-ca"
"""On pods of Jobs: what the builder reads as a file, the request as JSON or certificates in PEM."""
BUILD_ANNOTATION = f"{GROUP}/build"
"""On DaemonSets: the `Build` that the revision's image answers, as JSON, so that the next one can say what changed."""
BUILT_IMAGE_ANNOTATION = f"{GROUP}/built-image"
"""On DaemonSets: the image under the build's tag, where a trial chose another of its finalists."""
RETRY_ANNOTATION = f"{GROUP}/retry"
"""On EdgeModels, set by the user: a new value gives failed builds and rolled back revisions another try."""

NODE_LABEL_SUFFIX = "edgesmith.dev.node-restriction.kubernetes.io"
"""NodeRestriction lets no kubelet write labels under this, so that no node chooses its revision.

The annotation of the same key holds what the operator saw of the node; see `edgesmith.decide.record`."""

_NEXT = "next"
_KEYS_KEPT = 1024
"""Labels whose next label is kept, for speed alone: a pass asks for one and the same of every node."""
_STAGING = ".staging"

MAX_MODEL_NAME = 46
"""An EdgeModel's longest name: with a revision behind it, it must still name a DaemonSet (63 with the pod's suffix)."""


def node_label(namespace: str, name: str) -> str:
    """The node label that says which revision of an EdgeModel the node is to run."""
    return f"{namespace}.{NODE_LABEL_SUFFIX}/{name}"


@lru_cache(maxsize=_KEYS_KEPT)
def next_label(key: str) -> str:
    """The node label that says which revision the node makes ready beside the one that it runs.

    Its value is the revision, whose server then runs beside the old one, or `staging_value` of it.

    Args:
        key: The label that says which revision the node is to run, as `node_label` has it.
    """
    namespace, _, rest = key.partition(".")
    return f"{namespace}.{_NEXT}.{rest}"


def staging_value(revision: str) -> str:
    """The value of the `next_label` of a node that is to pull and test a revision, and not to serve it yet."""
    return f"{revision}{_STAGING}"


def parse_next(value: str | None) -> tuple[str | None, bool]:
    """The revision that a value of the `next_label` names, and whether it is only to be staged."""
    if not value:
        return None, False
    return value.removesuffix(_STAGING), value.endswith(_STAGING)


def parse_node_label(key: str) -> tuple[str, str] | None:
    """The (namespace, name) that a node label is about, or None where it is not one of ours."""
    prefix, slash, name = key.partition("/")
    if not slash or not prefix.endswith(f".{NODE_LABEL_SUFFIX}"):
        return None
    return prefix.removesuffix(f".{NODE_LABEL_SUFFIX}").removesuffix(f".{_NEXT}"), name


def daemon_set_name(model: str, revision: str) -> str:
    """The DaemonSet that runs one revision."""
    return f"{model}-{revision}"


def staging_name(daemon_set: str) -> str:
    """The DaemonSet that stages the revision of a DaemonSet."""
    return f"{daemon_set}-staging"


def holding_name(daemon_set: str) -> str:
    """The DaemonSet that holds the image of the revision of a DaemonSet."""
    return f"{daemon_set}-held"


def reporting_name(daemon_set: str) -> str:
    """The DaemonSet that reports what the servers of a DaemonSet say of drift."""
    return f"{daemon_set}-drift"


def retraining_name(model: str, episode: str, what: str) -> str:
    """The Job that an episode of drift starts: 63 characters at most.

    Args:
        model: The EdgeModel's name.
        episode: The episode.
        what: `event` or `job`.
    """
    return f"{model[:40]}-{what}-{episode}"


def job_name(key: str, attempt: str = "", tries: int = 0) -> str:
    """The Job that makes one build, for whichever EdgeModels of its namespace want it: 31 characters.

    Args:
        key: The build key.
        attempt: The attempt that the Job answers; see `edgesmith.decide.attempts.attempt_of`.
        tries: How many Jobs for the same key and attempt failed before this one.
    """
    suffix = f"-{short_hash(f'{attempt}/{tries}', 4)}" if attempt or tries else ""
    return f"build-{key[:20]}{suffix}"


def resolve_job_name(model: str, key: str, attempt: str, number: int) -> str:
    """The Job that makes one look at an EdgeModel's files: 63 characters at most.

    Args:
        model: The EdgeModel's name.
        key: The files, as a hash.
        attempt: The attempt that the Job answers; see `edgesmith.decide.digests.attempt_of`.
        number: Which of the EdgeModel's Jobs it is.
    """
    return f"{model}-look-{short_hash('/'.join((key, attempt, str(number))))}"


def trial_pod_name(model: str, trial: str, node: str, precisions: Sequence[str]) -> str:
    """The pod that tries some finalists on a node: 63 characters at most."""
    return f"{model}-trial-{short_hash('/'.join((trial, node, *precisions)))}"


def short_hash(text: str, length: int = 10) -> str:
    """The first `length` hex digits of the text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]
