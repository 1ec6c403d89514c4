"""Which EdgeModels a change concerns."""

from __future__ import annotations

from objects_of import Object, model, node, pod, profile, unreadable_model

from edgesmith.api.names import BUILD_KEY_LABEL, MODEL_LABEL, node_label
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL, JOB, NODE, POD, Kind
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.parse_build import JOB_NAME_LABEL
from edgesmith.controller.concerns import concerned, everybody

ONE, TWO = node_label("ns", "one"), node_label("ns", "two")


def world() -> Objects:
    """`one` wants what is of profile p; `two` wants zone 2, of any profile."""
    objects = Objects()
    objects.put(DEVICE_PROFILE, profile("p"))
    objects.put(DEVICE_PROFILE, profile("q"))
    objects.put(EDGE_MODEL, model("one"))
    objects.put(EDGE_MODEL, model("two", nodeSelector={"zone": "2"}, deviceProfiles={"selector": {}}))
    return objects


def after(objects: Objects, kind: Kind, raw: Object) -> set[str]:
    change = objects.put(kind, raw)
    assert change is not None
    return {name for _, name in concerned(change, objects)}


def test_a_profile_concerns_who_names_it_and_who_selects() -> None:
    assert after(world(), DEVICE_PROFILE, profile("p", version=2, device="r")) == {"one", "two"}
    assert after(world(), DEVICE_PROFILE, profile("other")) == {"two"}


def test_a_profile_that_cannot_be_read_concerns_who_names_it() -> None:
    broken = profile("p", version=2)
    broken["spec"] = {}
    assert after(world(), DEVICE_PROFILE, broken) == {"one", "two"}


def test_a_node_concerns_who_may_want_it() -> None:
    assert after(world(), NODE, node("n")) == set()
    assert after(world(), NODE, node("n", {"device": "p"})) == {"one"}
    assert after(world(), NODE, node("n", {"device": "q", "zone": "2"})) == {"two"}
    assert after(world(), NODE, node("n", {"device": "p", "zone": "2"})) == {"one", "two"}


def test_a_node_that_a_selector_picks_and_no_profile_fits_concerns_the_selectors_owner_once() -> None:
    objects = world()
    assert after(objects, NODE, node("n", {"zone": "2"})) == {"two"}
    assert after(objects, NODE, node("n", {"zone": "2"}, ready="False", version=2)) == set()


def test_a_node_that_loses_a_label_concerns_who_wanted_it() -> None:
    objects = world()
    objects.put(NODE, node("n", {"device": "p", "zone": "2"}))
    assert after(objects, NODE, node("n", {"device": "p"}, version=2)) == {"one", "two"}
    assert after(objects, NODE, node("n", version=3)) == {"one"}


def test_a_flap_concerns_who_runs_there_or_is_to() -> None:
    objects = world()
    for number in range(50):
        objects.put(EDGE_MODEL, model(f"elsewhere-{number}", deviceProfiles={"names": ["q"]}))
    objects.put(NODE, node("n", {"device": "p", TWO: "r1"}))
    assert after(objects, NODE, node("n", {"device": "p", TWO: "r1"}, ready="Unknown", version=2)) == {"one", "two"}


def test_an_annotation_alone_concerns_nobody() -> None:
    objects = world()
    objects.put(NODE, node("n", {"device": "p", ONE: "r1"}))
    marked = node("n", {"device": "p", ONE: "r1"}, version=2)
    marked["metadata"]["annotations"] = {ONE: "{}"}
    change = objects.put(NODE, marked)
    assert change is None or concerned(change, objects) == set()


def test_our_own_label_concerns_its_edge_model_alone() -> None:
    objects = world()
    objects.put(NODE, node("n", {ONE: "r1"}))
    assert after(objects, NODE, node("n", {ONE: "r1", TWO: "r2"}, version=2)) == {"two"}


def test_a_taint_concerns_who_runs_on_the_node() -> None:
    objects = world()
    objects.put(NODE, node("n", {TWO: "r1"}))
    tainted = node("n", {TWO: "r1"}, version=2)
    tainted["spec"] = {"taints": [{"key": "maintenance", "effect": "NoSchedule"}]}
    assert after(objects, NODE, tainted) == {"two"}


def test_a_device_that_comes_or_goes_concerns_who_runs_on_the_node() -> None:
    objects = world()
    offering = node("n", {TWO: "r1"})
    offering["status"]["allocatable"] = {"cpu": "4", "squat.ai/edgetpu": "1"}
    objects.put(NODE, offering)
    for version, coral, cpu, concerns in ((2, "0", "4", {"two"}), (3, "0", "3", set()), (4, "1", "3", {"two"})):
        later = node("n", {TWO: "r1"}, version=version)
        later["status"]["allocatable"] = {"cpu": cpu, "squat.ai/edgetpu": coral}
        change = objects.put(NODE, later)
        assert (concerned(change, objects) if change else set()) == ({("ns", one) for one in concerns})


