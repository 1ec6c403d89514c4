"""The history in the status: why each revision came, who changed what, and how it ended."""

from __future__ import annotations

from typing import Any

from rollout_world import BAD, World, fleet
from snapshots import profile

from edgesmith.api.names import RETRY_ANNOTATION
from edgesmith.cluster.parse import owners_of

ROLLOUT = {"steps": [{"nodes": 1, "bake": "30s"}], "maxUnavailable": 2, "maxFailed": 1, "progressDeadline": "5m"}


def past(world: World) -> list[dict[str, Any]]:
    """The history, newest first."""
    return list(world.edge_model.status["history"])


def owned(world: World, **owners: str) -> None:
    """Say who wrote which fields of the spec last."""
    metadata = world.edge_model.metadata.model_copy(update={"owners": owners})
    world.edge_model = world.edge_model.model_copy(update={"metadata": metadata})


def test_each_revision_says_why_it_came_who_changed_what_and_how_it_ended() -> None:
    world = fleet(4, ROLLOUT)
    world.publish("b", BAD)
    owned(world, source="argocd-controller", gates="kubectl-edit")
    world.run_until("RolledBack")
    world.publish("c", serving={"port": 8123})
    owned(world, source="argocd-controller", serving="kubectl-edit")
    world.run_until("Complete")
    newest, middle, oldest = past(world)
    assert [one["outcome"] for one in (newest, middle, oldest)] == ["Complete", "RolledBack", "Complete"]
    assert newest["changes"] == [
        {"field": "spec.serving", "manager": "kubectl-edit"},
        {"field": "spec.source", "manager": "argocd-controller"},
    ]
    assert middle["changes"] == [{"field": "spec.source", "manager": "argocd-controller"}]
    assert (middle["reason"], middle["generation"]) == ("CanaryFailed", world.edge_model.metadata.generation - 1)
    assert "source.sha256 bbbbbbbbbbbb… → cccccccccccc…" in newest["why"]
    assert (oldest["why"], oldest["changes"]) == ("It is the first revision.", [])
    assert [bool(one.get("fields")) for one in (newest, middle, oldest)] == [True, False, False]
    assert all(one["startedTime"] <= one["endedTime"] for one in (newest, middle, oldest))


def test_one_that_another_takes_the_place_of_is_superseded_and_a_retry_and_a_rollback_are_entries_of_their_own() -> (
    None
):
    world = fleet(4, ROLLOUT)
    world.publish("b")
    for _ in range(4):
        world.pass_()
        world.tick(5)
    world.publish("c", BAD)
    world.run_until("RolledBack")
    world.kinds["c"] = "good"
    world.edge_model.metadata.annotations[RETRY_ANNOTATION] = "1"
    world.run_until("Complete")
    (a,), (c,) = world.asked("a"), world.asked("c")
    world.ask(rollbackTo=[{"from": c, "revision": a}])
    world.run_until("Complete")
    found = [(world.digit(one["revision"]), one["outcome"]) for one in past(world)]
    assert found == [
        ("a", "Complete"),
        ("c", "RolledBack"),
        ("c", "RolledBack"),
        ("b", "Superseded"),
        ("a", "Complete"),
    ]
    newest, left, *_ = past(world)
    assert newest["changes"] == [{"field": "spec.rollout.rollbackTo"}]
    assert newest["why"] == f"It takes the place of revision {c}."
    assert left["reason"] == "RollbackRequested"
    assert left["changes"] == [{"field": f"metadata.annotations[{RETRY_ANNOTATION}]"}]


def test_it_has_ten_of_a_profile_and_what_another_profile_does_costs_it_nothing() -> None:
    world = fleet(2, ROLLOUT, profiles=("amd64", "arm64"))
    for digit in "bcdef" * 3:
        world.publish(digit)
        world.run_until("Complete", every=60)
    found = past(world)
    assert [sum(one["profile"] == name for one in found) for name in ("amd64", "arm64")] == [10, 10]
    assert len({one["profile"] for one in found[:2]}) == 2


def test_what_changes_without_the_spec_has_no_field() -> None:
    world = fleet(2, ROLLOUT)
    world.profiles = (profile(runtime={"tolerations": [{"key": "edge", "operator": "Exists"}]}),)
    world.run_until("Complete")
    newest, *_ = past(world)
    assert newest["changes"] == []
    assert newest["why"].startswith("Its build is that of the revision before")


def test_an_entry_that_somebody_else_wrote_costs_itself_alone() -> None:
    world = fleet(2, ROLLOUT)
    before = past(world)
    world.edge_model.status["history"] = ["garbage", {"revision": 7}, *before]
    world.pass_()
    assert past(world) == before


def test_nothing_of_it_changes_by_time_alone() -> None:
    world = fleet(3, ROLLOUT)
    world.publish("b")
    world.run_until("Complete")
    before = past(world)
    for _ in range(3):
        world.tick(600)
        world.pass_()
    assert past(world) == before


def test_the_newest_manager_of_a_field_owns_it_and_the_status_counts_for_nothing() -> None:
    def entry(manager: str, second: int, fields: dict[str, Any], **more: str) -> dict[str, Any]:
        return {"manager": manager, "time": f"2026-11-28T08:00:{second:02}Z", "fieldsV1": {"f:spec": fields}, **more}

    managed = [
        entry("kubectl-edit", 30, {"f:source": {"f:sha256": {}}, "f:rollout": {"f:paused": {}}}),
        entry("argocd-controller", 10, {"f:source": {"f:uri": {}}, "f:gates": {}, "f:rollout": {"f:steps": {}}}),
        entry("edgesmith", 50, {"f:source": {}}, subresource="status"),
        "garbage",
    ]
    assert owners_of({"metadata": {"managedFields": managed}}) == {
        "source": "kubectl-edit",
        "rollout.paused": "kubectl-edit",
        "gates": "argocd-controller",
        "rollout.steps": "argocd-controller",
    }
    assert owners_of({"metadata": {"managedFields": 3}}) == {}
