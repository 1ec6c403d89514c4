"""Each wrong input ends in one condition with one sentence; what served before goes on; a fix is enough."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from bad_input import in_vain, newer_edge_tpu, table
from device_class import device_class
from faults import Signalled, builds, kill_operator
from five import not_pulled

from edgesmith.api.names import MODEL_LABEL, RETRY_ANNOTATION
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import DEVICE_LABEL, Ground
from edgesmith_stage.install import NAMESPACE
from edgesmith_stage.shell import ROOT
from edgesmith_stage.waiting import until

pytestmark = pytest.mark.timeout(900)

ALONE: dict[str, Any] = {
    **dict.fromkeys(("calibration", "evaluation", "picture")),
    "gates": {"maxLatency": "200ms"},
}
"""A model without sets."""


@pytest.mark.long
def test_wrong_inputs_are_named_while_the_old_revision_serves_and_a_fix_is_enough(fleet: Fleet) -> None:
    good = fleet.manifest("parts", fleet.publish("1"))
    fleet.apply(good)
    fleet.wait_settled("parts", 300)
    pods = fleet.pods("parts")

    for bad in table():
        fleet.patch("parts", _restoring(good["spec"], bad.change(fleet)))
        condition = fleet.wait("parts", bad.condition, reason=bad.reason, seconds=120)
        for word in bad.says:
            assert word in condition["message"], f"{bad.name}: {condition['message']!r} does not name {word!r}"
        assert "\n" not in condition["message"]
        assert len(condition["message"]) < 700, bad.name
        assert fleet.pods("parts") == pods, f"{bad.name}: serving pods were touched"

    fleet.patch("parts", _restoring(good["spec"], {}))
    fleet.wait_settled("parts", 120)
    assert fleet.pods("parts") == pods


@pytest.mark.long
@pytest.mark.lent
def test_a_node_of_two_profiles_is_named_and_one_of_none_stops_nothing(fleet: Fleet) -> None:
    kube = fleet.ground.kube
    twin = {
        "apiVersion": "edgesmith.dev/v1alpha1",
        "kind": "DeviceProfile",
        "metadata": {"name": "twin"},
        "spec": {"nodeSelector": {DEVICE_LABEL: "panel-pc"}, "platform": {"os": "linux", "architecture": "amd64"}},
    }
    kube.apply(twin)
    try:
        two = fleet.manifest("two", fleet.publish("1"), deviceProfiles={"names": ["panel-pc", "twin"]})
        none = fleet.manifest(
            "none",
            fleet.publish("1"),
            deviceProfiles={"names": ["generic-amd64"]},
            nodeSelector={"kubernetes.io/os": "linux"},
        )
        fleet.apply(two)
        fleet.apply(none)
        assert "edge-3" in fleet.wait("two", "Stalled", reason="NodeMatchesTwoProfiles")["message"]
        fleet.wait_settled("none", 300)
        assert "hub" not in fleet.servers("none")
        assert "edge-3" not in fleet.servers("two")
    finally:
        kube("delete", "deviceprofile", "twin")


@pytest.mark.long
@pytest.mark.lent
def test_an_image_that_cannot_be_pulled_is_rolled_back(fleet: Fleet) -> None:
    manifest = fleet.manifest("parts", fleet.publish("1"), deviceProfiles={"names": ["generic-amd64"]})
    fleet.apply(manifest)
    fleet.wait_settled("parts", 300)
    before = fleet.servers("parts")

    with fleet.without_registry("edge-1", "edge-2"):
        fleet.patch("parts", {"source": fleet.publish("2", "model-v2.onnx"), "rollout": {"progressDeadline": "5m"}})
        # The deadline is to end after the pull has failed, however busy the machine is.
        until(lambda: not_pulled(fleet, "parts") >= 1, seconds=120, what="the canary to fail to pull")
        fleet.patch("parts", {"rollout": {"progressDeadline": "10s"}})
        stalled = fleet.wait("parts", "Stalled", reason="RolledBack", seconds=240)
    assert "pull" in stalled["message"]
    until(lambda: all(s.ready for s in fleet.servers("parts").values()), seconds=60, what="the old revision to serve")
    assert {n: s.revision for n, s in fleet.servers("parts").items()} == {n: s.revision for n, s in before.items()}


@pytest.mark.parametrize("moment", ["Building", pytest.param("Canary", marks=pytest.mark.lent)])
def test_deleting_in_mid_build_and_mid_rollout_leaves_nothing(fleet: Fleet, moment: str) -> None:
    manifest = fleet.manifest("parts", fleet.publish("1"))
    manifest["spec"]["rollout"]["steps"][0]["bake"] = "10m"
    fleet.apply(manifest)
    fleet.wait("parts", "Reconciling", reason=moment, seconds=240)
    fleet.ground.kube("delete", "edgemodel", "parts", "-n", fleet.namespace)

    def gone() -> bool:
        kinds = "jobs,daemonsets,services,pods"
        left = json.loads(fleet.ground.kube("get", kinds, "-n", fleet.namespace, "-o", "json"))["items"]
        nodes: list[dict[str, Any]] = fleet.ground.kube.list("nodes", None)
        keys = [key for n in nodes for key in (*n["metadata"]["labels"], *n["metadata"].get("annotations", {}))]
        return not left and not any(key.startswith(f"{fleet.namespace}.edgesmith.dev") for key in keys)

    until(gone, seconds=120, what="every child and every label and record on a node to go")


@pytest.mark.lent
@pytest.mark.long
def test_builds_that_the_kernel_or_the_deadline_ends_are_named_and_stop_nothing_else(
    fleet: Fleet,
) -> None:
    profile = {"deviceProfiles": {"names": ["panel-pc"]}}
    fleet.apply(fleet.manifest("good", fleet.publish("1"), **profile))
    fleet.wait_settled("good", 300)
    before = fleet.servers("good")["edge-3"].revision
    sources = {
        name: fleet.publish_bytes(name, (ROOT / f"examples/{example}/model.onnx").read_bytes())
        for name, example in (("starved", "digits"), ("hung", "language"))
    }

    stopped = Signalled(builds(sources["hung"]["uri"]), signal.SIGSTOP)
    with _little_for_builds(fleet, memory="40Mi", seconds=40), stopped as hung:
        for name, source in sources.items():
            fleet.apply(fleet.manifest(name, source, **profile, **ALONE))
        fleet.patch("good", {"serving": {"resources": {"limits": {"memory": "300Mi"}}}})
        starved = fleet.wait("starved", "Stalled", reason="BuildFailed", seconds=180)
        assert "OOMKilled" in starved["message"], starved
        overdue = fleet.wait("hung", "Stalled", reason="BuildFailed", seconds=120)
        assert "was ended by its deadline" in overdue["message"], overdue
        assert "40 s (builder.deadlineSeconds)" in overdue["message"], overdue
        assert len(hung.places) == 1, "it was started once"
        assert not any(one.alive for one in hung.found)
        fleet.wait_settled("good")
        assert fleet.servers("good")["edge-3"].revision != before
        assert fleet.condition("starved", "Stalled") == starved, "it is not tried on and on"

    fleet.ground.kube("annotate", "edgemodel", "starved", "-n", fleet.namespace, f"{RETRY_ANNOTATION}=1")
    fleet.wait_settled("starved", 120)
    assert fleet.condition("hung", "Stalled") == overdue, "another operator does not try it again either"


@pytest.mark.lent
@pytest.mark.long
def test_what_no_build_could_run_is_built_once_stops_nothing_else_and_no_other_operator_tries_it_again(
    fleet: Fleet, coral: str
) -> None:
    profile = {"deviceProfiles": {"names": ["panel-pc"]}}
    fleet.apply(fleet.manifest("good", fleet.publish("1"), **profile))
    fleet.wait_settled("good", 300)
    before = fleet.servers("good")["edge-3"].revision

    rows = {bad.name: bad for bad in (*in_vain(), newer_edge_tpu(coral))}
    for name, bad in rows.items():
        fleet.apply(fleet.manifest(name, **profile | ALONE | bad.change(fleet)))
    stalled = {name: fleet.wait(name, bad.condition, reason=bad.reason, seconds=180) for name, bad in rows.items()}
    for name, bad in rows.items():
        assert all(word in stalled[name]["message"] for word in bad.says), stalled[name]
    built = {name: _jobs(fleet, name) for name in rows}
    assert {name: len(jobs) for name, jobs in built.items()} == dict.fromkeys(rows, 1)

    kill_operator(fleet)
    fleet.patch("good", {"serving": {"resources": {"limits": {"memory": "300Mi"}}}})
    fleet.wait_settled("good")
    assert fleet.servers("good")["edge-3"].revision != before, "the other operator works"
    assert {name: fleet.condition(name, "Stalled") for name in rows} == stalled
    assert {name: _jobs(fleet, name) for name in rows} == built


@pytest.fixture
def coral(ground: Ground) -> Iterator[str]:
    """A DeviceProfile for Edge TPUs, which no node has."""
    profile = device_class("no-coral", {f"{DEVICE_LABEL}-none": "yes"}, toolchain={"name": "EdgeTPU"})
    ground.kube.apply(profile)
    yield "no-coral"
    ground.kube("delete", "deviceprofile", "no-coral")


@pytest.mark.long
def test_a_build_that_a_signal_ends_each_time_is_named_and_served_once_nothing_ends_it(fleet: Fleet) -> None:
    source = fleet.publish_bytes("killed", (ROOT / "examples/digits/model.onnx").read_bytes())
    with Signalled(builds(source["uri"]), signal.SIGKILL) as killed:
        fleet.apply(fleet.manifest("killed", source, deviceProfiles={"names": ["panel-pc"]}, **ALONE))
        stalled = fleet.wait("killed", "Stalled", reason="BuildFailed", seconds=240)
        assert "the builder was ended: SIGKILL, exit code 137" in stalled["message"], stalled
        assert len(killed.places) == 3, "it is tried twice more, and no more"

    fleet.ground.kube("annotate", "edgemodel", "killed", "-n", fleet.namespace, f"{RETRY_ANNOTATION}=1")
    fleet.wait_settled("killed", 120)
    assert set(fleet.servers("killed")) == {"edge-3"}


def _jobs(fleet: Fleet, name: str) -> set[str]:
    """The Jobs of an EdgeModel, whatever became of them."""
    jobs = fleet.ground.kube.list("jobs", fleet.namespace, {MODEL_LABEL: name})
    return {job["metadata"]["uid"] for job in jobs}


@contextmanager
def _little_for_builds(fleet: Fleet, *, memory: str, seconds: int) -> Iterator[None]:
    """While the block runs, a build has so much memory and so much time: less than the chart lets one say."""
    sizes = json.dumps({"requests": {"memory": memory}, "limits": {"memory": memory}})
    words = (f"EDGESMITH_BUILDER_RESOURCES={sizes}", f"EDGESMITH_BUILDER_DEADLINE_SECONDS={seconds}")
    operator = ("deployment/edgesmith", "-n", NAMESPACE)
    kube = fleet.ground.kube
    kube("set", "env", *operator, *words)
    try:
        kube("rollout", "status", *operator, "--timeout=90s")
        yield
    finally:
        kube("rollout", "undo", *operator)
        kube("rollout", "status", *operator, "--timeout=90s")


def _restoring(good: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """A merge patch that goes back to the good spec except for one change."""
    restored = {key: good.get(key) for key in ("source", "evaluation", "gates", "deviceProfiles", "nodeSelector")}
    patch = restored | change
    if "gates" in change:
        patch["gates"] = {**dict.fromkeys(good["gates"]), **change["gates"]}
    elif good.get("gates"):
        patch["gates"] = {"minAccuracy": None, "maxImageSize": None, **good["gates"]}
    patch["evaluation"] = {"sha256": None, **(patch["evaluation"] or {})}
    return patch
