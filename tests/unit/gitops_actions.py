"""Argo CD's actions on EdgeModels in the states of `gitops_states`, and what each is to make of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gitops_states import (
    STATES,
    Object,
    State,
    full_lists,
    half_promoted,
    half_rolled_back,
    names,
    published,
    superseded,
    third_after,
    until,
)

from edgesmith.api.names import RETRY_ANNOTATION


def _proven_before(found: Object, profile_name: str) -> tuple[str, str]:
    """The revision of a profile that is shown, and the one that was proven last before it."""
    of = {
        key: [one for one in found["status"][key] if one["profile"] == profile_name]
        for key in ("variants", "revisions")
    }
    shown = str(of["variants"][0]["revision"])
    proven = [one for one in of["revisions"] if one.get("provenTime") and one["name"] != shown]
    return shown, str(max(proven, key=lambda one: str(one["provenTime"]))["name"])


def edited(
    state: State, rollout: Mapping[str, Any] | None = None, annotations: Mapping[str, str] | None = None
) -> Object:
    """A state's object with fields of its `spec.rollout`, or annotations, replaced."""
    found = state.make()
    found["spec"] = {**found["spec"], "rollout": {**found["spec"]["rollout"], **(rollout or {})}}
    if annotations:
        found["metadata"]["annotations"] = {**found["metadata"].get("annotations", {}), **annotations}
    return found


@dataclass(frozen=True)
class Action:
    """An action on a state's object, and what it makes of it."""

    name: str
    state: str
    rollout: Callable[[], Mapping[str, Any]] = dict
    annotations: Mapping[str, str] = field(default_factory=dict)

    def make(self) -> Object:
        """The object after the action."""
        return edited(next(one for one in STATES if one.name == self.state), self.rollout(), self.annotations)


def _back() -> Object:
    first, second = names()
    return {"rollbackTo": [{"from": second, "revision": first}]}


def _from_third(to: str) -> Object:
    status = third_after(until(published(), "Complete"))["status"]
    return {"rollbackTo": [{"from": status["variants"][0]["revision"], "revision": to}]}


def _back_from(found: Object, *profiles: str) -> Object:
    pairs = [_proven_before(found, one) for one in profiles]
    return {"rollbackTo": [{"from": shown, "revision": before} for shown, before in pairs]}


def _promotion_of_other(found: Object) -> Object:
    """The entry that promotes the revision of the profile `other`."""
    return {"revision": _proven_before(found, "other")[0]}


def _promote_both() -> Object:
    return {"promote": [{"revision": one["revision"]} for one in half_promoted()["status"]["variants"]]}


def _promote_third_of_many() -> Object:
    found = full_lists()
    entries = found["spec"]["rollout"]["promote"]
    assert found["status"]["requests"][0]["state"] == "Obsolete"
    return {"promote": [*entries[1:], {"revision": found["status"]["variants"][0]["revision"]}]}


def _back_from_third_of_many() -> Object:
    found = full_lists()
    entry = {"from": found["status"]["variants"][0]["revision"], "revision": names()[1]}
    return {"rollbackTo": [*found["spec"]["rollout"]["rollbackTo"], entry][-16:]}


ACTIONS = (
    Action("pause", "rolling-out", lambda: {"paused": True}),
    Action("resume", "paused", lambda: {"paused": False}),
    Action("promote", "canary", lambda: {"promote": [{"revision": names()[1]}]}),
    Action("promote", "rolling-out", lambda: {"promote": [{"revision": names()[1]}]}),
    Action("rollback", "updated", _back),
    Action("rollback", "canary", _back),
    Action("rollback", "third", lambda: _from_third(names()[1])),
    Action("rollback", "third-after-rollback", lambda: _from_third(names()[0])),
    Action("promote", "full-lists", _promote_third_of_many),
    Action("rollback", "full-lists", _back_from_third_of_many),
    Action("rollback", "superseded", lambda: _back_from(superseded(), "amd64")),
    Action("rollback", "half-promoted", lambda: _back_from(half_promoted(), "amd64", "other")),
    Action("rollback", "half-rolled-back", lambda: _back_from(half_rolled_back(), "other")),
    Action("rollback", "nodes-failed-later", _back),
    Action("rollback", "paused", lambda: {"paused": True, **_back()}),
    Action("promote", "half-promoted", _promote_both),
    Action("promote", "half-rolled-back", lambda: {"promote": [_promotion_of_other(half_rolled_back())]}),
    Action("rollback", "rollback-refused", _back),
    Action("retry", "rolled-back", annotations={RETRY_ANNOTATION: "argocd-7"}),
)
