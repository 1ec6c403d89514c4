"""Kubernetes objects as the nouns that decisions know. Pure; every field is checked, since anybody may write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from sys import intern
from types import MappingProxyType
from typing import Any

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import (
    BUILD_ANNOTATION,
    BUILT_IMAGE_ANNOTATION,
    COMPONENT_LABEL,
    PROFILE_LABEL,
    REVISION_LABEL,
    STAGING,
    parse_node_label,
)
from edgesmith.api.units import parse_bytes
from edgesmith.cluster.fields import Raw, at, json_object, mapping, mappings, number, text, time_of
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL
from edgesmith.cluster.parse_room import open_look, room_in
from edgesmith.cluster.parse_status import readable
from edgesmith.cluster.pulling import pull_cause
from edgesmith.cluster.unreadable import Unreadable, unreadable
from edgesmith.decide.devices import is_device
from edgesmith.decide.server import PULL_REASONS
from edgesmith.decide.snapshot import HoldingSet, Node, Pod, ReportingSet, Revision, SelfTest, StagingSet
from edgesmith.decide.taints import Taint, with_pressures
from edgesmith.resources.room import DISK_FULL, ROOM
from edgesmith.resources.uplink import UPLINK

SELFTEST = "selftest"
"""The init container that tests a bundle on the device."""

_STARTING = {"ContainerCreating", "PodInitializing"}
_SENTENCE_LIMIT = 1000
_DEVICES_KEPT = 256
"""Descriptions of devices that are shared between pods, for memory alone."""
_EPOCH = datetime.fromtimestamp(0, UTC)


def labels_of(raw: Raw) -> dict[str, str]:
    """An object's labels. The same few strings stand on thousands of objects: each is kept once."""
    found = mapping(at(raw, "metadata", "labels"))
    return {intern(key): intern(value) for key, value in found.items() if isinstance(value, str)}


def annotations_of(raw: Raw) -> dict[str, str]:
    """An object's annotations."""
    found = mapping(at(raw, "metadata", "annotations"))
    return {key: value for key, value in found.items() if isinstance(value, str)}


def controller_of(raw: Raw) -> Raw:
    """The reference to an object's controller; empty where it has none."""
    references = mappings(at(raw, "metadata", "ownerReferences"))
    return next((one for one in references if one.get("controller") is True), {})


def owner_of(raw: Raw) -> str:
    """The UID of an object's controller, or an empty string."""
    return intern(text(controller_of(raw), "uid"))


def edge_model(raw: Raw) -> EdgeModel | Unreadable:
    """An EdgeModel; `Unreadable` where the API server let something through that is none (another schema, say).

    Its status does not make it one: what of that cannot be read is left out, and `unread` names it.
    """
    status, unread = readable(at(raw, "status"))
    try:
        found = EdgeModel.model_validate({**mapping(raw), "status": status})
    except (ValueError, ArithmeticError) as error:
        return unreadable(EDGE_MODEL, raw, error)
    metadata = found.metadata.model_copy(update={"owners": owners_of(raw)})
    return found.model_copy(update={"metadata": metadata, "unread": unread})


def owners_of(raw: Raw) -> dict[str, str]:
    """Field of an object's spec to the field manager that wrote it last, by `metadata.managedFields`.

    A field of `rollout` is one of its own: `rollout.paused`. Of several managers that own parts of a field it is the
    one whose entry is the newest; an entry's time says when its manager last wrote.
    """
    found: dict[str, str] = {}
    entries = [one for one in mappings(at(raw, "metadata", "managedFields")) if not one.get("subresource")]
    for entry in sorted(entries, key=lambda one: text(one, "time")):
        fields = mapping(at(entry, "fieldsV1", "f:spec"))
        nested = mapping(fields.get("f:rollout"))
        paths = [name for name in fields if name != "f:rollout"] + [f"f:rollout.{name}" for name in nested]
        for path in paths:
            found[intern(path.replace("f:", ""))] = intern(text(entry, "manager"))
    return found


def device_profile(raw: Raw) -> DeviceProfile | Unreadable:
    """A DeviceProfile; `Unreadable` where the API server let something through that is none."""
    try:
        return DeviceProfile.model_validate(raw)
    except (ValueError, ArithmeticError) as error:
        return unreadable(DEVICE_PROFILE, raw, error)


def node(raw: Raw) -> Node:
    """A node; ready where the kubelet's Ready condition is True."""
    ready = _condition(raw, "Ready")
    taints = tuple(
        Taint(text(taint, "key"), text(taint, "value"), text(taint, "effect"))
        for taint in mappings(at(raw, "spec", "taints"))
    )
    return Node(
        name=intern(text(raw, "metadata", "name")),
        labels=labels_of(raw),
        ready=ready.get("status") == "True",
        unheard=time_of(ready.get("lastTransitionTime")) if ready.get("status") == "Unknown" else None,
        boot=text(raw, "status", "nodeInfo", "bootID"),
        taints=with_pressures(taints, _holding(raw)),
        records={intern(key): value for key, value in annotations_of(raw).items() if parse_node_label(key)},
        offers={
            intern(resource): _count(quantity)
            for resource, quantity in mapping(at(raw, "status", "allocatable")).items()
            if is_device(resource)
        },
    )


