"""The history in the status: why each revision came, who changed what, and how it ended."""

from __future__ import annotations

import json
from typing import Any

from fleets import fleet
from rollout_world import World
from simulated_kubelets import BAD
from snapshots import profile

from edgesmith.api.history import HistoryChange, HistoryEntry
from edgesmith.api.names import RETRY_ANNOTATION
from edgesmith.cluster.parse import owners_of
from edgesmith.decide.history import BYTES, _kept

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


def entry(revision: str, profile_name: str, **more: Any) -> HistoryEntry:
    """An entry of 400 bytes."""
    known: dict[str, Any] = {"image": "i" * 150, "generation": 1, "started_time": "2030-01-01T12:00:00Z"}
    known |= {"outcome": "Complete", "why": "w" * 150}
    return HistoryEntry(revision=revision, profile=profile_name, **(known | more))


def test_it_has_ten_of_a_profile_at_most_and_what_fits_into_its_share_where_there_are_several() -> None:
    for profiles, count in ((("amd64",), 10), (("amd64", "arm64"), 5)):
        world = fleet(2, ROLLOUT, profiles=profiles)
        for digit in "bcdef" * 3:
            world.publish(digit)
            world.run_until("Complete", every=60)
        found = past(world)
        assert [sum(one["profile"] == name for one in found) for name in profiles] == [count] * len(profiles)
        assert {one["profile"] for one in found[: len(profiles)]} == set(profiles), "the newest first"
        assert len(json.dumps(found, separators=(",", ":"))) < BYTES + 100


def test_what_one_profile_does_costs_another_nothing() -> None:
    entries = [entry(f"r{number}", "busy") for number in range(20)] + [entry("old", "calm"), entry("older", "calm")]
    kept = [(one.revision, one.profile) for one in _kept(entries)]
    assert kept[-2:] == [("old", "calm"), ("older", "calm")]


def test_an_entry_that_has_more_than_its_share_keeps_what_the_next_one_is_held_against() -> None:
    changes = tuple(HistoryChange(field=f"spec.{number}", manager="m" * 128) for number in range(32))
    long = {"changes": changes, "why": "w" * 512, "message": "x" * 512, "fields": {"source": "aaaaaa"}}
    (one,) = _kept([entry("r", "p", **long)])
    assert (one.changes, one.why, one.message) == ((), "w" * 64, "x" * 64)
    assert one.fields == {"source": "aaaaaa"}


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
