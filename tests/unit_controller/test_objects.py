"""What we know of the cluster: the newest of each object, and nothing that is gone."""

from __future__ import annotations

from objects_of import Object, model, node, pod
from snapshots import SETTINGS, profile
from snapshots import model as edge_model

from edgesmith.cluster.kinds import DAEMON_SET, EDGE_MODEL, JOB, NODE, POD
from edgesmith.cluster.objects import Objects
from edgesmith.decide.plan import HoldImage
from edgesmith.resources import holding_daemon_set


def test_an_older_version_is_not_taken() -> None:
    objects = Objects()
    objects.put(NODE, node("n", {"a": "new"}, version=5))
    assert objects.put(NODE, node("n", {"a": "old"}, version=4)) is None
    found = objects.nodes.get("", "n")
    assert found is not None
    assert found.labels == {"a": "new"}


def test_our_own_write_seen_by_the_watch_is_no_change() -> None:
    objects = Objects()
    objects.put(NODE, node("n", version=1))
    assert objects.put(NODE, node("n", {"a": "1"}, version=2)) is not None
    assert objects.put(NODE, node("n", {"a": "1"}, version=2)) is None


def test_a_heartbeat_is_no_change() -> None:
    objects = Objects()
    objects.put(NODE, node("n", version=1))
    assert objects.put(NODE, node("n", version=2)) is None


def test_an_answer_that_comes_after_the_deletion_is_not_taken() -> None:
    objects = Objects()
    objects.put(NODE, node("n", version=1))
    assert objects.remove(NODE, node("n", version=2)) is not None
    assert objects.put(NODE, node("n", {"a": "1"}, version=2)) is None
    assert objects.nodes.all() == ()


def test_a_label_that_is_put_back_brings_an_object_back() -> None:
    objects = Objects()
    objects.put(POD, pod("server", version=1))
    assert objects.remove(POD, pod("server", version=2)) is not None
    assert objects.put(POD, pod("server", version=2)) is None
    assert objects.put(POD, pod("server", version=3)) is not None
    assert [name for name, _ in objects.pods.of_model("ns", "m")] == ["server"]


def test_the_report_of_a_removal_that_was_undone_comes_too_late() -> None:
    objects = Objects()
    objects.put(POD, pod("server", version=3))
    assert objects.remove(POD, pod("server", version=2)) is None
    assert objects.put(POD, pod("server", version=4, phase="Running")) is None
    assert objects.pods.get("ns", "server") is not None


def test_a_pod_that_loses_the_label_that_makes_it_ours_is_forgotten() -> None:
    objects = Objects()
    objects.put(POD, pod("server", version=1))
    change = objects.put(POD, pod("server", version=2, labels={"app.kubernetes.io/managed-by": "edgesmith"}))
    assert change is not None
    assert (change.model, change.new) == ("m", None)
    assert objects.pods.get("ns", "server") is None


def test_news_of_a_predecessor_of_the_same_name_is_not_taken() -> None:
    objects = Objects()
    second = pod("server", version=5)
    second["metadata"]["uid"] = "another"
    objects.put(POD, second)
    assert objects.put(POD, pod("server", version=4)) is None


def test_everything_can_be_replaced_by_older_versions() -> None:
    objects, fresh = Objects(), Objects()
    objects.put(NODE, node("n", {"a": "new"}, version=90))
    objects.put(NODE, node("gone", version=95))
    objects.remove(NODE, node("back", version=96))
    assert objects.newest(NODE) == 95
    for name in ("n", "back"):
        fresh.put(NODE, node(name, version=10))
    objects.replace(fresh)
    assert [found.name for found in objects.nodes.all()] == ["back", "n"]
    assert objects.newest(NODE) == 10
    assert objects.put(NODE, node("n", {"a": "1"}, version=11)) is not None


def test_a_successor_of_the_same_name_outlives_the_news_of_the_first() -> None:
    objects = Objects()
    first, second = model("m", version=1), model("m", version=3)
    second["metadata"]["uid"] = "another"
    objects.put(EDGE_MODEL, first)
    objects.put(EDGE_MODEL, second)
    assert objects.remove(EDGE_MODEL, first) is None
    assert objects.models.get("ns", "m") is not None


def test_pods_are_found_by_their_edge_model_servers_apart_from_builders() -> None:
    objects = Objects()
    objects.put(POD, pod("server"))
    objects.put(POD, pod("builder", labels={"edgesmith.dev/model": "m", "edgesmith.dev/build-key": "k"}))
    assert objects.put(POD, pod("other", labels={"app": "x"})) is None
    assert [name for name, _ in objects.pods.of_model("ns", "m")] == ["server"]
    assert [name for name, _ in objects.build_pods.of_model("ns", "m")] == ["builder"]
    objects.remove(POD, pod("server"))
    assert objects.pods.of_model("ns", "m") == []


def test_a_listing_shows_what_was_deleted_unseen_and_spares_what_is_newer() -> None:
    objects = Objects()
    for name, version in (("kept", 1), ("deleted", 2), ("young", 9)):
        objects.put(NODE, node(name, version=version))
    changes = objects.retain(NODE, {"uid-kept"}, "5")
    assert [change.key for change in changes] == [("", "deleted")]
    assert [found.name for found in objects.nodes.all()] == ["kept", "young"]


def test_the_owner_is_remembered() -> None:
    objects = Objects()
    metadata: Object = {"name": "d", "namespace": "ns", "uid": "u", "labels": {"edgesmith.dev/model": "m"}}
    metadata["ownerReferences"] = [{"uid": "x"}, {"uid": "owner", "controller": True}]
    objects.put(DAEMON_SET, {"metadata": metadata})
    assert [entry.owner for _, entry in objects.revisions.of_model("ns", "m")] == ["owner"]


def test_a_job_is_found_by_its_build_and_leaves_nothing_behind() -> None:
    objects = Objects()
    labels = {"edgesmith.dev/model": "m", "edgesmith.dev/build-key": "k"}
    metadata: Object = {"name": "j", "namespace": "ns", "uid": "u", "resourceVersion": "1", "labels": labels}
    objects.put(JOB, {"metadata": metadata})
    assert [name for name, _ in objects.jobs.of_group("ns", "k")] == ["j"]
    assert objects.jobs.of_group("elsewhere", "k") == []
    objects.remove(JOB, {"metadata": metadata | {"resourceVersion": "2"}})
    assert objects.jobs.of_group("ns", "k") == []
    assert (objects.jobs._by_model, objects.jobs._by_group) == ({}, {})


def test_pods_that_hold_an_image_are_no_servers_of_its_revision() -> None:
    objects = Objects()
    held = pod("held", version=1)
    hold = HoldImage(profile("amd64"), "old", "registry/image@sha256:1", ("new",))
    made = holding_daemon_set(edge_model(), hold, SETTINGS)
    held["metadata"]["labels"] = made["spec"]["template"]["metadata"]["labels"]
    assert objects.put(POD, held) is None
    assert objects.pods.of_model("ns", "m") == []
