"""An applier between a played API server and what is known of the cluster, and plans for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from played_client import PlayedClient
from snapshots import LABEL, NOW, SETTINGS, model, profile

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import daemon_set_name, job_name
from edgesmith.api.status import Condition, EdgeModelStatus, VariantStatus
from edgesmith.cluster.apply import Applier
from edgesmith.cluster.client import Client
from edgesmith.cluster.done import Done
from edgesmith.cluster.errors import ClusterError
from edgesmith.cluster.job_names import JobNames
from edgesmith.cluster.kinds import EDGE_MODEL, NODE
from edgesmith.cluster.objects import Objects
from edgesmith.controller.watches import Watches
from edgesmith.decide.builds import build_for
from edgesmith.decide.plan import ApplyRevision, Delete, Event, Keep, Move, Plan, StartBuild, StartTrial
from edgesmith.decide.serving import revision_of
from edgesmith.decide.snapshot import Snapshot

IMAGE = f"{SETTINGS.repository}/plant/models@sha256:{'0' * 64}"
MODEL = model()
AMD64, ARM64 = profile(), profile("arm64", platform={"architecture": "arm64"})
PROFILES = {"amd64": AMD64, "arm64": ARM64}
R1, R2 = (revision_of(one, IMAGE, MODEL, SETTINGS) for one in PROFILES.values())
DS1, DS2 = daemon_set_name("parts", R1), daemon_set_name("parts", R2)
JOB = f"create Job {job_name(build_for(MODEL, AMD64, SETTINGS).key)}"
REVISIONS = {"amd64": R1, "arm64": R2}


def condition(kind: str, status: Any = "True", reason: str = "Canary") -> Condition:
    return Condition(
        type=kind, status=status, reason=reason, message="As planned.", last_transition_time="2030-01-01T11:00:00Z",
        observed_generation=1,
    )  # fmt: skip


STATUS = EdgeModelStatus(
    observed_generation=1,
    conditions=(condition("Ready", "False"), condition("Reconciling"), condition("BuildsReady", reason="Succeeded")),
    variants=tuple(VariantStatus(profile=name, state="Canary", message="As planned.") for name in PROFILES),
)


def plan(
    *,
    revisions: Iterable[str] = (),
    moves: Iterable[Move] = (),
    records: Iterable[Keep] = (),
    builds: Iterable[str] = (),
    trials: Iterable[str] = (),
    deletes: Iterable[Delete] = (),
    service: bool = False,
    events: Iterable[Event] = (),
    status: EdgeModelStatus = STATUS,
) -> Plan:
    """A plan; revisions, builds and trials by their profile."""
    return Plan(
        tuple(
            ApplyRevision(PROFILES[name], REVISIONS[name], IMAGE, build_for(MODEL, PROFILES[name], SETTINGS))
            for name in revisions
        ),
        status,
        tuple(moves),
        tuple(records),
        tuple(
            StartBuild(PROFILES[name], build_for(MODEL, PROFILES[name], SETTINGS), "", (), NOW, 1) for name in builds
        ),
        tuple(StartTrial(PROFILES[name], "t", "n0", {"int8": IMAGE, "fp32": IMAGE}) for name in trials),
        tuple(deletes),
        service=service,
        events=tuple(events),
        pending=(),
        look_again=None,
    )


class Hub:
    """A client, what is known of the cluster, and the applier between them."""

    def __init__(self, nodes: int = 3) -> None:
        self.client = PlayedClient()
        self.objects = Objects()
        self.seconds = 0.0
        self.others: tuple[EdgeModel, ...] = ()
        self.due: list[str] = []
        """Whose passes were asked for."""
        for number in range(nodes):
            metadata = {"name": f"n{number}", "labels": {LABEL: "before"}}
            self.objects.put(NODE, self.client.put(NODE, {"metadata": metadata}))
        raw = MODEL.model_dump(by_alias=True, exclude_none=True)
        raw["metadata"] = {"name": "parts", "namespace": "plant", "uid": "u"}
        self.client.objects["EdgeModel", "parts"] = raw | {"kind": "EdgeModel"}
        self.objects.put(EDGE_MODEL, raw | {"status": {}})
        self.names = JobNames(lambda: self.seconds)
        client = cast("Client", self.client)
        self.watches = Watches(
            client, self.objects, ask=lambda key: self.due.append(key[1]), noticed=self.names.changed,
            loaded=lambda: None, namespace="system", holder="i", clock=lambda: self.seconds,
        )  # fmt: skip
        self.applier = Applier(
            client, self.objects, self.names, changed=self.watches.changed, instance="i", clock=lambda: self.seconds
        )

    async def apply(self, wanted: Plan, now: datetime = NOW) -> Done:
        known = self.objects.models.get("plant", "parts")
        found = self.objects.revisions.all()
        waiting, holding = self.objects.staging.all(), self.objects.holding.all()
        pair = (AMD64, ARM64)
        seen = Snapshot(known or MODEL, SETTINGS, pair, (), (), (), found, {}, staging=waiting, holding=holding)
        return await self.applier.apply(wanted, replace(seen, others=self.others), now)

    async def refused(self, wanted: Plan, now: datetime = NOW) -> list[ClusterError]:
        """What the API server said against a pass; at least one thing."""
        found = [refusal.error for refusal in (await self.apply(wanted, now)).refusals]
        assert found
        return found

    def asked(self) -> list[str]:
        """The calls since the last time."""
        found, self.client.calls[:] = list(self.client.calls), []
        return found

    @property
    def said(self) -> dict[str, tuple[str, str]]:
        """Conditions of the last status as type: (status, reason)."""
        return {one["type"]: (one["status"], one["reason"]) for one in self.client.statuses[-1]["conditions"]}

    @property
    def variants(self) -> dict[str, tuple[str | None, str]]:
        """Variants of the last status as profile: (reason, message)."""
        return {one["profile"]: (one.get("reason"), one["message"]) for one in self.client.statuses[-1]["variants"]}
