"""What we know of the cluster, in memory, as the nouns that decisions read.

Two fill it: the controller from a listing, from its watches and from the answers to its own writes; the CLI from one
listing. An object is taken only where it is newer than the one we have, so a pass always sees what the pass before it
wrote, however late the watch is: without that, a rollout could move a second node before it has seen that the first was
moved.

An EdgeModel or DeviceProfile that cannot be read is kept as `Unreadable`, apart from those that can: it exists, and
nothing of what belongs to it may be removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from sys import intern
from typing import Any

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import (
    BUILD_KEY_LABEL,
    COMPONENT_LABEL,
    EPISODE_LABEL,
    HOLDING,
    MODEL_LABEL,
    REPORTER,
    REPORTS_LABEL,
    RESOLVE_LABEL,
    REVISION_LABEL,
    STAGING,
    TRIAL_LABEL,
)
from edgesmith.cluster import parse, parse_build, parse_drift, parse_trial
from edgesmith.cluster.fields import Raw, mapping, text, version_number
from edgesmith.cluster.kinds import DAEMON_SET, DEVICE_PROFILE, EDGE_MODEL, JOB, NODE, POD, Kind
from edgesmith.cluster.parse_build import BuildPod
from edgesmith.cluster.table import Entry, ObjectChange, ObjectKey, Table
from edgesmith.cluster.unreadable import Unreadable
from edgesmith.decide.drift import Report
from edgesmith.decide.snapshot import (
    BuildJob,
    HoldingSet,
    Node,
    Pod,
    ReportingSet,
    ResolveJob,
    RetrainingJob,
    Revision,
    StagingSet,
    TrialPod,
)

CHILDREN = (POD, JOB, DAEMON_SET)
"""Read by label: everybody else's pods are none of our business, and would fill our memory."""
WATCHED = (EDGE_MODEL, DEVICE_PROFILE, NODE, *CHILDREN)
WATCHED_WITHOUT_BUILDS = tuple(kind for kind in WATCHED if kind is not JOB)
"""Where no builds are made there are no Jobs, and no right to list them."""
_TOMBSTONES = 4096
_READERS: dict[Kind, Callable[[Raw], Any]] = {
    EDGE_MODEL: parse.edge_model,
    DEVICE_PROFILE: parse.device_profile,
    NODE: parse.node,
    JOB: parse_build.job,
    DAEMON_SET: parse.revision,
}