def _count(quantity: Any) -> int:
    """How many devices a quantity is; what is none is none."""
    try:
        return parse_bytes(quantity)
    except ValueError:
        return 0


def pod(raw: Raw) -> Pod:
    """A serving pod."""
    # Whether samples are sent, or there is room on the disk, says nothing of a revision.
    before = list(mappings(at(raw, "status", "initContainerStatuses")))
    containers = [status for status in before if status.get("name") not in (UPLINK, ROOM)]
    containers += mappings(at(raw, "status", "containerStatuses"))
    look = open_look(raw)
    waiting, waiting_message = _waiting([*([look] if look else []), *containers])
    looked = _verdict(look) if look else None
    return Pod(
        name=text(raw, "metadata", "name"),
        node=intern(text(raw, "spec", "nodeName") or _affinity_node(raw)),
        revision=labels_of(raw).get(REVISION_LABEL, ""),
        created=time_of(at(raw, "metadata", "creationTimestamp")) or _EPOCH,
        ready=_condition(raw, "ContainersReady").get("status") == "True",
        terminating=bool(at(raw, "metadata", "deletionTimestamp")),
        restarts=max((int(number(status.get("restartCount")) or 0) for status in containers), default=0),
        waiting=waiting,
        waiting_message=waiting_message,
        selftest=_selftest(raw),
        stage=_stage(raw),
        pulled=any(_made(status) for status in containers),
        staging=labels_of(raw).get(COMPONENT_LABEL) == STAGING,
        ended=_ended(raw),
        lacks=looked.message.rstrip(".") if looked and looked.reason == DISK_FULL else "",
    )


def _ended(raw: Raw) -> SelfTest | None:
    """Why the run before this one of a server that is ready ended itself."""
    for status in mappings(at(raw, "status", "containerStatuses")):
        if status.get("ready") is True:
            found = selftest(at(status, "lastState", "terminated", "message"))
            if found and not found.passed:
                return found
    return None


def _made(status: Raw) -> bool:
    """Whether a container was made: it has the id of an image that is on the node, runs, or has run."""
    ran = any(at(status, "state", state) is not None for state in ("running", "terminated"))
    return ran or bool(text(status, "imageID")) or bool(number(status.get("restartCount")))


def _stage(raw: Raw) -> str:
    """What a pod is at while the kubelet gives no reason of its own, as the end of a sentence."""
    if text(raw, "status", "phase") == "Failed":
        said = ": ".join(part for part in (text(raw, "status", "reason"), text(raw, "status", "message")) if part)
        return f"its pod failed: {said[:_SENTENCE_LIMIT]}" if said else "its pod failed"
    if not text(raw, "spec", "nodeName"):
        said = text(_condition(raw, "PodScheduled"), "message")[:_SENTENCE_LIMIT].rstrip(".")
        return f"its pod cannot be scheduled: {said}" if said else "its pod waits for the scheduler"
    for status in mappings(at(raw, "status", "initContainerStatuses")):
        if at(status, "state", "running") is not None and status.get("name") != UPLINK:
            return f"its pod runs the init container {text(status, 'name')}"
    statuses = list(mappings(at(raw, "status", "initContainerStatuses")))
    statuses += mappings(at(raw, "status", "containerStatuses"))
    if not statuses or any(text(status, "state", "waiting", "reason") in _STARTING for status in statuses):
        return "its pod waits for its images and volumes"
    return "the readiness probe does not pass"


def revision(raw: Raw) -> Revision:
    """A DaemonSet of ours."""
    annotations = annotations_of(raw)
    template = at(raw, "spec", "template", "spec", "containers")
    return Revision(
        name=text(raw, "metadata", "name"),
        revision=labels_of(raw).get(REVISION_LABEL, ""),
        profile=labels_of(raw).get(PROFILE_LABEL, ""),
        image=next((text(container, "image") for container in mappings(template)), ""),
        created=time_of(at(raw, "metadata", "creationTimestamp")) or _EPOCH,
        build=json_object(annotations.get(BUILD_ANNOTATION)) or {},
        built=annotations.get(BUILT_IMAGE_ANNOTATION, ""),
        manifest=without_bookkeeping(raw),
    )


def staging_set(raw: Raw) -> StagingSet:
    """A DaemonSet that stages a revision of ours."""
    return StagingSet(labels_of(raw).get(REVISION_LABEL, ""), without_bookkeeping(raw), room_in(raw))


def holding_set(raw: Raw) -> HoldingSet:
    """A DaemonSet that holds the image of a revision of ours."""
    labels = labels_of(raw)
    return HoldingSet(labels.get(REVISION_LABEL, ""), labels.get(PROFILE_LABEL, ""), without_bookkeeping(raw))