def test_a_pod_concerns_its_edge_model() -> None:
    assert after(world(), POD, pod("x")) == {"m"}


def test_a_job_concerns_its_edge_model_and_who_waits_for_the_same_build_in_its_namespace() -> None:
    objects = world()
    waiting = model("two", version=2) | {
        "status": {"variants": [{"profile": "p", "buildKey": "k", "state": "Building"}]}
    }
    objects.put(EDGE_MODEL, waiting)
    labels = {MODEL_LABEL: "one", BUILD_KEY_LABEL: "k"}
    metadata = {"name": "j", "namespace": "ns", "uid": "j", "resourceVersion": "1", "labels": labels}
    assert after(objects, JOB, {"metadata": metadata}) == {"one", "two"}
    gone = objects.remove(JOB, {"metadata": metadata | {"resourceVersion": "2"}})
    assert gone is not None
    assert {name for _, name in concerned(gone, objects)} == {"one", "two"}
    assert after(objects, JOB, {"metadata": metadata | {"namespace": "elsewhere", "uid": "j2"}}) == {"one"}
    other = metadata | {"name": "j3", "uid": "j3", "labels": labels | {BUILD_KEY_LABEL: "k3"}}
    assert after(objects, JOB, {"metadata": other}) == {"one"}


def test_a_job_concerns_who_waits_for_it_for_an_alternative() -> None:
    objects = world()
    builds = [
        {"alternative": "source", "buildKey": "k", "state": "Built"},
        {"alternative": "small", "buildKey": "k2", "state": "Building"},
    ]
    variants = [{"profile": "p", "buildKey": "k", "state": "Building", "builds": builds}]
    objects.put(EDGE_MODEL, model("two", version=2) | {"status": {"variants": variants}})
    labels = {MODEL_LABEL: "one", BUILD_KEY_LABEL: "k2"}
    metadata = {"name": "j", "namespace": "ns", "uid": "j", "resourceVersion": "1", "labels": labels}
    assert after(objects, JOB, {"metadata": metadata}) == {"one", "two"}


def test_everybody_is_every_edge_model_and_every_one_with_a_label_left() -> None:
    objects = world()
    objects.put(NODE, node("n", {node_label("elsewhere", "gone"): "r1", "a": "b"}))
    assert everybody(objects) == {("ns", "one"), ("ns", "two"), ("elsewhere", "gone")}


def test_everybody_holds_those_that_cannot_be_read() -> None:
    objects = world()
    objects.put(EDGE_MODEL, unreadable_model("one", version=2))
    assert everybody(objects) == {("ns", "one"), ("ns", "two")}


def a_job(owner: str, key: str, name: str = "j") -> Object:
    labels = {MODEL_LABEL: owner, BUILD_KEY_LABEL: key}
    return {"metadata": {"name": name, "namespace": "ns", "uid": name, "resourceVersion": "1", "labels": labels}}


def test_a_pod_of_a_build_concerns_whose_job_it_is_and_who_waits_for_that() -> None:
    """A Secret that is missing, an image that cannot be pulled, and the digest show in the pod alone."""
    objects = world()
    variants = [{"profile": "p", "buildKey": "k", "state": "Building"}]
    for name, namespace in (("two", "ns"), ("elsewhere", "other")):
        waiting = model(name, version=2) | {"status": {"variants": variants}}
        objects.put(EDGE_MODEL, waiting | {"metadata": waiting["metadata"] | {"namespace": namespace}})
    objects.put(JOB, a_job("one", "k"))
    objects.put(JOB, a_job("one", "k2", "j2"))
    labels = {MODEL_LABEL: "one", BUILD_KEY_LABEL: "k", JOB_NAME_LABEL: "j"}
    assert after(objects, POD, pod("x", labels=labels)) == {"one", "two"}
    ended = pod("x", version=2, labels=labels, phase="Failed", reason="DeadlineExceeded")
    assert after(objects, POD, ended) == {"one", "two"}
    gone = objects.remove(POD, pod("x", version=3, labels=labels))
    assert gone is not None
    assert concerned(gone, objects) == {("ns", "one"), ("ns", "two")}
    assert after(objects, POD, pod("y", labels=labels | {JOB_NAME_LABEL: "j2"})) == {"one"}
    assert after(objects, POD, pod("z", labels=labels | {JOB_NAME_LABEL: "j3"})) == {"one"}, "its Job is not known"