class Objects:
    """Everything we know of the cluster."""

    def __init__(self, kinds: Sequence[Kind] = WATCHED) -> None:
        """Know nothing yet.

        Args:
            kinds: What is read of the cluster.
        """
        self.kinds = tuple(kinds)
        self.models: Table[EdgeModel] = Table()
        self.profiles: Table[DeviceProfile] = Table()
        self.nodes: Table[Node] = Table()
        self.pods: Table[Pod] = Table()
        self.build_pods: Table[BuildPod] = Table()
        self.trial_pods: Table[TrialPod] = Table()
        self.jobs: Table[BuildJob] = Table(group=attrgetter("key"))
        self.resolve_jobs: Table[ResolveJob] = Table()
        self.retraining_jobs: Table[RetrainingJob] = Table()
        self.revisions: Table[Revision] = Table()
        self.staging: Table[StagingSet] = Table()
        self.holding: Table[HoldingSet] = Table()
        self.reporting: Table[ReportingSet] = Table()
        self.reports: Table[Report] = Table()
        self._unreadable: dict[Kind, Table[Unreadable]] = {EDGE_MODEL: Table(), DEVICE_PROFILE: Table()}
        self._complete: set[Kind] = set()
        self._tombstones: dict[str, int] = {}

    def unreadable(self, kind: Kind) -> Mapping[ObjectKey, Unreadable]:
        """The objects of a kind that exist and cannot be read, by key."""
        table = self._unreadable.get(kind, Table())
        return dict(zip(table.keys(), table.all(), strict=True))

    def complete(self, kind: Kind) -> bool:
        """Whether every object of a kind has been taken in: only then is one that is not known not there."""
        return kind in self._complete

    def completed(self, kind: Kind) -> None:
        """Say that a listing of every object of a kind, in every namespace, has been taken in."""
        self._complete.add(kind)

    def newest(self, kind: Kind) -> int:
        """The highest resourceVersion of any object of a kind; 0 where there is none."""
        return max(table.newest() for table in self._tables(kind))

    def put(self, kind: Kind, raw: Raw) -> ObjectChange | None:
        """Take in an object as it was read; None where it says nothing new."""
        key, uid, version = _identity(raw)
        if self._is_deleted(uid, version):
            return None
        place, had = self._find(kind, key)
        if had and version and had.version >= version:
            return None
        table, noun = self._read(kind, raw)
        if place is not None and place is not table:
            place.drop(key)
        old = had.noun if had else None
        if table is None:
            return ObjectChange(kind, key, had.model, old, None) if had else None
        model = parse.labels_of(raw).get(MODEL_LABEL, "") if kind.namespaced else ""
        table.set(key, Entry(noun, version, uid, parse.owner_of(raw), model))
        return None if old == noun else ObjectChange(kind, key, model, old, noun)

    def suppose(self, kind: Kind, raw: Raw) -> None:
        """Take in an object that is not there: as a dry run says that it would be."""
        key, uid, _ = _identity(raw)
        place, _ = self._find(kind, key)
        if place is not None:
            place.drop(key)
        table, noun = self._read(kind, raw)
        if table is not None:
            table.set(key, Entry(noun, 0, uid, "", ""))

    def remove(self, kind: Kind, raw: Raw) -> ObjectChange | None:
        """Forget an object that is gone, or out of our labels' reach.

        A watch by label reports both alike. What is newer than the report is there again and is kept.

        Args:
            kind: Its kind.
            raw: The object as it was reported, with the resourceVersion of its deletion.

        Returns:
            The change; None where we did not know it, or know something newer.
        """
        key, uid, version = _identity(raw)
        _, had = self._find(kind, key)
        if had and had.uid == uid and version and had.version > version:
            return None
        if uid:
            self._tombstones[uid] = version
            if len(self._tombstones) > _TOMBSTONES:
                del self._tombstones[next(iter(self._tombstones))]
        return self._remove(kind, key, uid)

    def retain(self, kind: Kind, uids: Iterable[str], version: str) -> list[ObjectChange]:
        """Forget the objects that a listing did not hold.

        A watch that was cut for longer than the API server remembers starts anew with a listing, and what was deleted
        in between is never reported.

        Args:
            kind: What was listed.
            uids: What the listing held.
            version: The listing's own resourceVersion: what we know to be newer is kept.
        """
        listed, newest = set(uids), version_number(version)
        changes = []
        for table in self._tables(kind):
            known = table.keys()
            for key in known:
                entry = table.entry(key)
                if entry and entry.uid not in listed and entry.version <= newest:
                    change = self._remove(kind, key, entry.uid)
                    changes += [change] if change else []
        return changes

    def replace(self, fresh: Objects) -> None:
        """Take over what another one knows in place of everything known here, whatever the versions."""
        self.__dict__.update(fresh.__dict__)

    def _find(self, kind: Kind, key: ObjectKey) -> tuple[Table[Any] | None, Entry[Any] | None]:
        """Where an object of a name is, and the object."""
        for table in self._tables(kind):
            entry = table.entry(key)
            if entry:
                return table, entry
        return None, None

    def _remove(self, kind: Kind, key: ObjectKey, uid: str) -> ObjectChange | None:
        table, entry = self._find(kind, key)
        if table is None or entry is None or entry.uid != uid:
            return None
        table.drop(key)
        return ObjectChange(kind, key, entry.model, entry.noun, None)

    def _is_deleted(self, uid: str, version: int) -> bool:
        """Whether this is older than the object's deletion: the answer to a write from before, that was on its way.

        A newer one is there again: its label was taken off, which a watch by label reports as a deletion, and put back.
        """
        deleted = self._tombstones.get(uid)
        if deleted is None:
            return False
        if deleted and version > deleted:
            del self._tombstones[uid]
            return False
        return True

    def _tables(self, kind: Kind) -> tuple[Table[Any], ...]:
        tables: dict[Kind, tuple[Table[Any], ...]] = {
            EDGE_MODEL: (self.models, self._unreadable[EDGE_MODEL]),
            DEVICE_PROFILE: (self.profiles, self._unreadable[DEVICE_PROFILE]),
            NODE: (self.nodes,),
            POD: (self.pods, self.build_pods, self.trial_pods, self.reports),
            JOB: (self.jobs, self.resolve_jobs, self.retraining_jobs),
            DAEMON_SET: (self.revisions, self.staging, self.holding, self.reporting),
        }
        return tables[kind]

    def _read(self, kind: Kind, raw: Raw) -> tuple[Table[Any] | None, Any]:
        """Read an object and say where it belongs; nowhere for a pod that is not ours or of which nothing is known."""
        if kind is POD:
            return self._read_pod(raw)
        if kind is JOB and (found := self._read_job(raw)):
            return found
        component = parse.labels_of(raw).get(COMPONENT_LABEL) if kind is DAEMON_SET else None
        if component == STAGING:
            return self.staging, parse.staging_set(raw)
        if component == HOLDING:
            return self.holding, parse.holding_set(raw)
        if component == REPORTER:
            return self.reporting, parse.reporting_set(raw)
        noun = _READERS[kind](raw)
        return self._tables(kind)[isinstance(noun, Unreadable)], noun

    def _read_job(self, raw: Raw) -> tuple[Table[Any], Any] | None:
        """Read a Job that makes no build."""
        labels = parse.labels_of(raw)
        if RESOLVE_LABEL in labels:
            return self.resolve_jobs, parse_build.resolve_job(raw)
        if EPISODE_LABEL in labels:
            return self.retraining_jobs, parse_drift.retraining_job(raw)
        return None

    def _read_pod(self, raw: Raw) -> tuple[Table[Any] | None, Any]:
        labels = parse.labels_of(raw)
        if labels.get(REVISION_LABEL):
            return self.pods, parse.pod(raw)
        if labels.get(TRIAL_LABEL):
            return self.trial_pods, parse_trial.trial_pod(raw)
        if labels.get(REPORTS_LABEL):
            return self.reports, parse_drift.report(raw)
        build = BUILD_KEY_LABEL in labels or RESOLVE_LABEL in labels or parse_build.JOB_NAME_LABEL in labels
        return (self.build_pods, parse_build.build_pod(raw)) if build else (None, None)


def _identity(raw: Raw) -> tuple[ObjectKey, str, int]:
    """An object's key, UID and resourceVersion."""
    metadata = mapping(raw.get("metadata"))
    key = (intern(text(metadata, "namespace")), text(metadata, "name"))
    return key, text(metadata, "uid"), version_number(metadata.get("resourceVersion"))
