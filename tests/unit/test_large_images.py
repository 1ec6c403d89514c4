"""Images for which nodes look for room: what looks, what is read of it, and what becomes of a node without room."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from observations import COMPLETED as DONE
from observations import DEADLINE, SERVING, STARTING, observed, record, see, starting
from rollout_words import (
    BAD,
    COMPLETED,
    NEW,
    ODD,
    OLD,
    OLDEST,
    PROVEN,
    REPLACE,
    RULES,
    SURGE,
    beside,
    fleet,
    state_of,
    step,
    with_rules,
    writes,
)
from snapshots import NOW, REPORT, SETTINGS, model, pod, profile

from edgesmith.cluster import parse
from edgesmith.decide.builds import build_for
from edgesmith.decide.fleet import RolloutPhase
from edgesmith.decide.placement import Placement
from edgesmith.decide.plan import ApplyRevision
from edgesmith.decide.record import parse_record
from edgesmith.decide.room import AGAIN, NoRoom, Room, room_for
from edgesmith.decide.serving import revision_of
from edgesmith.decide.strategy import Strategy
from edgesmith.resources import daemon_set, staging_daemon_set
from edgesmith_builder.contract import LARGE

REPOSITORY = "registry:5000/models/plant/models"
IMAGE, BASE = f"{REPOSITORY}@sha256:{'a' * 64}", f"sha256:{'b' * 64}"
LACKS = "its disk has 100 MiB free, and 300 MiB are needed"
STAGED = Placement("r", "old", staging=True)
FULL = NoRoom("new", NOW, LACKS)
"""Of revision new, found just now."""
ROOM = Room(f"{REPOSITORY}@{BASE}", 300 << 20)


def applied(staging: Any = "Pull") -> ApplyRevision:
    of, at = model(), profile()
    revision = revision_of(at, IMAGE, of, SETTINGS)
    return ApplyRevision(at, revision, IMAGE, build_for(of, at, SETTINGS), None, staging, ROOM)


def test_the_base_that_looks_is_in_the_repository_of_the_image() -> None:
    assert room_for(IMAGE, REPORT) is None
    assert room_for(IMAGE, None) is None
    assert room_for(IMAGE, REPORT.model_copy(update={"base": BASE})) is None, "another candidate is large"
    half = REPORT.model_copy(update={"base": BASE, "footprint": LARGE})
    assert room_for(IMAGE, half) is None, "it is large with the others, and not alone"
    assert room_for(IMAGE, REPORT.model_copy(update={"base": BASE, "footprint": 300 << 20})) == ROOM


@pytest.mark.parametrize(("staging", "names"), [("Pull", ["room"]), ("Test", ["room", "selftest"])])
def test_a_pod_that_stages_looks_before_anything_is_pulled(staging: str, names: list[str]) -> None:
    made = staging_daemon_set(model(), applied(staging), SETTINGS)
    containers = made["spec"]["template"]["spec"]["initContainers"]
    assert [one["name"] for one in containers] == names
    looks = containers[0]
    assert looks["image"] == ROOM.base, "it is there before the image is"
    assert looks["args"][:3] == ["room", "--bytes", str(300 << 20)]
    assert looks["securityContext"]["readOnlyRootFilesystem"]
    assert looks["resources"]["limits"] == {"memory": "64Mi"}
    scratch = {one["name"] for one in made["spec"]["template"]["spec"]["volumes"]}
    assert {one["name"] for one in looks["volumeMounts"]} <= scratch
    assert parse.staging_set(made).room == ROOM


def test_a_server_never_waits_for_room_that_it_does_not_need() -> None:
    pod_of = daemon_set(model(), applied(), SETTINGS)["spec"]["template"]["spec"]
    assert [one["name"] for one in pod_of["initContainers"]] == ["selftest"]


@pytest.mark.parametrize("arguments", [None, [], ["room"], ["room", "--bytes"], ["room", "--bytes", "many"], "room"])
def test_what_somebody_else_wrote_there_is_no_room(arguments: Any) -> None:
    made = staging_daemon_set(model(), applied(), SETTINGS)
    made["spec"]["template"]["spec"]["initContainers"][0]["args"] = arguments
    assert parse.staging_set(made).room is None


def seen(reason: str, *, runs: bool = False, done: bool = False, restarts: int = 7) -> Any:
    """A pod whose look for room ended with a reason."""
    said = {"terminated": {"exitCode": 1, "message": json.dumps(
        {"verdict": "Failed", "reason": reason, "message": f"{LACKS}."})}}  # fmt: skip
    state: dict[str, Any] = {"running": {}} if runs else {"waiting": {"reason": "CrashLoopBackOff"}}
    state = {"terminated": {"exitCode": 0}} if done else state
    looks = {"name": "room", "ready": done, "restartCount": restarts, "state": state, "lastState": said, "imageID": "x"}
    waits = {"name": "waiting", "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}
    return parse.pod({
        "metadata": {"name": "p", "labels": {"edgesmith.dev/revision": "r"}},
        "spec": {"nodeName": "n"},
        "status": {"initContainerStatuses": [looks], "containerStatuses": [waits]},
    })  # fmt: skip


@pytest.mark.parametrize("runs", [False, True])
def test_a_pod_says_what_the_disk_lacks_until_a_look_has_found_room(runs: bool) -> None:  # noqa: FBT001 - a parameter
    found = seen("DiskFull", runs=runs)
    assert (found.lacks, found.selftest, found.restarts, found.pulled) == (LACKS, None, 0, False)
    assert seen("DiskFull", done=True).lacks == ""
    assert seen("DiskFull", done=True).waiting is None


def test_a_look_that_ends_by_a_mistake_of_ours_is_a_failure() -> None:
    found = seen("InternalError")
    assert found.lacks == ""
    assert found.selftest
    assert found.selftest.reason == "InternalError"


def test_a_node_without_room_has_not_failed_however_long_it_waits() -> None:
    waits = starting(staging=True, lacks=LACKS, waiting="CrashLoopBackOff", restarts=9)
    found = see(waits, kept=record(), placed=STAGED, after=2 * DEADLINE.total_seconds()).state
    assert (found.server, found.lacks, found.deadline) == (STARTING, LACKS, None)
    assert found.fetching, "its image is not there"
    assert not found.failures


def test_what_was_found_is_kept_until_the_image_is_pulled() -> None:
    full = NoRoom("r", NOW - AGAIN, LACKS)
    kept = record(full=full)
    waits = starting(staging=True)
    assert see(waits, kept=kept, placed=STAGED).state.full == full
    assert see(replace(waits, pulled=True), kept=kept, placed=STAGED).state.full is None
    other = replace(kept, full=NoRoom("next", NOW, LACKS))
    assert observed(pod("n", "r"), kept=other).full == other.full, "of another revision it says nothing"
    steady = replace(record(SERVING), full=other.full)
    assert see(pod("n", "r"), kept=steady, allowed=DONE).state.full == other.full


def test_it_is_written_with_the_record_and_goes_with_another_revision() -> None:
    kept = record().without_room("new", LACKS, NOW)
    assert parse_record(kept.to_json(), NOW) == kept
    early = parse_record(kept.to_json(), NOW - timedelta(hours=1))
    assert early
    assert early.full == NoRoom("new", NOW - timedelta(hours=1), LACKS), "a later time is taken for now"
    assert kept.moved_to("new", "r", NOW).full == kept.full, "it looks again"
    assert kept.moved_to("other", "r", NOW).full is None
    broken = json.dumps(json.loads(kept.to_json()) | {"full": {"revision": "new"}})
    assert parse_record(broken, NOW) is None


@pytest.mark.parametrize("strategy", [SURGE, REPLACE, Strategy("Replace", "why", tests=False)])
def test_a_large_image_is_staged_with_either_strategy(strategy: Strategy) -> None:
    course = step("old+", OLD, PROVEN, strategy=strategy, large=True)
    assert writes(course) == {"n0": ("old", "new.staging")}


@pytest.mark.parametrize(("strategy", "expected"), [(SURGE, ("bad", "new")), (REPLACE, ("new", None))])
def test_what_was_rolled_back_or_failed_is_left_without_a_look(
    strategy: Strategy, expected: tuple[str, str | None]
) -> None:
    bad = replace(OLD, revision="bad", rolled_back="n7 failed.", completed=None)
    assert writes(step("bad+", bad, PROVEN, strategy=strategy, large=True))["n0"] == expected


LOOKING: dict[str, Any] = {"strategy": SURGE, "large": True, "looking": frozenset({"oldest", "old", "new"})}
FAR = replace(OLDEST, revision="far")


@pytest.mark.parametrize("strategy", [SURGE, REPLACE])
def test_what_is_approved_is_looked_for_by_nodes_that_it_is_new_to(strategy: Strategy) -> None:
    """The target was rolled back; others go back to the one before it, and some have never run that."""
    looking = LOOKING | {"strategy": strategy}
    course = step("oldest+ new+", OLDEST, OLD, BAD, **looking)
    assert writes(course)["n0"] == ("oldest", "old.staging")
    assert "old.staging" not in writes(course)["n1"], "it goes back"
    (foreign,) = fleet("far+", foreign=True)
    assert writes(step((foreign,), OLD, BAD, **looking)) == {"n0": ("far", "old.staging")}
    asked = step("oldest+ new+", OLDEST, OLD, replace(BAD, completed=NOW), target="old", left="new", **looking)
    assert writes(asked)["n0"] == ("oldest", "old.staging")
    assert "old.staging" not in writes(asked)["n1"], "it is taken back"
    small = step("oldest+", OLDEST, OLD, BAD, **looking | {"looking": frozenset({"new"})})
    assert writes(small)["n0"] == (("oldest", "old") if strategy is SURGE else ("old", None))


def test_a_node_returns_without_a_look_to_what_it_ran_before() -> None:
    course = step("odd+<old oldest+<odd", OLDEST, OLD, ODD, BAD, **LOOKING | {"strategy": REPLACE})
    assert writes(course)["n0"] == ("old", None)
    again = step("old+<new", OLD, PROVEN, **LOOKING)
    assert writes(again) == {"n0": ("old", "new.staging")}, "the spec asks for it anew, with its steps"


def test_what_a_server_has_already_is_not_looked_for() -> None:
    """Another configuration is another revision of the same image."""
    images = {"oldest": "a", "old": "a", "new": "a"}
    assert writes(step("old+", OLD, PROVEN, **LOOKING, images=images)) == {"n0": ("old", "new")}
    other = images | {"old": "b"}
    assert writes(step("old+", OLD, PROVEN, **LOOKING, images=other)) == {"n0": ("old", "new.staging")}
    assert writes(step("old?", OLD, PROVEN, **LOOKING, images=images)) == {"n0": ("old", "new.staging")}, "not yet"
    (node,) = fleet("old?", n0={"beside": "oldest", "beside_serving": True})
    assert writes(step((node,), OLDEST, OLD, NEW, **LOOKING, images=other)) == {"n0": ("oldest", "new")}
    node = replace(node, beside_serving=False)
    assert writes(step((node,), OLDEST, OLD, NEW, **LOOKING, images=other)) == {"n0": ("oldest", "new.staging")}
    # Where the old server ends first, the image is tested before, by the pod that looks.
    replaced = LOOKING | {"strategy": REPLACE}
    assert writes(step("old+", OLD, PROVEN, **replaced, images=images)) == {"n0": ("old", "new.staging")}


def test_a_node_without_room_goes_on_as_it_did_and_gives_its_place_to_another_one() -> None:
    nodes = beside("new? old+ old+")
    nodes = (replace(nodes[0], lacks=LACKS), *nodes[1:])
    rules = with_rules(max_unavailable=1)
    course = step(nodes, OLD, NEW, strategy=REPLACE, large=True, rules=rules)
    assert writes(course) == {"n0": ("old", None)}
    assert not state_of(course, "new").rolled_back
    nodes = fleet("old+ old+ old+", n0={"full": FULL})
    course = step(nodes, OLD, NEW, strategy=REPLACE, large=True, rules=rules)
    assert set(writes(course)) == {"n1"}, "the canary is another one"
    pending = {one.node: (one.reason.value, one.message) for one in course.pending}
    assert pending["n0"] == ("DiskFull", f"It does not pull revision new: {LACKS}; it looks again.")


@pytest.mark.parametrize("target", [NEW, PROVEN])
def test_it_is_asked_again_after_a_while(target: Any) -> None:
    nodes = fleet("old+", n0={"full": FULL})
    wait = AGAIN.total_seconds()
    course = step(nodes, OLD, target, strategy=SURGE, large=True)
    assert (writes(course), course.look_again) == ({}, wait)
    assert writes(step(nodes, OLD, target, strategy=SURGE, large=True, after=wait)) == {"n0": ("old", "new.staging")}


def test_a_look_at_another_revision_says_nothing_of_this_one() -> None:
    nodes = fleet("old+", n0={"full": FULL._replace(revision="before")})
    assert set(writes(step(nodes, OLD, PROVEN, strategy=SURGE, large=True))) == {"n0"}


def test_a_revision_is_completed_without_nodes_that_have_no_room() -> None:
    nodes = fleet("new+ new+ old+", n2={"full": FULL})
    course = step(nodes, OLD, PROVEN, strategy=SURGE, large=True)
    assert state_of(course, "new").completed
    assert step(nodes, OLD, COMPLETED, strategy=SURGE, large=True).phase is RolloutPhase.COMPLETE
    looking = (*nodes[:2], replace(beside("new?")[0], name="n2", full=FULL))
    course = step(looking, OLD, COMPLETED, strategy=SURGE, large=True, after=AGAIN.total_seconds())
    assert course.phase is RolloutPhase.COMPLETE, "that it looks again changes nothing"
    assert [one.reason.value for one in course.pending] == ["DiskFull"]
    assert RULES.unavailable(3) == 2
