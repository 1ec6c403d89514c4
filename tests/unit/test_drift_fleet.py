"""What nodes say of drift becomes a condition and episodes; whose word counts, and whose does not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from clusters import Cluster, publish, three_nodes
from snapshots import NOW, SETTINGS

from edgesmith.api.drift_status import MOST_NAMED
from edgesmith.api.names import daemon_set_name, reporting_name
from edgesmith.cluster.kinds import DAEMON_SET, POD
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.parse_drift import report, verdict
from edgesmith.decide import decide
from edgesmith.decide.drift import DriftVerdict, Report, drifting, source_of
from edgesmith.decide.fleet import NodeState, ServerState
from edgesmith.decide.plan import Plan
from edgesmith.resources import daemon_set, reporting_daemon_set
from edgesmith_runtime.cli import build_parser
from edgesmith_runtime.drift.verdict import Verdict
from edgesmith_runtime.drift.watch import State
from edgesmith_runtime.feedback.arguments import feedback_of

EARLY, LATE = NOW - timedelta(days=2), NOW - timedelta(days=1)
WATCHED = {"privacy": "Statistics"}


def drifted(since: datetime = LATE, *names: str) -> DriftVerdict:
    return DriftVerdict("Drifted", since, tuple((name, 0.4, 0.1) for name in names or ("x[0]",)))


STEADY, LEARNING = DriftVerdict("Steady", EARLY), DriftVerdict("Learning", EARLY)


def at(name: str, label: str | None = "new", *, ready: bool = True) -> tuple[NodeState, str | None]:
    return NodeState(name, ready, label, ServerState.SERVING), "new"


def judged(told: list[Report], nodes: list[Any], previous: Any = None, of: str = "a" * 64, now: datetime = NOW) -> Any:
    return drifting(told, nodes, of=of, uid="u", previous={"episode": previous} if previous else {}, now=now)


@pytest.mark.parametrize(
    ("verdicts", "condition", "reason"),
    [
        ([None, None], "Unknown", "DriftUnknown"),
        ([LEARNING, LEARNING], "Unknown", "DriftUnknown"),
        ([STEADY, None], "False", "NoDrift"),
        ([STEADY, drifted()], "True", "NodesDrifted"),
        ([drifted(), LEARNING], "True", "NodesDrifted"),
    ],
)
def test_one_node_that_drifts_is_enough_and_nobody_s_word_is_none(
    verdicts: list[DriftVerdict | None], condition: str, reason: str
) -> None:
    names = [f"edge-{number}" for number in range(len(verdicts))]
    told = [Report(name, "new", one) for name, one in zip(names, verdicts, strict=True)]
    found = judged(told, [at(name) for name in names])
    assert (found.condition, found.reason) == (condition, reason)
    assert found.status.drifted + found.status.steady + found.status.unknown == len(verdicts)


@pytest.mark.parametrize(
    ("told", "seen"),
    [
        pytest.param(Report("edge-1", "old", drifted()), at("edge-1", "old"), id="it runs another revision"),
        pytest.param(Report("edge-1", "old", drifted()), at("edge-1"), id="another revision's reporter is still there"),
        pytest.param(Report("edge-1", "new", drifted()), at("edge-1", ready=False), id="it is away"),
        pytest.param(Report("edge-1", "new", drifted()), at("edge-1", None), id="it lost its label"),
        pytest.param(Report("edge-2", "new", drifted()), at("edge-1"), id="another node's"),
    ],
)
def test_a_word_that_is_of_something_else_does_not_count(told: Report, seen: Any) -> None:
    found = judged([told], [seen])
    assert found.condition == "Unknown"
    assert found.status.unknown == 1


def test_however_many_drift_twenty_are_named_those_that_began_first() -> None:
    told = [
        Report(f"edge-{n:03}", "new", drifted(LATE - timedelta(minutes=n), f"x[{n % 40}]", "y")) for n in range(500)
    ]
    found = judged(told, [at(one.node) for one in told])
    assert [one.name for one in found.status.nodes] == [f"edge-{n:03}" for n in range(499, 479, -1)]
    assert len(found.status.features) == MOST_NAMED
    assert found.status.features[0].model_dump() == {"name": "y", "nodes": 500}
    assert "and 480 more" in found.message
    assert len(found.message) < 1000
    assert len(found.status.model_dump_json()) < 6000


def test_the_status_stays_small_however_long_names_are() -> None:
    long = tuple((f"{n}{'x' * 79}", 0.123456, 0.123456) for n in range(5))
    told = [Report(f"{n:03}{'n' * 60}", "new", DriftVerdict("Drifted", LATE, long)) for n in range(500)]
    found = judged(told, [at(one.node) for one in told])
    assert len(found.status.model_dump_json(by_alias=True)) < 9000
    assert len(found.message) < 3000


BROKEN = "InternalError: report ended with KeyError: 'state'"


@pytest.mark.parametrize(
    ("told", "end"),
    [
        ([Report("edge-1", "new", None, BROKEN)], f" The reporter on edge-1 failed with {BROKEN}."),
        ([Report("edge-1", "new", STEADY, BROKEN)], f" The reporter on edge-1 failed with {BROKEN}."),
        (
            [Report("edge-2", "new", None, BROKEN), Report("edge-1", "new", None, "InternalError: other")],
            " The reporter on edge-1 and those of 1 more nodes failed with InternalError: other.",
        ),
        ([Report("edge-1", "old", None, BROKEN)], "to say."),
        ([Report("edge-3", "new", None, BROKEN)], "to say."),
    ],
)
def test_a_reporter_that_broke_down_is_told(told: list[Report], end: str) -> None:
    assert judged(told, [at("edge-1"), at("edge-2"), at("edge-3", ready=False)]).message.endswith(end)


def test_a_pod_of_a_reporter_says_why_it_ended_where_it_does_not_run() -> None:
    broken = {"verdict": "Failed", "reason": "InternalError", "message": "report ended with KeyError: 'state'"}
    last = {"terminated": {"message": json.dumps(broken)}}
    verdict_before = {"terminated": {"message": Verdict("abc", State.STEADY, 1900000000, 5).write().decode()}}
    for status, failure in (
        ({"state": {"waiting": {}}, "lastState": last}, BROKEN),
        ({"state": last, "lastState": verdict_before}, BROKEN),
        ({"state": {"running": {}}, "lastState": last}, ""),
        ({"state": verdict_before, "lastState": last}, ""),
    ):
        found = report({"spec": {"nodeName": "e"}, "status": {"containerStatuses": [status]}})
        assert found.failure == failure
        assert (found.verdict is None) == (verdict_before not in status.values())


def test_an_episode_begins_once_and_ends_when_nobody_drifts_or_with_another_source() -> None:
    told, nodes = [Report("edge-1", "new", drifted())], [at("edge-1")]
    first = judged(told, nodes).status.episode
    assert judged(told, nodes).status.episode == first, "the same facts give the same name"
    kept = first.model_dump(by_alias=True)
    later = NOW + timedelta(hours=1)
    more = [*told, Report("edge-2", "new", drifted(EARLY))]
    both = judged(more, [*nodes, at("edge-2")], kept, now=later).status.episode
    assert (both.id, both.ended, both.nodes) == (first.id, None, ("edge-1", "edge-2")), "more nodes, the same episode"
    assert judged([], nodes, kept, now=later).status.episode == first, "silence ends nothing"
    half = [Report("edge-1", "new", None), Report("edge-2", "new", STEADY)]
    fewer = judged(half, [*nodes, at("edge-2")], both.model_dump(by_alias=True), now=later)
    assert (fewer.condition, fewer.status.episode.ended, fewer.status.episode.nodes) == ("False", None, ("edge-1",))
    gone = judged(half, [at("edge-2")], both.model_dump(by_alias=True), now=later)
    assert gone.status.episode.ended, "a node that left the fleet says nothing any more"
    over = judged([Report("edge-1", "new", STEADY)], nodes, kept, now=later).status.episode
    assert (over.id, over.ended) == (first.id, "2030-01-01T13:00:00Z")
    again = judged(told, nodes, over.model_dump(by_alias=True), now=later + timedelta(hours=1)).status.episode
    assert again.id != first.id
    assert again.ended is None
    assert again.fired == ()
    other = judged([], nodes, kept, of="b" * 64, now=later).status.episode
    assert (other.id, other.ended is not None) == (first.id, True)
    assert judged(told, nodes, kept, of="b" * 64, now=later).status.episode.id != first.id, "the new source drifts too"


def test_a_source_that_nobody_knows_ends_and_begins_no_episode_and_one_of_several_ends_none() -> None:
    told, nodes = [Report("edge-1", "new", drifted())], [at("edge-1")]
    first = judged(told, nodes).status.episode
    kept = {"episode": first.model_dump(by_alias=True)}
    for of, still in (("", set[str]()), ("b" * 64, {"a" * 64, "b" * 64})):
        found = drifting(told, nodes, of=of, still=still, uid="u", previous=kept, now=NOW)
        assert found.status.episode == first
    assert drifting(told, nodes, of="b" * 64, uid="u", previous=kept, now=NOW).status.episode != first
    assert judged(told, nodes, of="").status.episode is None


MANY = [f"edge-{number:02}" for number in range(MOST_NAMED + 5)]


def fleet(words: Mapping[str, DriftVerdict | None], off: Sequence[str] = (), previous: Any = None, **given: Any) -> Any:
    """The episode of a fleet in which nodes said something last, some of which are off."""
    nodes = [at(name, ready=name not in off) for name in words]
    told = [Report(name, "new", word) for name, word in words.items()]
    return judged(told, nodes, previous.model_dump(by_alias=True) if previous else None, **given).status.episode


def test_more_nodes_than_are_named_keep_an_episode_open_and_do_not_begin_another() -> None:
    named, others = MANY[:MOST_NAMED], MANY[MOST_NAMED:]
    began = fleet(dict.fromkeys(MANY, drifted()))
    assert (began.nodes, began.others) == (tuple(named), 5)
    words = dict.fromkeys(named, STEADY) | dict.fromkeys(others, drifted())
    night = fleet(words, others, began)
    assert (night.id, night.ended, night.nodes, night.others) == (began.id, None, tuple(others), 0)
    assert fleet(words, (), night) == night, "they are back in the morning"
    anew = fleet(dict.fromkeys(named, STEADY) | dict.fromkeys(others, LEARNING), (), night)
    assert anew == night, "another revision of the same source, of which they have said nothing yet"
    over = fleet(dict.fromkeys(MANY, STEADY), others, night)
    assert over.ended, "they said so before they were off"
    assert (over.id, over.nodes, over.others) == (began.id, (), 0)


def test_a_node_that_left_for_good_keeps_no_episode_open_whether_it_was_named_or_not() -> None:
    began = fleet(dict.fromkeys(MANY, drifted()))
    left = fleet(dict.fromkeys([*MANY[:3], *MANY[-2:]], drifted()), MANY[-2:], began)
    assert (left.ended, left.nodes, left.others) == (None, (*MANY[:3], *MANY[-2:]), 0)
    assert fleet({"edge-99": None}, ["edge-99"], began).ended


def test_who_drifts_and_is_off_is_not_said_to_drift() -> None:
    nodes, told = [at("edge-1"), at("edge-2", ready=False)], [Report(f"edge-{one}", "new", drifted()) for one in (1, 2)]
    found = judged(told, nodes).status
    assert (found.drifted, found.steady, found.unknown) == (1, 0, 1)
    assert [one.name for one in found.nodes] == ["edge-1"]
    assert judged(told[1:], nodes[1:]).status.episode is None, "an episode begins with who can be reached"


def test_a_status_that_somebody_spoilt_starts_no_error() -> None:
    assert judged([Report("edge-1", "new", drifted())], [at("edge-1")], {"id": 5}).status.episode.id
    assert judged([], [at("edge-1")], [1, 2]).status.episode is None


def test_sources_of_several_builds_are_one_word() -> None:
    assert source_of(["a" * 64, "a" * 64]) == "a" * 64
    assert len(source_of(["a" * 64, "b" * 64])) == 64
    assert source_of(["b", "a"]) == source_of(["a", "b"])


def cluster_of(feedback: dict[str, Any] = WATCHED) -> Cluster:
    cluster = three_nodes()
    publish(cluster, "a", generation=2, feedback=feedback)
    cluster.run(30)
    return cluster


def condition(cluster: Cluster, kind: str = "Drifted") -> dict[str, Any] | None:
    found = cluster.edge_model.status["conditions"]
    return next((one for one in found if one["type"] == kind), None)


def test_a_fleet_drifts_and_stays_ready() -> None:
    cluster = cluster_of()
    assert condition(cluster)["status"] == "Unknown"  # type: ignore[index]
    cluster.verdicts = dict.fromkeys(cluster.nodes, STEADY)
    cluster.run(1)
    assert condition(cluster)["status"] == "False"  # type: ignore[index]
    name = next(iter(cluster.nodes))
    cluster.verdicts[name] = drifted()
    cluster.events.clear()
    cluster.run(3)
    found = condition(cluster)
    assert found is not None
    assert (found["status"], found["reason"]) == ("True", "NodesDrifted")
    assert name in found["message"]
    assert condition(cluster, "Ready")["status"] == "True"  # type: ignore[index]
    assert cluster.events == ["Warning NodesDrifted"]
    assert cluster.edge_model.status["drift"]["nodes"][0]["features"] == ["x[0] 0.4 (0.1)"]


@pytest.mark.parametrize("feedback", [{}, {"privacy": "None"}])
def test_nothing_is_watched_or_said_without_privacy_that_allows_it(feedback: dict[str, Any]) -> None:
    cluster = cluster_of(feedback)
    cluster.verdicts = dict.fromkeys(cluster.nodes, drifted())
    cluster.run(2)
    assert (cluster.reporting, condition(cluster), cluster.edge_model.status.get("drift")) == ({}, None, None)


def test_reporters_go_with_their_revision_and_with_the_leave() -> None:
    cluster = cluster_of()
    (first,) = cluster.reporting
    cluster.verdicts = dict.fromkeys(cluster.nodes, drifted())
    cluster.run(1)
    publish(cluster, "b", generation=3, feedback=WATCHED)
    plan = cluster.run(2)
    assert first in cluster.reporting or len(cluster.reporting) <= 1
    cluster.verdicts = {}
    plan = cluster.run(60)
    assert len(cluster.reporting) == 1
    assert first not in cluster.reporting
    assert condition(cluster)["status"] == "Unknown"  # type: ignore[index]
    publish(cluster, "b", generation=4)
    plan = cluster.run(60)
    assert cluster.reporting == {}
    assert plan.reports == ()


def reporting_of(cluster: Cluster) -> tuple[Plan, Any]:
    plan = decide(cluster.snapshot(), cluster.now)
    return plan, reporting_daemon_set(cluster.edge_model, plan.reports[0], SETTINGS)


def test_a_reporter_has_no_token_no_port_and_is_no_server() -> None:
    plan, made = reporting_of(cluster_of())
    apply = plan.revisions[0]
    server = daemon_set(cluster_of().edge_model, apply, SETTINGS)
    template = made["spec"]["template"]
    pod = template["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["image"] == server["spec"]["template"]["spec"]["containers"][0]["image"]
    assert "ports" not in container
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert "edgesmith.dev/revision" not in template["metadata"]["labels"], "it is no serving pod"
    assert made["metadata"]["name"] == reporting_name(daemon_set_name("parts", apply.revision))
    assert made["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    options = build_parser().parse_args(container["args"])
    assert options.service == "parts"


def test_objects_know_a_reporter_s_pod_and_its_daemon_set_apart_from_servers() -> None:
    _, made = reporting_of(cluster_of())
    objects = Objects()
    made["metadata"] |= {"uid": "d", "resourceVersion": "1"}
    objects.put(DAEMON_SET, made)
    said = Verdict("abc", State.DRIFTED, 1900000000, 5, (("x[0]", 0.5, 0.1),)).write().decode()
    pod = {
        "metadata": {
            "namespace": "plant",
            "name": "p",
            "uid": "p",
            "resourceVersion": "2",
            "labels": made["spec"]["template"]["metadata"]["labels"],
        },
        "spec": {"nodeName": "edge-1"},
        "status": {"containerStatuses": [{"name": "reporter", "lastState": {"terminated": {"message": said}}}]},
    }
    objects.put(POD, pod)
    assert [len(table) for table in (objects.reporting, objects.reports, objects.revisions, objects.pods)] == [
        1,
        1,
        0,
        0,
    ]
    (entry,) = objects.reports.all()
    assert entry.node == "edge-1"
    assert entry.revision == made["metadata"]["labels"]["edgesmith.dev/revision"]
    assert entry.verdict == DriftVerdict("Drifted", datetime.fromtimestamp(1900000000, UTC), (("x[0]", 0.5, 0.1),))


@pytest.mark.parametrize(
    "message",
    [
        None,
        5,
        "",
        "{",
        "[]",
        "{}",
        json.dumps({"version": 2, "state": "Drifted", "since": 5}),
        json.dumps({"version": 1, "state": "Lost", "since": 5}),
        json.dumps({"version": 1, "state": "Drifted", "since": -5}),
        json.dumps({"version": 1, "state": "Drifted", "since": 1e300}),
        json.dumps({"version": 1, "state": "Drifted", "since": "now"}),
    ],
)
def test_what_a_device_says_is_read_with_care(message: Any) -> None:
    assert verdict(message) is None


def test_of_a_strange_verdict_only_what_is_known_is_kept() -> None:
    features = [
        {"name": "n" * 999, "value": 1, "limit": 2},
        {"name": 5},
        {"name": "x", "value": True, "limit": 1},
        7,
    ] * 9
    said = json.dumps({"version": 1, "state": "Drifted", "since": 5, "features": features, "more": 1})
    found = verdict(said)
    assert found is not None
    assert found.features == (("n" * 80, 1.0, 2.0),) * 5


def test_the_newest_end_of_a_reporter_is_its_word() -> None:
    ends = [Verdict("a", state, 5, 5).write().decode() for state in (State.STEADY, State.DRIFTED)]
    status = {"state": {"terminated": {"message": ends[1]}}, "lastState": {"terminated": {"message": ends[0]}}}
    found = report({"spec": {"nodeName": "e"}, "status": {"containerStatuses": [status]}})
    assert found.verdict is not None
    assert found.verdict.state == "Drifted"


@pytest.mark.parametrize(("cycle", "seconds"), [("24h", 86400), ("0s", 0), ("168h", 604800)])
def test_the_cycle_reaches_the_server(cycle: str, seconds: float) -> None:
    cluster = cluster_of(WATCHED | {"drift": {"cycle": cycle}})
    plan = decide(cluster.snapshot(), cluster.now)
    server = daemon_set(cluster.edge_model, plan.revisions[0], SETTINGS)["spec"]["template"]["spec"]["containers"][0]
    assert feedback_of(build_parser().parse_args(server["args"])).drift_cycle == seconds
