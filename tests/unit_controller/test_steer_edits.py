"""Which edit of `spec.rollout` each command makes, from what the status says."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest
from snapshots import ROLLOUT, model

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.cli.steer import edit_of
from edgesmith.decide.requests import Named

OLD, OLDER, NEW, BAD = "0" * 10, "1" * 10, "2" * 10, "3" * 10


def known(name: str, day: int | None, **more: Any) -> dict[str, Any]:
    """What was found out about a revision."""
    proven = {"provenTime": f"2026-11-0{day}T08:00:00Z"} if day else {}
    return {"name": name, "profile": "amd64", "steps": 1, **proven, **more}


def asked(
    runs: str, *revisions: dict[str, Any], requests: tuple[dict[str, str], ...] = (), **rollout: Any
) -> EdgeModel:
    """An EdgeModel whose nodes run a revision."""
    variant = {"profile": "amd64", "state": "RollingOut", "revision": runs}
    told = {"observedGeneration": 1, "requests": list(requests)}
    status = {"variants": [variant], "revisions": list(revisions), **told}
    return model(rollout=ROLLOUT | rollout).model_copy(update={"status": status})


def words(command: str, **more: Any) -> Namespace:
    return Namespace(command=command, **{"name": "parts", "profile": None, "to": None, "all_steps": False} | more)


def there(*revisions: str) -> tuple[Named, ...]:
    """DaemonSets, with images and build keys of their own."""
    return tuple(Named(one, f"registry.example/models@sha256:{one[0] * 64}", one[0] * 32) for one in revisions)


THERE = there(OLD, OLDER, NEW, BAD)


def test_pause_and_resume() -> None:
    assert edit_of(THERE, asked(NEW), words("pause")) == {"paused": True}
    assert edit_of(THERE, asked(NEW), words("resume")) == {"paused": False}


def test_promote_is_of_the_step_that_the_revision_is_in_and_drops_what_says_nothing_any_more() -> None:
    gone = {"request": f"promote[{OLDER}]", "state": "Obsolete", "message": "."}
    before = [{"revision": OLDER}, {"revision": OLD, "steps": 2}]
    found = asked(NEW, known(NEW, None), requests=(gone,), promote=before)
    assert edit_of(THERE, found, words("promote")) == {
        "promote": [{"revision": OLD, "steps": 2}, {"revision": NEW, "steps": 2}]
    }
    assert edit_of(THERE, found, words("promote", all_steps=True))["promote"][-1] == {"revision": NEW}


@pytest.mark.parametrize("command", ["promote", "rollback"])
@pytest.mark.parametrize("observed", [2, -1, None])
def test_what_was_edited_since_the_operator_looked_is_neither_promoted_nor_rolled_back(
    command: str, observed: int | None
) -> None:
    found = asked(NEW, known(OLD, 2), known(NEW, None if command == "promote" else 3))
    assert edit_of(THERE, found, words(command))
    edited = found.metadata.model_copy(update={"generation": 3})
    found = found.model_copy(update={"metadata": edited, "status": found.status | {"observedGeneration": observed}})
    with pytest.raises(ValueError, match=f"observedGeneration is {observed} and metadata.generation 3; wait until"):
        edit_of(THERE, found, words(command))
    assert edit_of(THERE, found, words("pause")) == {"paused": True}


def test_there_is_nothing_to_promote_where_nothing_is_in_its_steps() -> None:
    for one in (known(NEW, 3), known(NEW, None, rolledBack=True)):
        with pytest.raises(ValueError, match="is in its steps"):
            edit_of(THERE, asked(NEW, one), words("promote"))
    with pytest.raises(ValueError, match="no variant for the DeviceProfile 'arm64'"):
        edit_of(THERE, asked(NEW, known(NEW, None)), words("promote", profile="arm64"))


def test_rollback_goes_to_what_held_its_steps_last_and_is_still_there() -> None:
    found = asked(NEW, known(OLDER, 1), known(OLD, 2), known(NEW, 4), known(BAD, 3, rolledBack=True))
    assert edit_of(THERE, found, words("rollback")) == {"rollbackTo": [{"from": NEW, "revision": OLD}]}
    assert edit_of(there(OLDER, NEW), found, words("rollback")) == {"rollbackTo": [{"from": NEW, "revision": OLDER}]}
    assert edit_of(THERE, found, words("rollback", to=OLDER)) == {"rollbackTo": [{"from": NEW, "revision": OLDER}]}
    for one in (words("rollback", to=BAD), words("rollback", to=NEW), words("rollback", to="4" * 10)):
        with pytest.raises(ValueError, match="that has held its steps and has a DaemonSet"):
            edit_of(THERE, found, one)


def test_a_second_rollback_is_still_about_what_the_spec_asks_for() -> None:
    entry = {"from": NEW, "revision": OLD}
    found = asked(OLD, known(OLDER, 1), known(OLD, 2), known(NEW, 3, rolledBack=True), rollbackTo=[entry])
    assert edit_of(THERE, found, words("rollback")) == {"rollbackTo": [{"from": NEW, "revision": OLDER}]}


@pytest.mark.parametrize("left", [NEW, f"sha256:{NEW[0] * 64}", NEW[0] * 32])
@pytest.mark.parametrize("to", [OLD, f"sha256:{OLD[0] * 64}", OLD[0] * 32])
def test_an_entry_that_is_in_effect_is_replaced_whatever_it_calls_its_revisions(left: str, to: str) -> None:
    entry = {"from": left, "revision": to}
    found = asked(OLD, known(OLDER, 1), known(OLD, 2), known(NEW, 3), rollbackTo=[entry])
    assert edit_of(THERE, found, words("rollback")) == {"rollbackTo": [{"from": left, "revision": OLDER}]}


@pytest.mark.parametrize("left", [NEW, f"sha256:{NEW[0] * 64}", NEW[0] * 32])
def test_an_entry_about_what_nodes_run_that_is_not_met_is_replaced(left: str) -> None:
    found = asked(NEW, known(OLD, 2), known(NEW, 3), rollbackTo=[{"from": left, "revision": "4" * 10}])
    assert edit_of(THERE, found, words("rollback")) == {"rollbackTo": [{"from": left, "revision": OLD}]}


def test_an_entry_about_several_revisions_is_not_replaced_by_one_about_one() -> None:
    key = NEW[0] * 32
    found = asked(OLD, known(OLDER, 1), known(OLD, 2), known(NEW, 3), rollbackTo=[{"from": key, "revision": OLD}])
    several = (*THERE, Named("5" * 10, "registry.example/models@sha256:" + "5" * 64, key))
    with pytest.raises(ValueError, match=f"rollbackTo.{key}. is about the revisions {NEW}, {'5' * 10}; put an entry"):
        edit_of(several, found, words("rollback"))


FULL = [f"{number:010x}" for number in range(0xA0, 0xB0)]


def full(command: str, states: dict[str, str]) -> EdgeModel:
    """An EdgeModel whose list has sixteen entries, some of which do nothing."""
    field, entries = "promote", [{"revision": name} for name in FULL]
    if command == "rollback":
        field, entries = "rollbackTo", [{"from": name, "revision": OLDER} for name in FULL]
    told = tuple({"request": f"{field}[{name}]", "state": state, "message": "."} for name, state in states.items())
    proven = None if command == "promote" else 3
    return asked(NEW, known(OLD, 2), known(NEW, proven), requests=told, **{field: entries})


@pytest.mark.parametrize("command", ["promote", "rollback"])
def test_an_entry_that_is_acted_on_is_never_left_out_for_the_want_of_room(command: str) -> None:
    field = {"promote": "promote", "rollback": "rollbackTo"}[command]
    said = dict.fromkeys(FULL, "InEffect")
    for states in (said, dict.fromkeys(FULL, "Done"), dict.fromkeys(FULL, "Refused"), {}):
        with pytest.raises(ValueError, match=rf"spec\.rollout\.{field} would have 17 entries, and 16 are the most"):
            edit_of(THERE, full(command, states), words(command))

    def left(**states: str) -> list[str]:
        (entries,) = edit_of(THERE, full(command, said | states), words(command)).values()
        names = [one.get("from") or one["revision"] for one in entries]
        assert names.pop() == NEW
        return names

    assert left(**{FULL[7]: "NotFound"}) == [*FULL[:7], *FULL[8:]]
    assert left(**{FULL[7]: "NotFound", FULL[9]: "Obsolete"}) == [*FULL[:9], *FULL[10:]], "it may come yet"
