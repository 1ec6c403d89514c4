"""Which image is held where, so that going back needs no link, and what holds it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from clusters import Cluster, labels, publish, three_nodes, upcoming
from snapshots import LABEL, NEXT, SETTINGS, model, profile

from edgesmith.api.names import daemon_set_name, holding_name
from edgesmith.decide import decide
from edgesmith.decide.plan import HoldImage, Plan
from edgesmith.resources import holding_daemon_set, service

IMAGE = f"registry:5000/models/plant/models@sha256:{'3' * 64}"
TOLERATION = {"key": "edge", "operator": "Exists"}


def hold(**at: Any) -> HoldImage:
    return HoldImage(profile(**at), "old", IMAGE, ("newer", "newest"))


def proven(cluster: Cluster) -> str:
    """The revision that all nodes run."""
    (found,) = set(labels(cluster).values())
    return str(found)


def after(*digits: str, rollout: dict[str, Any] | None = None) -> tuple[Cluster, list[str], Plan]:
    """Three nodes after some sources were rolled out, one after the other; the revisions, and the last plan."""
    cluster, revisions = three_nodes(), []
    for number, digit in enumerate(digits, 2):
        publish(cluster, digit, generation=number, rollout={"steps": [{"nodes": 1, "bake": "10s"}]} | (rollout or {}))
        plan = cluster.run(30)
        revisions.append(proven(cluster))
    return cluster, revisions, plan


def test_the_revision_before_is_held_once_there_is_one() -> None:
    cluster, revisions, plan = after("a")
    assert (plan.holds, cluster.holding) == ((), {})
    cluster, revisions, plan = after("a", "b")
    (found,) = plan.holds
    before = cluster.revisions[daemon_set_name("parts", revisions[0])]
    assert (found.revision, found.image, found.others) == (revisions[0], before.image, (revisions[1],))
    cluster, revisions, plan = after("a", "b", "c")
    assert list(cluster.holding) == [revisions[1]], "one for each variant, whatever there was before"
    assert set(cluster.holding[revisions[1]].others) == {revisions[0], revisions[2]}


def test_another_profile_is_none_of_its_business() -> None:
    cluster, revisions, plan = after("a", "b")
    one = cluster.revisions[daemon_set_name("parts", revisions[0])]
    other = replace(one, name="parts-other", revision="other", profile="arm64", image=IMAGE)
    seen = decide(replace(cluster.snapshot(), revisions=(*cluster.snapshot().revisions, other)), cluster.now)
    assert seen.holds == plan.holds


def test_it_is_held_from_the_moment_at_which_a_node_makes_another_one_ready() -> None:
    cluster, (first,), _ = after("a")
    publish(cluster, "b", generation=3)
    cluster.run(1)
    plan = decide(cluster.snapshot(), cluster.now)
    assert [one.revision for one in plan.holds] == [first]
    assert not any(upcoming(cluster).values()), "no node has been given the new one"


def test_what_was_rolled_back_is_never_held_and_where_everybody_went_back_nothing_is() -> None:
    cluster, (first,), _ = after("a")
    cluster.refuse.add("b" * 64)
    publish(cluster, "b", generation=3)
    seen = set()
    for _ in range(30):
        seen |= {one.revision for one in cluster.run(1).holds}
    assert cluster.edge_model.status["variants"][0]["state"] == "RolledBack"
    assert seen == {first}


def test_what_holds_nothing_any_more_goes() -> None:
    cluster, revisions, _ = after("a", "b")
    rollout = {"steps": [{"nodes": 1, "bake": "10s"}], "holdPrevious": False}
    publish(cluster, "b", generation=9, rollout=rollout)
    plan = decide(cluster.snapshot(), cluster.now)
    assert plan.holds == ()
    name = holding_name(daemon_set_name("parts", revisions[0]))
    assert [(one.kind, one.name) for one in plan.deletes] == [("DaemonSet", name)]
    cluster.run(2)
    assert cluster.holding == {}


def test_what_is_gone_back_to_stays_held_until_the_last_node_runs_it() -> None:
    cluster, (first, second), _ = after("a", "b")
    late = next(iter(labels(cluster)))
    cluster.nodes[late] = replace(cluster.nodes[late], ready=False)
    publish(cluster, "a", generation=4)
    for _ in range(30):
        plan = cluster.run(1)
        assert first in {one.revision for one in plan.holds}
        assert not any(one.kind == "DaemonSet" and f"{first}-held" in one.name for one in plan.deletes)
    assert cluster.holding[first].others == (second,)
    assert labels(cluster)[late] == second
    assert set(labels(cluster).values()) == {first, second}

    cluster.nodes[late] = replace(cluster.nodes[late], ready=True)
    made_ready = 0
    for _ in range(30):
        plan = cluster.run(1)
        if upcoming(cluster)[late]:
            made_ready += 1
            assert first in {one.revision for one in plan.holds}, "a node that is to make it ready may not have it"
    assert made_ready
    assert proven(cluster) == first
    assert [one.revision for one in plan.holds] == list(cluster.holding) == [second]


@pytest.mark.parametrize("how", ["gone", "unreadable"])
def test_of_a_profile_that_cannot_be_used_nothing_is_concluded(how: str) -> None:
    cluster, revisions, _ = after("a", "b")
    cluster.profiles = ()
    missing = ("amd64",) if how == "unreadable" else ()
    plan = decide(replace(cluster.snapshot(), unreadable_profiles=missing), cluster.now)
    names = {one.name for one in plan.deletes}
    assert plan.holds == ()
    assert (holding_name(daemon_set_name("parts", revisions[0])) in names) is False, "it is missing, not removed"


def test_a_serving_configuration_of_the_same_image_needs_none() -> None:
    cluster, revisions, _ = after("a", "b")
    serving = {"resources": {"limits": {"memory": "300Mi"}}}
    publish(cluster, "b", generation=9, serving=serving)
    for _ in range(40):
        plan = cluster.run(1)
        assert [(one.revision, one.others) for one in plan.holds] == [(revisions[1], (revisions[0],))]
    assert proven(cluster) != revisions[1], "its server uses the image itself"


def test_it_runs_where_another_revision_does_and_beside_a_server_that_is_to_end() -> None:
    made = holding_daemon_set(model(), hold(), SETTINGS)
    terms = made["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    able = {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}
    runs = {"key": LABEL, "operator": "In"}
    assert terms["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] == [
        {"matchExpressions": [{**runs, "values": ["newer", "newest"]}, able]},
        {"matchExpressions": [{**runs, "values": ["old"]}, {"key": NEXT, "operator": "Exists"}, able]},
    ]


def test_its_pods_are_no_servers_and_not_watched() -> None:
    settings = replace(SETTINGS, pull_secret="login")  # noqa: S106 -- a name
    at = {"runtime": {"tolerations": [TOLERATION], "volumes": [], "resources": {"limits": {"google.com/coral": 1}}}}
    made = holding_daemon_set(model(), hold(**at), settings)
    pod, of_pod = made["spec"]["template"]["spec"], made["spec"]["template"]["metadata"]["labels"]
    (waiting,) = pod["containers"]
    assert (waiting["image"], waiting["args"]) == (IMAGE, ["wait"])
    assert not {"ports", "initContainers", "volumes", "priorityClassName", "runtimeClassName"} & (
        set(pod) | set(waiting)
    )
    assert "google.com/coral" not in str(waiting["resources"]), "the server holds it"
    assert pod["tolerations"] == [TOLERATION]
    assert pod["imagePullSecrets"] == [{"name": "login"}]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert waiting["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    selector = service(model())["spec"]["selector"]
    assert not selector.items() <= of_pod.items()
    assert not {"app.kubernetes.io/managed-by", "edgesmith.dev/revision"} & set(of_pod), "nobody counts them"
    assert made["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "edgesmith"
    assert made["spec"]["selector"]["matchLabels"].items() <= of_pod.items()
    assert made["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_what_does_nothing_costs_next_to_nothing_and_ends_at_once() -> None:
    made = holding_daemon_set(model(), hold(), SETTINGS)
    template = made["spec"]["template"]
    (waiting,) = template["spec"]["containers"]
    assert waiting["resources"] == {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}
    assert template["spec"]["terminationGracePeriodSeconds"] == 1, "it has nobody to answer"
    assert template["spec"]["enableServiceLinks"] is False, "it calls no Service"
    assert template["metadata"]["annotations"] == {"argocd.argoproj.io/ignore-resource-updates": "true"}
