"""Argo CD's health, and Flux's status, of EdgeModels that the operator itself brought into each state of a rollout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from apiserver import ApiServer, Object, path_of, wait_for
from build_outcomes import finish_build, push_build
from gitops_states import STATES
from gitops_verdict import ask
from kubelets import BAD, GOOD, Kubelets
from operator_process import Operator, device_profile, edge_model
from yaml_files import read

from edgesmith.api.names import BUILD_KEY_LABEL

SETTINGS = read(Path(__file__).resolve().parents[2] / "deploy/argocd/argocd-cm.yaml")["data"]
SLOW = {"steps": [{"nodes": 1, "bake": "1h"}, {"nodes": 2, "bake": "1h"}], "maxUnavailable": 1}


@dataclass
class Seen:
    """The only EdgeModel of a namespace, and how it was when it was seen in a state."""

    server: ApiServer
    namespace: str
    objects: dict[str, tuple[Object, str]] = field(default_factory=dict)
    """By the state's name in `gitops_states`: the object as the API server had it, and a part of the message."""

    def model(self) -> Object:
        return self.server.get("edgemodels", "parts", self.namespace) or {}

    def edit(self, **spec: Any) -> None:
        self.server.patch("edgemodels", "parts", {"spec": spec}, self.namespace)

    def wait(self, state: str, says: str, holds: Callable[[Object], bool]) -> Object:
        """Wait until the operator's newest status has this, and keep the object; its only variant."""

        def settled() -> Object | None:
            found = self.model()
            status = found.get("status") or {}
            seen = status.get("observedGeneration") == found["metadata"]["generation"]
            return found if seen and status.get("variants") and holds(status["variants"][0]) else None

        found = wait_for(f"it is {state}: {says}", settled, 60)
        self.objects[state] = found, says
        variant: Object = found["status"]["variants"][0]
        return variant


def is_(state: str, updated: int = -1) -> Callable[[Object], bool]:
    """Whether a variant is in a state, with the newest revision on so many nodes."""
    return lambda one: one["state"] == state and updated in (-1, one["nodes"]["updated"])


def _closed() -> Object:
    """A window of an hour that opens in two hours."""
    start = datetime.now(UTC) + timedelta(hours=2)
    return {"start": f"{start:%H:%M}", "end": f"{start + timedelta(hours=1):%H:%M}"}


@pytest.mark.timeout(180)
async def test_argo_cd_calls_each_state_that_the_operator_produces_by_its_name(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator
) -> None:
    seen = Seen(server, namespace)
    await _first_revision(seen, kubelets, operator)
    _a_revision_in_its_steps(seen)
    _a_node_that_is_away(seen, kubelets)
    _a_gate_that_refuses(seen)
    _a_canary_that_fails(seen, kubelets)
    _deletion(seen)

    states = {one.name: one for one in STATES}
    live = [one for one, _ in seen.objects.values()]
    healths = ask(SETTINGS, [{"verdict": "health", "object": one} for one in live])
    expected = [(name, states[name].health, states[name].kstatus) for name in seen.objects]
    statuses = ask(SETTINGS, [{"verdict": "kstatus", "object": one} for one in live])
    found = zip(seen.objects, healths, statuses, strict=True)
    assert [(name, health["status"], status["status"]) for name, health, status in found] == expected
    for (name, (_, says)), health in zip(seen.objects.items(), healths, strict=True):
        assert says in health["message"], name


async def _first_revision(seen: Seen, kubelets: Kubelets, operator: Operator) -> None:
    server, namespace = seen.server, seen.namespace
    profile = f"{namespace}-device"
    for number in (1, 2, 3):
        kubelets.add(f"{namespace}-{number}", profile)
    server.apply([device_profile(profile), edge_model("parts", namespace)])
    seen.objects["unseen"] = seen.model(), "has not looked at this generation"
    operator.start()
    seen.wait("building", f"Building for {profile}.", is_("Building"))
    job = wait_for("a build Job", lambda: next(iter(server.items("jobs", namespace)), None))
    image = await push_build(operator.registry, namespace, job["metadata"]["labels"][BUILD_KEY_LABEL])
    finish_build(server, job, image)
    seen.wait("complete", "Serving on 3 of 3 nodes.", is_("Complete", 3))


def _a_revision_in_its_steps(seen: Seen) -> None:
    """Another port is another revision of the same image. It is held in each state until the next edit."""
    seen.edit(serving={"port": 8100}, rollout=SLOW)
    canary = seen.wait("canary", "is in its first step and must serve for the bake", is_("Canary", 1))
    seen.edit(rollout={"paused": True})
    seen.wait("paused", "is on 1 of 3 nodes; spec.rollout.paused is true", is_("Paused", 1))
    seen.edit(rollout={"paused": None, "windows": [_closed()]})
    seen.wait("waiting-for-window", "is on 1 of 3 nodes; no window is open", is_("WaitingForWindow", 1))
    seen.edit(rollout={"windows": None, "promote": [{"revision": canary["revision"], "steps": 1}]})
    seen.wait("rolling-out", "is on 2 of 3 nodes", is_("RollingOut", 2))
    seen.edit(rollout={"promote": [{"revision": canary["revision"]}]})
    seen.wait("updated", "Serving on 3 of 3 nodes.", is_("Complete", 3))


def _a_node_that_is_away(seen: Seen, kubelets: Kubelets) -> None:
    name = f"{seen.namespace}-2"
    kubelets.cut(name)
    seen.wait("nodes-offline", "Serving on 2 of 3 nodes, 1 NotReady.", lambda one: one["nodes"].get("notReady") == 1)
    kubelets.heal(name)


def _a_gate_that_refuses(seen: Seen) -> None:
    """The build is judged anew: no Job, and every node serves what it has."""
    seen.edit(gates={"maxImageSize": "4k"})
    seen.wait("gates-failed", "at most 4000 are allowed by spec.gates.maxImageSize", is_("BuildFailed"))
    seen.edit(gates=None)
    wait_for("it serves", lambda: is_("Complete", 3)(seen.model()["status"]["variants"][0]))


def _a_canary_that_fails(seen: Seen, kubelets: Kubelets) -> None:
    (good,) = {one["revision"] for one in seen.model()["status"]["variants"]}
    kubelets.verdicts[seen.namespace] = lambda _, revision: GOOD if revision == good else BAD
    seen.edit(serving={"port": 8101})
    says = "was rolled back (CanaryFailed): "
    seen.wait("rolled-back", says, is_("RolledBack"))


def _deletion(seen: Seen) -> None:
    """As Argo CD prunes: the object is there until the garbage collector has seen to what it owns."""
    _, version = seen.server.listing("edgemodels")
    path = path_of("edgemodels", seen.namespace, "parts")
    seen.server.request("DELETE", path, {"propagationPolicy": "Foreground"})
    for event in seen.server.watch("edgemodels", version, 30):
        if "deletionTimestamp" in event["object"]["metadata"]:
            seen.objects["deleting"] = event["object"], "Pending deletion"
            break
    else:
        raise AssertionError("no event of its deletion came")
    wait_for("it is gone", lambda: not seen.model())
