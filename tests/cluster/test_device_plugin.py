"""A real kubelet and a device plugin: nodes without the device, a rollout on an exclusive one, one that changes.

The class of hardware is the catalogue's for a Coral in a slot, and the model one that its publisher compiled for it. No
Edge TPU is here, nor its library, so what serves beside the device is the file from before that, on the processor.
"""

from __future__ import annotations

import itertools
import json
import stat
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from device_plugin import FRESH, IN_CONTAINER, RESOURCE, USED, DevicePlugin, Holders, holders
from faults import Watched
from mobilenets import UNIFORM, mobilenet_spec, said_of_hopper
from namespaces import keep_evidence, namespace_of
from published import imagenet

from edgesmith_stage.fleet import Fleet
from edgesmith_stage.ground import Ground
from edgesmith_stage.shell import ROOT
from edgesmith_stage.waiting import until

pytestmark = pytest.mark.timeout(300)

NAME, PROFILE = "vision", "coral-m2"
LABEL = "edgesmith-test/coral"
WITH, WITHOUT = "edge-3", "edge-4"
"""The node that a Coral is plugged into, and one that is labelled as if it were."""
ROLLOUT = {"steps": [{"nodes": 1, "bake": "2s"}], "maxUnavailable": 1, "progressDeadline": "2m"}
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def shared(ground: Ground) -> Iterator[Fleet]:
    """An EdgeModel whose servers ask for the device, on two nodes of which none has a plugin yet."""
    kube = ground.kube
    kube("label", "nodes", WITH, WITHOUT, f"{LABEL}=yes")
    kube.apply(_catalogues())
    with namespace_of(ground, "device-plugin") as fleet:
        spec = mobilenet_spec(fleet, next(_NUMBERS), compiled=True)
        source = spec.pop("source")
        fleet.apply(fleet.manifest(NAME, source, deviceProfiles={"names": [PROFILE]}, rollout=ROLLOUT, **spec))
        yield fleet
        kube("delete", "edgemodel", NAME, "-n", fleet.namespace)
    kube("label", "nodes", WITH, WITHOUT, f"{LABEL}-")
    kube("delete", "deviceprofile", PROFILE)


@pytest.fixture(scope="module")
def without(shared: Fleet) -> dict[str, Any]:
    """The EdgeModel's status once it is built, before there is any plugin."""
    waiting = shared.wait(NAME, "Reconciling", reason="DeviceMissing", seconds=180)
    found: dict[str, Any] = shared.model(NAME)["status"]
    return found | {"said": waiting["message"], "pods": shared.pods(NAME)}


@pytest.fixture(scope="module")
def plugged(shared: Fleet, without: dict[str, Any]) -> Iterator[DevicePlugin]:
    """The plugin of the one node, with its device as it comes from the shop."""
    assert without
    with DevicePlugin(shared.ground.name, WITH, FRESH) as plugin:
        shared.wait_settled(NAME)
        yield plugin