def reporting_set(raw: Raw) -> ReportingSet:
    """A DaemonSet that reports what servers of ours say of drift."""
    labels = labels_of(raw)
    return ReportingSet(labels.get(REVISION_LABEL, ""), labels.get(PROFILE_LABEL, ""), without_bookkeeping(raw))


def without_bookkeeping(raw: Raw) -> dict[str, Any]:
    """An object without status and managedFields, which are half of its size and nobody's intent."""
    metadata = {key: value for key, value in mapping(raw.get("metadata")).items() if key != "managedFields"}
    return {key: value for key, value in raw.items() if key != "status"} | {"metadata": metadata}


def selftest(message: Any) -> SelfTest | None:
    """What a termination message says a device found out; None where it is not the runtime's.

    Format: the runtime's self-test writes one JSON object with verdict, reason, message, p50Ms, p95Ms, memoryBytes,
    device and, where something is not as it should be, warning, and where the device changed, recompiled.
    """
    found = json_object(message.strip()) if isinstance(message, str) else None
    if found is None or found.get("verdict") not in ("Passed", "Failed"):
        return None
    memory = number(found.get("memoryBytes"))
    return SelfTest(
        passed=found["verdict"] == "Passed",
        reason=intern(text(found, "reason")),
        message=intern(text(found, "message")[:_SENTENCE_LIMIT]),
        p95_ms=number(found.get("p95Ms")),
        p50_ms=number(found.get("p50Ms")),
        memory_bytes=None if memory is None else int(memory),
        device=_device(json.dumps(mapping(found.get("device")))),
        warning=text(found, "warning")[:_SENTENCE_LIMIT] or None,
        recompiled=text(found, "recompiled")[:_SENTENCE_LIMIT] or None,
    )


@lru_cache(maxsize=_DEVICES_KEPT)
def _device(text: str) -> Mapping[str, Any]:
    """What a self-test says of its device. The same stands in thousands of messages: it is kept once."""
    return MappingProxyType(json.loads(text))


def termination_messages(status: Raw) -> list[str]:
    """What a container left when it ended: now first, then the time before."""
    found = (at(status, "state", "terminated", "message"), at(status, "lastState", "terminated", "message"))
    return [message for message in found if isinstance(message, str) and message]


def _selftest(raw: Raw) -> SelfTest | None:
    """A server that failed after a self-test that passed is the newer word, and the other way round.

    What sends samples is heard as well where it ended itself: the pod is not ready without it.
    """
    before = list(mappings(at(raw, "status", "initContainerStatuses")))
    beside = [status for status in before if status.get("name") == UPLINK]
    for status in (*mappings(at(raw, "status", "containerStatuses")), *beside):
        if status.get("ready") is not True and (found := _verdict(status)) and not found.passed:
            return found
    if (look := open_look(raw)) and (found := _verdict(look)) and found.reason != DISK_FULL:
        return found
    return next((_verdict(status) for status in before if status.get("name") == SELFTEST), None)


def _verdict(status: Raw) -> SelfTest | None:
    """A container's last words, with how many of its tries have ended; one that runs now is not over."""
    found = next((said for message in termination_messages(status) if (said := selftest(message))), None)
    runs = at(status, "state", "running") is not None
    ended = int(number(status.get("restartCount")) or 0) + (0 if runs else 1)
    return replace(found, tries=max(ended, 1)) if found else None


def _waiting(containers: list[Raw]) -> tuple[str | None, str | None]:
    """The first container that waits for something other than its turn."""
    for status in containers:
        reason = text(status, "state", "waiting", "reason")
        if reason and reason not in _STARTING:
            said = text(status, "state", "waiting", "message")
            return reason, (pull_cause(said) if reason in PULL_REASONS else said[:_SENTENCE_LIMIT]) or None
    return None, None


def _condition(raw: Raw, kind: str) -> Raw:
    """A condition, or an empty one."""
    conditions = mappings(at(raw, "status", "conditions"))
    return next((condition for condition in conditions if condition.get("type") == kind), {})


def _holding(raw: Raw) -> set[str]:
    """The conditions that are True."""
    conditions = mappings(at(raw, "status", "conditions"))
    return {text(condition, "type") for condition in conditions if condition.get("status") == "True"}


def _affinity_node(raw: Raw) -> str:
    """The node that the DaemonSet controller made a pod for, before the scheduler has bound it there.

    The controller writes it as a node affinity on the field metadata.name (ReplaceDaemonSetPodNodeNameNodeAffinity).
    """
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    terms = at(raw, "spec", "affinity", "nodeAffinity", required, "nodeSelectorTerms")
    for term in mappings(terms):
        for field in mappings(term.get("matchFields")):
            values = field.get("values")
            if field.get("key") == "metadata.name" and isinstance(values, list) and values:
                return str(values[0])
    return ""
