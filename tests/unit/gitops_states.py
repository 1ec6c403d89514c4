"""EdgeModels in each state that a rollout can be in, as our own planner writes their status.

What Argo CD and Flux are to make of each is written here by hand; the objects are made by `decide`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from clusters import Cluster, publish, three_nodes
from snapshots import model, node, profile

from edgesmith.api.names import GROUP, VERSION
from edgesmith.api.status import UNSEEN

Object = dict[str, Any]

ROLLOUT: Object = {"steps": [{"nodes": 1, "bake": "30s"}], "maxUnavailable": 1, "progressDeadline": "5m"}
SLOW: Object = ROLLOUT | {"steps": [{"nodes": 1, "bake": "1h"}]}
EVALUATION = {"uri": "s3://models/parts/set.npz", "sha256": "e" * 64}


@dataclass(frozen=True)
class State:
    """One state of an EdgeModel.

    Attributes:
        name: Of its file.
        health: What Argo CD is to call it.
        kstatus: What Flux is to call it.
        offered: The actions that a user is offered.
        make: Makes the object.
        says: A part of the message; where empty, the message is that of the condition `Ready`.
    """

    name: str
    health: str
    kstatus: str
    offered: frozenset[str]
    make: Callable[[], Object]
    says: str = ""

    @property
    def message(self) -> str:
        """The message that goes with the health."""
        if self.says:
            return self.says
        conditions = self.make()["status"]["conditions"]
        return str(next(one["message"] for one in conditions if one["type"] == "Ready"))


def the_object(cluster: Cluster, version: int = 7, /, **metadata: Any) -> Object:
    """The EdgeModel as the API server would return it; `metadata` replaces fields of its metadata."""
    dumped = cluster.edge_model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    head = {key: value for key, value in dumped["metadata"].items() if value}
    found: Object = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "EdgeModel"}
    found |= {"metadata": {**head, "resourceVersion": str(version), **metadata}, "spec": dumped["spec"]}
    return found | {"status": dumped.get("status") or {"observedGeneration": UNSEEN}}


def until(cluster: Cluster, state: str) -> Cluster:
    """Pass after pass until the only variant is in a state.

    Raises:
        AssertionError: It is not after 100 passes.
    """
    for _ in range(100):
        if cluster.run(1).status.variants[0].state == state:
            return cluster
    raise AssertionError(f"the variant was never {state}")


def complete() -> Cluster:
    """Three nodes that serve a revision for long."""
    return until(three_nodes(), "Complete")


def published(**spec: Any) -> Cluster:
    """Three nodes that serve a revision, and a newer source."""
    cluster = complete()
    publish(cluster, "b", **spec)
    return cluster


def _unseen() -> Object:
    return the_object(three_nodes())


def _building() -> Object:
    return the_object(until(three_nodes(), "Building"))


def _nodes_offline() -> Object:
    cluster = complete()
    cluster.nodes["e3"] = replace(cluster.nodes["e3"], ready=False)
    cluster.run(3)
    return the_object(cluster)


def _never_reached() -> Object:
    """A node that is away since before the first revision."""
    cluster = three_nodes()
    cluster.nodes["e3"] = replace(cluster.nodes["e3"], ready=False)
    return the_object(until(cluster, "Complete"))


def _rolling_back() -> Object:
    """Two nodes serve a revision that went past its canary when further nodes fail on it."""
    cluster = Cluster(nodes={f"e{number}": node(f"e{number}") for number in range(1, 9)})
    until(cluster, "Complete")
    publish(cluster, "b")
    until(cluster, "RollingOut")
    cluster.refuse.add("b" * 64)
    return the_object(until(cluster, "RollingBack"))


def _rolled_back() -> Object:
    cluster = published()
    cluster.refuse.add("b" * 64)
    return the_object(until(cluster, "RolledBack"))


def _none_left() -> Object:
    cluster = three_nodes()
    cluster.refuse.add("a" * 64)
    return the_object(until(cluster, "RolledBack"))


def _gates_failed() -> Object:
    cluster = three_nodes()
    cluster.edge_model = model(evaluation=EVALUATION, gates={"minAccuracy": "99%"})
    return the_object(until(cluster, "BuildFailed"))


def _nodes_failed() -> Object:
    cluster = complete()
    cluster.pods["e2"] = replace(cluster.pods["e2"], ready=False, waiting="CrashLoopBackOff", restarts=5)
    cluster.run(1)
    return the_object(cluster)


def _bad_spec() -> Object:
    cluster = three_nodes()
    cluster.edge_model = model(deviceProfiles={"names": ["amd46"]})
    cluster.run(1)
    return the_object(cluster)


def _no_nodes() -> Object:
    return the_object(until(Cluster(), "NoNodes"))


def _deleting() -> Object:
    return the_object(complete(), deletionTimestamp="2030-01-01T13:00:00Z")


def _paused() -> Object:
    return the_object(until(published(rollout=ROLLOUT | {"paused": True}), "Paused"))


def _waiting_for_window() -> Object:
    windows = [{"days": ["Sat", "Sun"], "start": "22:00", "end": "04:00", "timeZone": "Europe/Vienna"}]
    return the_object(until(published(rollout=ROLLOUT | {"windows": windows}), "WaitingForWindow"))


def _asked(**rollout: Any) -> Cluster:
    """Three nodes that serve the second of two revisions, and another `spec.rollout`."""
    cluster = until(published(), "Complete")
    publish(cluster, "b", generation=3, rollout=ROLLOUT | rollout)
    return cluster


def names() -> tuple[str, str]:
    """The revisions of the first and of the second source."""
    status = until(published(), "Complete").edge_model.status
    second = str(status["variants"][0]["revision"])
    return next(str(one["name"]) for one in status["revisions"] if one["name"] != second), second


def _went_back() -> Object:
    first, second = names()
    cluster = _asked(rollbackTo=[{"from": second, "revision": first}])
    cluster.run(1)
    return the_object(until(cluster, "Complete"))


def _rollback_refused() -> Object:
    _, second = names()
    cluster = _asked(rollbackTo=[{"from": second, "revision": "0" * 10}])
    cluster.run(1)
    return the_object(cluster)


def _promoted() -> Object:
    """A revision in its first step whose bake need not be over."""
    cluster = until(published(rollout=SLOW), "Canary")
    revision = cluster.edge_model.status["variants"][0]["revision"]
    publish(cluster, "b", generation=3, rollout=SLOW | {"promote": [{"revision": revision}]})
    return the_object(until(cluster, "RollingOut"))


def third_after(cluster: Cluster) -> Object:
    """The canary of a third source."""
    publish(cluster, "c", generation=4)
    return the_object(until(cluster, "Canary"))


def _behind_a_third() -> Object:
    """A third source while the second one was on its way, which the operator has not looked at."""
    cluster = until(published(), "RollingOut")
    publish(cluster, "c", generation=4)
    return the_object(cluster)


def _third_after_a_rollback() -> Object:
    first, second = names()
    cluster = _asked(rollbackTo=[{"from": second, "revision": first}])
    cluster.run(1)
    return third_after(until(cluster, "Complete"))


UNKNOWN = tuple(f"{number:010x}" for number in range(16))
"""Revisions that nobody knows any more."""


def full_lists() -> Object:
    """The canary of a third source, with as many entries as the spec may have; one says that it does nothing more."""
    first, _ = names()
    cluster = until(published(), "Complete")
    promote = [{"revision": first}, *({"revision": one} for one in UNKNOWN[1:])]
    back = [{"from": one, "revision": first} for one in UNKNOWN]
    publish(cluster, "c", generation=4, rollout=ROLLOUT | {"promote": promote, "rollbackTo": back})
    return the_object(until(cluster, "Canary"))


TWO: Object = {"deviceProfiles": {"names": ["amd64", "other"]}}


def _two_profiles() -> Cluster:
    """Two profiles that serve a revision, which the second one was the first to have proven."""
    nodes = {name: node(name, device) for name, device in (("e1", "amd64"), ("e2", "amd64"), ("o1", "other"))}
    cluster = Cluster(model(**TWO), (profile(), profile("other")), nodes)
    for ready, passes in ((False, 12), (True, 20)):
        cluster.nodes |= {name: replace(cluster.nodes[name], ready=ready) for name in ("e1", "e2")}
        cluster.run(passes)
    return cluster


def half_promoted() -> Object:
    """Two profiles in the first step, of which one need not wait."""
    cluster = _two_profiles()
    publish(cluster, "b", rollout=SLOW, **TWO)
    cluster.run(3)
    revision = cluster.edge_model.status["variants"][0]["revision"]
    publish(cluster, "b", generation=3, rollout=SLOW | {"promote": [{"revision": revision}]}, **TWO)
    cluster.run(1)
    return the_object(cluster)


def half_rolled_back() -> Object:
    """A third source that was rolled back on one profile and is in its first step on another."""
    cluster = _two_profiles()
    publish(cluster, "b", **TWO)
    cluster.run(20)
    publish(cluster, "c", generation=3, rollout=SLOW, **TWO)
    cluster.run(6)
    # The canary of amd64 is whichever of its nodes has another revision than before.
    shown = next(one["revision"] for one in cluster.edge_model.status["variants"] if one["profile"] == "amd64")
    (canary,) = (name for name, pod in cluster.pods.items() if pod.revision == shown and name != "o1")
    cluster.pods[canary] = replace(cluster.pods[canary], ready=False, waiting="CrashLoopBackOff", restarts=5)
    cluster.run(10)
    states = [one["state"] for one in cluster.edge_model.status["variants"]]
    assert states == ["RolledBack", "Canary"], states
    return the_object(cluster)


def _never_proven() -> Object:
    """A second source while the first one was in its first step for the first time."""
    cluster = until(three_nodes(), "Canary")
    publish(cluster, "b")
    cluster.run(1)
    return the_object(until(cluster, "Canary"))


def superseded() -> Object:
    """A third source while the second one was in its first step."""
    return third_after(until(published(), "Canary"))


def _third_went_back() -> Object:
    cluster = until(published(), "Complete")
    second = cluster.edge_model.status["variants"][0]["revision"]
    publish(cluster, "c", generation=3)
    third = until(cluster, "Complete").edge_model.status["variants"][0]["revision"]
    publish(cluster, "c", generation=4, rollout=ROLLOUT | {"rollbackTo": [{"from": third, "revision": second}]})
    cluster.run(1)
    return the_object(until(cluster, "Complete"))


def _back_in_git() -> Object:
    """The first source again, after a rollback to it that git no longer asks for."""
    first, second = names()
    cluster = _asked(rollbackTo=[{"from": second, "revision": first}])
    cluster.run(1)
    until(cluster, "Complete")
    publish(cluster, "a", generation=4)
    cluster.run(1)
    return the_object(until(cluster, "Complete"))


def _third_rolled_back() -> Object:
    cluster = until(published(), "Complete")
    cluster.refuse.add("c" * 64)
    publish(cluster, "c", generation=3)
    return the_object(until(cluster, "RolledBack"))


def _nodes_failed_later() -> Object:
    cluster = until(published(), "Complete")
    cluster.pods["e2"] = replace(cluster.pods["e2"], ready=False, waiting="CrashLoopBackOff", restarts=5)
    cluster.run(1)
    return the_object(cluster)


def _paused_and_complete() -> Object:
    cluster = complete()
    paused = model(generation=2, rollout=ROLLOUT | {"paused": True})
    cluster.edge_model = paused.model_copy(update={"status": cluster.edge_model.status})
    cluster.run(1)
    return the_object(cluster)


BEHIND = "The operator has not looked at this generation of the spec yet."
_RUNS, _FAILED = frozenset({"pause"}), frozenset({"pause", "retry"})
_MOVES, _BACK = frozenset({"pause", "promote", "rollback"}), frozenset({"pause", "rollback"})
_HELD = frozenset({"resume", "rollback"})

STATES = (
    State("unseen", "Progressing", "InProgress", _RUNS, _unseen, BEHIND),
    State("behind", "Progressing", "InProgress", _RUNS, lambda: the_object(published()), BEHIND),
    State("behind-a-third", "Progressing", "InProgress", _RUNS, _behind_a_third, BEHIND),
    State("building", "Progressing", "InProgress", _RUNS, _building),
    State("canary", "Progressing", "InProgress", _MOVES, lambda: the_object(until(published(), "Canary"))),
    State("rolling-out", "Progressing", "InProgress", _MOVES, lambda: the_object(until(published(), "RollingOut"))),
    State("promoted", "Progressing", "InProgress", _BACK, _promoted),
    State("rolling-back", "Progressing", "InProgress", _RUNS, _rolling_back),
    State("third", "Progressing", "InProgress", _MOVES, lambda: third_after(until(published(), "Complete"))),
    State("third-after-rollback", "Progressing", "InProgress", _MOVES, _third_after_a_rollback),
    State("full-lists", "Progressing", "InProgress", _MOVES, full_lists),
    State("superseded", "Progressing", "InProgress", _MOVES, superseded),
    State("never-proven", "Progressing", "InProgress", frozenset({"pause", "promote"}), _never_proven),
    State("half-promoted", "Progressing", "InProgress", _MOVES, half_promoted),
    State("half-rolled-back", "Degraded", "Failed", _MOVES | {"retry"}, half_rolled_back),
    State("two-profiles", "Healthy", "Current", _RUNS, lambda: the_object(_two_profiles())),
    State("third-went-back", "Healthy", "Current", _RUNS, _third_went_back),
    State("back-in-git", "Healthy", "Current", _RUNS, _back_in_git),
    State("third-rolled-back", "Degraded", "Failed", _FAILED, _third_rolled_back),
    State("nodes-failed-later", "Degraded", "Failed", frozenset({"pause", "retry", "rollback"}), _nodes_failed_later),
    State("no-nodes", "Progressing", "InProgress", _RUNS, _no_nodes),
    State("complete", "Healthy", "Current", _RUNS, lambda: the_object(complete()), "Serving on 3 of 3 nodes."),
    State("updated", "Healthy", "Current", _BACK, lambda: the_object(until(published(), "Complete"))),
    State("went-back", "Healthy", "Current", _RUNS, _went_back),
    State("complete-paused", "Healthy", "Current", frozenset({"resume"}), _paused_and_complete),
    State("nodes-offline", "Healthy", "Current", _RUNS, _nodes_offline, "Serving on 2 of 3 nodes, 1 NotReady."),
    State("never-reached", "Healthy", "Current", _RUNS, _never_reached, "Serving on 2 of 3 nodes, 1 NotReady."),
    State("paused", "Suspended", "InProgress", _HELD, _paused),
    State("waiting-for-window", "Suspended", "InProgress", _BACK, _waiting_for_window),
    State("rolled-back", "Degraded", "Failed", _FAILED, _rolled_back),
    State("rollback-refused", "Degraded", "Failed", frozenset({"pause", "retry", "rollback"}), _rollback_refused),
    State("no-revision-left", "Degraded", "Failed", _FAILED, _none_left),
    State("gates-failed", "Degraded", "Failed", _FAILED, _gates_failed),
    State("nodes-failed", "Degraded", "Failed", _FAILED, _nodes_failed),
    State("bad-spec", "Degraded", "Failed", _FAILED, _bad_spec),
    State("deleting", "Progressing", "Terminating", _RUNS, _deleting, "Pending deletion"),
)