@pytest.fixture(autouse=True)
def vision(shared: Fleet, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """The namespace; what a person would ask for is kept where the test fails."""
    yield shared
    keep_evidence(request, shared)


def test_where_no_node_offers_the_device_nothing_is_started_and_the_status_says_what_lacks_where(
    without: dict[str, Any],
) -> None:
    lacks = f"offers 0 of {RESOURCE} where 1 is expected"
    assert f"; {WITH} {lacks}" in without["said"], without["said"]
    assert [(one["name"], one["reason"]) for one in without["pending"]] == [
        (WITH, "DeviceMissing"),
        (WITHOUT, "DeviceMissing"),
    ]
    assert all(lacks in one["message"] for one in without["pending"])
    assert without["nodes"] == {
        "desired": 2,
        "updated": 0,
        "ready": 0,
        "notReady": 0,
        "tainted": 0,
        "deviceMissing": 2,
        "diskFull": 0,
        "failed": 0,
    }
    assert without["pods"] == {}


def test_the_node_that_offers_it_serves_and_the_other_holds_nobody_up(vision: Fleet, plugged: DevicePlugin) -> None:
    model = vision.wait_settled(NAME)
    assert set(vision.servers(NAME)) == {WITH}
    ready = vision.condition(NAME, "Ready") or {}
    assert (ready["status"], ready["reason"]) == ("True", "DeviceMissing")
    assert ready["message"] == "Serving on 1 of 2 nodes, 1 without a device."
    (variant,) = model["status"]["variants"]
    assert (variant["state"], variant["precision"], variant["accuracy"]) == ("Complete", "int8", "100.00%")
    assert [(one["name"], one["reason"]) for one in model["status"]["pending"]] == [(WITHOUT, "DeviceMissing")]

    (warning,) = variant["deviceWarnings"]
    assert warning.startswith(f"On {WITH} the model runs on the CPU: "), warning
    said = [imagenet()[int(answer.argmax())] for answer in said_of_hopper(vision, NAME, WITH)]
    assert said == [UNIFORM, UNIFORM]

    # The self-test gets the device and hands it on to the server of its pod.
    assert set(plugged.allocated) == set(plugged.started) == {FRESH}
    assert plugged.preferred
    ((uid, root),) = holders()[f"{WITH}/{FRESH}"].items()
    assert uid in vision.pods(NAME).values()
    assert stat.S_ISCHR((root / IN_CONTAINER.lstrip("/")).stat().st_mode)


@pytest.mark.long
def test_a_rollout_on_an_exclusive_device_waits_for_the_pod_before(vision: Fleet, plugged: DevicePlugin) -> None:
    vision.wait_settled(NAME)
    (before,) = vision.pods(NAME).values()
    given = len(plugged.allocated)
    with Holders() as held, Watched(lambda: _reason(vision, "RolloutComplete")) as watched:
        vision.patch(NAME, _version(vision))
        _settled_on_another(vision, before)
    (after,) = vision.pods(NAME).values()
    assert held.shared == []
    assert held.seen == {f"{WITH}/{FRESH}": [before, after]}
    assert plugged.allocated[given:] == [FRESH] * (len(plugged.allocated) - given) != []
    assert any(f"Insufficient {RESOURCE}" in event for event in _unschedulable(vision)), "its pod had to wait"
    assert not {"RolledBack", "RollingBack", "NodesFailed"} & set(watched.seen), watched.seen


def test_a_device_that_gets_another_id_keeps_its_server_and_the_next_one_gets_the_new_id(
    vision: Fleet, plugged: DevicePlugin
) -> None:
    vision.wait_settled(NAME)
    (before,) = vision.pods(NAME).values()
    with Holders() as held:
        plugged.offer(USED)
        vision.patch(NAME, _version(vision))
        vision.wait(NAME, "Reconciling", reason="Building", seconds=60)
        assert before in vision.pods(NAME).values()
        _settled_on_another(vision, before)
    (after,) = vision.pods(NAME).values()
    assert held.shared == []
    assert held.seen == {f"{WITH}/{FRESH}": [before], f"{WITH}/{USED}": [after]}


@pytest.mark.long
def test_a_device_that_moves_in_the_self_test_costs_a_pod_and_no_failure(vision: Fleet, plugged: DevicePlugin) -> None:
    vision.wait_settled(NAME)
    (before,) = vision.pods(NAME).values()
    given = len(plugged.allocated)
    plugged.moves = FRESH
    with Watched(lambda: _reason(vision, "RolloutComplete")) as watched:
        vision.patch(NAME, _version(vision))
        _settled_on_another(vision, before)
    assert plugged.moves is None, "it moved after the self-test"
    assert set(plugged.allocated[given:]) == {USED, FRESH}, "the pod after that was given it as it is"
    assert not {"RolledBack", "RollingBack", "NodesFailed"} & set(watched.seen), watched.seen
    assert vision.servers(NAME)[WITH].ready


def test_a_device_that_is_taken_away_is_named_and_its_server_stays_until_it_is_back(
    vision: Fleet, plugged: DevicePlugin
) -> None:
    vision.wait_settled(NAME)
    (before,) = vision.pods(NAME).values()
    revision = vision.servers(NAME)[WITH].revision
    with Watched(lambda: str((vision.condition(NAME, "Ready") or {}).get("status"))) as watched:
        plugged.offer()
        until(
            lambda: WITH in _pending(vision),
            seconds=60,
            what=f"{WITH} to be named",
            detail=lambda: json.dumps(vision.model(NAME)["status"]),
        )
    assert watched.seen == ["True"]
    reason, message = _pending(vision)[WITH]
    assert reason == "DeviceMissing"
    assert message.startswith(f"It offers 0 of {RESOURCE} where 1 is expected; its server goes on")
    assert vision.servers(NAME)[WITH].ready

    vision.patch(NAME, _version(vision))
    said = vision.wait(NAME, "Reconciling", reason="DeviceMissing", seconds=120)
    assert f"offers 0 of {RESOURCE} where 1 is expected" in said["message"]
    assert (list(vision.pods(NAME).values()), vision.servers(NAME)[WITH].revision) == ([before], revision)

    with Holders() as held:
        plugged.offer(USED)
        _settled_on_another(vision, before)
    assert held.shared == []


@pytest.mark.long
def test_a_node_that_gets_the_device_later_is_given_the_revision(vision: Fleet, plugged: DevicePlugin) -> None:
    assert plugged.node == WITH
    vision.wait_settled(NAME)
    (before,) = vision.pods(NAME).values()
    with DevicePlugin(vision.ground.name, WITHOUT, FRESH):
        until(
            lambda: {node for node, server in vision.servers(NAME).items() if server.ready} == {WITH, WITHOUT},
            seconds=120,
            what=f"{WITHOUT} to serve",
            detail=lambda: json.dumps(vision.model(NAME)["status"]),
        )
        assert before in vision.pods(NAME).values()
        until(lambda: vision.wait_settled(NAME)["status"]["nodes"]["ready"] == 2, seconds=60, what="both to be counted")
        assert _pending(vision) == {}


@pytest.mark.long
def test_a_node_that_starts_anew_serves_once_its_plugin_is_there(vision: Fleet, plugged: DevicePlugin) -> None:
    vision.wait_settled(NAME)
    revision = vision.servers(NAME)[plugged.node].revision
    with Watched(lambda: str((vision.condition(NAME, "Stalled") or {}).get("status"))) as watched:
        vision.off(WITH)
        vision.on(WITH)
        until(
            lambda: _pending(vision).get(WITH, ("", ""))[0] == "DeviceMissing" and not _serves(vision),
            seconds=90,
            what=f"{WITH} to be back without its device",
            detail=lambda: json.dumps(vision.model(NAME)["status"]),
        )
        # As long as the API server has the pod of before it is said to go on.
        starts = "so its server starts when a device plugin of the node offers it"
        until(lambda: starts in _pending(vision)[WITH][1], seconds=60, what=f"{WITH} to wait for its device")
        with DevicePlugin(vision.ground.name, WITH, USED), Holders() as held:
            until(
                lambda: _serves(vision) and WITH not in _pending(vision),
                seconds=120,
                what=f"{WITH} to serve again",
                detail=lambda: json.dumps(vision.model(NAME)["status"]),
            )
            vision.wait_settled(NAME)
        assert held.shared == []
    assert vision.servers(NAME)[WITH].revision == revision
    assert watched.seen == ["None"]


def _serves(fleet: Fleet) -> bool:
    """Whether the node with the device has a ready server."""
    servers = fleet.servers(NAME)
    return WITH in servers and servers[WITH].ready


def _catalogues() -> dict[str, Any]:
    """The profile as the chart has it, but for the label of its nodes: other tests have classes for the usual one."""
    profile: dict[str, Any] = yaml.safe_load((ROOT / f"charts/edgesmith/profiles/{PROFILE}.yaml").read_text())
    assert profile["spec"]["runtime"]["resources"]["limits"][RESOURCE] == 1
    selector = profile["spec"]["nodeSelector"]
    del selector["edgesmith.dev/device"]
    selector[LABEL] = "yes"
    return profile


def _version(fleet: Fleet) -> dict[str, Any]:
    """Publish the model as another file, so that it is a build of its own."""
    return {"source": mobilenet_spec(fleet, next(_NUMBERS), compiled=True)["source"]}


def _settled_on_another(fleet: Fleet, before: str) -> None:
    """Wait until the one server is another than before, and everything has settled."""

    def replaced() -> bool:
        pods = list(fleet.pods(NAME).values())
        return len(pods) == 1 and before not in pods and bool(fleet.wait_settled(NAME))

    until(replaced, seconds=180, what="another server", detail=lambda: json.dumps(fleet.model(NAME).get("status")))


def _reason(fleet: Fleet, condition: str) -> str:
    return str((fleet.condition(NAME, condition) or {}).get("reason"))


def _pending(fleet: Fleet) -> dict[str, tuple[str, str]]:
    status = fleet.model(NAME)["status"]
    return {one["name"]: (one["reason"], one["message"]) for one in status.get("pending", [])}


def _unschedulable(fleet: Fleet) -> list[str]:
    """What the scheduler said of pods that it could not place."""
    events = fleet.ground.kube.list("events", fleet.namespace)
    return [str(event.get("message")) for event in events if event.get("reason") == "FailedScheduling"]


def _allocatable(fleet: Fleet, node: str) -> str:
    found = fleet.ground.kube.get("node", node) or {}
    return str(found["status"]["allocatable"].get(RESOURCE))
