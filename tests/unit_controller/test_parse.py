"""Objects as nouns. Devices and users write anything; nothing of it may raise."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pods_as_read import container, ended

from edgesmith.cluster import parse, parse_build
from edgesmith.cluster.parse_trial import trial_pod

GOOD = {
    "verdict": "Passed",
    "reason": "Passed",
    "message": "Passed.",
    "p50Ms": 1.0,
    "p95Ms": 2.5,
    "memoryBytes": 1e6,
    "device": {"cores": 4},
}


def serving(init: list[Any] | None = None, main: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "labels": {"edgesmith.dev/revision": "r1"}},
        "spec": {"nodeName": "n1"},
        "status": {"initContainerStatuses": init or [], "containerStatuses": main or [], **more},
    }


def test_a_warning_of_a_device_is_kept() -> None:
    found = parse.selftest(json.dumps(GOOD | {"warning": "runs on the CPU: no library"}))
    assert found is not None
    assert found.warning == "runs on the CPU: no library"
    plain = parse.selftest(json.dumps(GOOD | {"warning": None}))
    assert plain is not None
    assert plain.warning is None


def test_a_self_test_is_read_from_the_init_containers_last_words() -> None:
    found = parse.pod(serving(init=[container("selftest", state=ended(json.dumps(GOOD) + "\n"))])).selftest
    assert found is not None
    assert (found.passed, found.p95_ms, found.memory_bytes, found.device) == (True, 2.5, 1_000_000, {"cores": 4})


def test_a_self_test_that_is_tried_again_is_read_from_the_time_before() -> None:
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}}
    failed = json.dumps(GOOD | {"verdict": "Failed", "reason": "GoldenMismatch"})
    found = parse.pod(serving(init=[container("selftest", state=state, lastState=ended(failed, 1))]))
    assert (found.waiting, found.waiting_message, found.restarts) == ("CrashLoopBackOff", "back-off 20s", 2)
    assert found.selftest is not None
    assert found.selftest.reason == "GoldenMismatch"


@pytest.mark.parametrize(
    ("state", "restarts", "tries"),
    [
        ("terminated", 0, 1),
        ("waiting", 0, 1),
        ("running", 1, 1),
        ("waiting", 1, 2),
        ("running", 2, 2),
        ("waiting", 2, 3),
    ],
)
def test_a_try_counts_once_it_has_ended(state: str, restarts: int, tries: int) -> None:
    failed = json.dumps(GOOD | {"verdict": "Failed", "reason": "LatencyExceeded"})
    states = {
        "terminated": ended(failed, 1),
        "waiting": {"waiting": {"reason": "CrashLoopBackOff"}},
        "running": {"running": {}},
    }
    init = container("selftest", state=states[state], lastState=ended(failed, 1), restartCount=restarts)
    found = parse.pod(serving(init=[init])).selftest
    assert found
    assert found.tries == tries


def test_a_server_that_failed_after_its_self_test_passed_is_the_newer_word() -> None:
    failed = json.dumps(GOOD | {"verdict": "Failed", "reason": "BundleCorrupt"})
    main = [container("server", state={"waiting": {}}, lastState=ended(failed, 1))]
    found = parse.pod(serving(init=[container("selftest", state=ended(json.dumps(GOOD)))], main=main)).selftest
    assert found is not None
    assert found.reason == "BundleCorrupt"


def test_what_ends_a_program_of_the_runtime_unforeseen_is_read_as_a_finding(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    command = [sys.executable, "-m", "edgesmith_runtime", "serve", "--sooner", "--termination-log", str(log)]
    subprocess.run(command, timeout=60, check=False, stderr=subprocess.DEVNULL)
    main = [container("server", state={"waiting": {}}, lastState=ended(log.read_text(), 2))]
    found = parse.pod(serving(init=[container("selftest", state=ended(json.dumps(GOOD)))], main=main)).selftest
    assert found is not None
    assert (found.passed, found.reason, dict(found.device)) == (False, "InternalError", {})
    assert found.message == "serve does not take its arguments: unrecognized arguments: --sooner"


def test_what_sends_samples_is_heard_where_it_ended_itself() -> None:
    broken = json.dumps({"verdict": "Failed", "reason": "InternalError", "message": "uplink ended with KeyError"})
    passed = container("selftest", state=ended(json.dumps(GOOD)))
    for state, ready, reason in (
        ({"state": {"waiting": {}}, "lastState": ended(broken, 1)}, False, "InternalError"),
        ({"state": {"running": {}}, "lastState": ended(broken, 1)}, True, "Passed"),
        ({"state": {"waiting": {}}, "lastState": ended("Nothing was refused.")}, False, "Passed"),
    ):
        found = parse.pod(serving(init=[container("uplink", ready=ready, **state), passed])).selftest
        assert found is not None
        assert found.reason == reason


def test_a_server_that_ended_itself_and_is_ready_again_says_why() -> None:
    failed = json.dumps(GOOD | {"verdict": "Failed", "reason": "ErrorRateExceeded"})
    again = container("server", state={"running": {}}, lastState=ended(failed, 1), ready=True)
    found = parse.pod(serving(init=[container("selftest", state=ended(json.dumps(GOOD)))], main=[again])).ended
    assert found is not None
    assert found.reason == "ErrorRateExceeded"
    for other in (
        container("server", state={"running": {}}, lastState=ended(failed, 1), ready=False),
        container("server", state={"running": {}}, lastState=ended(json.dumps(GOOD), 0), ready=True),
        container("server", state={"running": {}}, lastState=ended("killed", 137), ready=True),
        container("server", state={"running": {}}, ready=True),
    ):
        assert parse.pod(serving(main=[other])).ended is None


@pytest.mark.parametrize(
    "message",
    ["", "{", "[]", "null", '"x"', '{"verdict":"Maybe"}', '{"verdict":NaN}', "{" * 5000, 7, None],
)
def test_words_that_are_not_the_runtimes_are_none(message: Any) -> None:
    assert parse.selftest(message) is None


def test_numbers_that_are_none_are_left_out() -> None:
    found = parse.selftest('{"verdict":"Passed","p95Ms":"fast","p50Ms":true,"memoryBytes":1e999}')
    assert found is not None
    assert (found.p95_ms, found.p50_ms, found.memory_bytes) == (None, None, None)


@pytest.mark.parametrize(("status", "ready"), [("True", True), ("False", False), ("Unknown", False), (None, False)])
def test_a_node_is_ready_where_its_kubelet_says_so(status: str | None, *, ready: bool) -> None:
    conditions = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": status}]
    assert parse.node({"metadata": {"name": "n"}, "status": {"conditions": conditions}}).ready is ready


@pytest.mark.parametrize("status", ["True", "False", "Unknown"])
def test_only_the_node_controllers_word_says_when_a_node_went(status: str) -> None:
    """It writes Unknown, by the hub's clock; a kubelet writes the rest, by its own."""
    conditions = [{"type": "Ready", "status": status, "lastTransitionTime": "2030-01-01T12:00:00Z"}]
    found = parse.node({"metadata": {"name": "n"}, "status": {"conditions": conditions}}).unheard
    assert found == (datetime(2030, 1, 1, 12, tzinfo=UTC) if status == "Unknown" else None)


def test_a_pod_that_starts_does_not_wait_for_anything() -> None:
    main = [container("server", state={"waiting": {"reason": "PodInitializing"}})]
    assert parse.pod(serving(main=main)).waiting is None


@pytest.mark.parametrize(
    ("status", "there"),
    [
        ({"state": {"waiting": {"reason": "PodInitializing"}}, "restartCount": 0}, False),
        ({"state": {"waiting": {"reason": "ImagePullBackOff"}}, "restartCount": 0, "imageID": ""}, False),
        ({"state": {"running": {"startedAt": "2030-01-01T00:00:00Z"}}, "restartCount": 0}, True),
        ({"state": {"terminated": {"exitCode": 1}}, "restartCount": 0}, True),
        ({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 3}, True),
        ({"state": {"waiting": {"reason": "PodInitializing"}}, "restartCount": 0, "imageID": "r/m@sha256:1"}, True),
        ({}, False),
    ],
)
def test_an_image_is_on_the_node_once_a_container_was_made(status: dict[str, Any], there: object) -> None:
    for kind in ("initContainerStatuses", "containerStatuses"):
        raw = serving()
        raw["status"][kind] = [{"name": "c", **status}]
        assert parse.pod(raw).pulled is there


def test_a_pod_that_is_not_bound_yet_is_of_the_node_it_was_made_for() -> None:
    fields = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n7"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [fields]}}
    assert parse.pod({"metadata": {"name": "p"}, "spec": {"affinity": {"nodeAffinity": required}}}).node == "n7"


def test_a_revision_without_bookkeeping() -> None:
    raw = {"metadata": {"name": "d", "managedFields": [1], "annotations": {"edgesmith.dev/build": "{"}}, "status": {}}
    found = parse.revision(raw)
    assert found.build == {}
    assert found.manifest == {"metadata": {"name": "d", "annotations": {"edgesmith.dev/build": "{"}}}


@pytest.mark.parametrize(
    ("condition", "key"),
    [("DiskPressure", "node.kubernetes.io/disk-pressure"), ("PIDPressure", "node.kubernetes.io/pid-pressure")],
)
def test_a_node_under_pressure_is_tainted_before_the_node_controller_says_so(condition: str, key: str) -> None:
    """The kubelet admits no pod from then on, so nothing is to begin there."""

    def taints(status: str, *there: dict[str, str]) -> list[str]:
        said = {"conditions": [{"type": "Ready", "status": "True"}, {"type": condition, "status": status}]}
        found = parse.node({"metadata": {"name": "n"}, "spec": {"taints": [*there]}, "status": said})
        return [str(taint) for taint in found.taints]

    told = {"key": key, "effect": "NoSchedule"}
    assert taints("True") == taints("True", told) == taints("False", told) == [f"{key}:NoSchedule"]
    assert taints("False") == taints("Unknown") == []
    assert taints("True", {"key": "line", "effect": "NoSchedule"}) == ["line:NoSchedule", f"{key}:NoSchedule"]


def test_a_node_says_what_taints_it() -> None:
    taints = [{"key": "line", "value": "4", "effect": "NoSchedule"}, {"key": "dark", "effect": "NoExecute"}, 7]
    found = parse.node({"metadata": {"name": "n"}, "spec": {"taints": taints}})
    assert [str(taint) for taint in found.taints] == ["line=4:NoSchedule", "dark:NoExecute"]


@pytest.mark.parametrize(("said", "found"), [({"bootID": "0f1e"}, "0f1e"), ({"bootID": 7}, ""), ({}, ""), (None, "")])
def test_a_node_says_which_start_of_its_machine_it_is(said: object, found: str) -> None:
    assert parse.node({"metadata": {"name": "n"}, "status": {"nodeInfo": said}}).boot == found


def test_a_node_says_which_devices_it_offers() -> None:
    allocatable = {
        "cpu": "4",
        "hugepages-2Mi": "0",
        "squat.ai/edgetpu": "2",
        "nvidia.com/gpu": 1,
        "gpu.intel.com/i915": "many",
        "smarter-devices/gpiochip0": "1k",
        "attachable-volumes.kubernetes.io/disks": "9",
    }
    found = parse.node({"metadata": {"name": "n"}, "status": {"allocatable": allocatable}})
    assert found.offers == {
        "squat.ai/edgetpu": 2,
        "nvidia.com/gpu": 1,
        "gpu.intel.com/i915": 0,
        "smarter-devices/gpiochip0": 1000,
    }
    assert parse.node({"metadata": {"name": "n"}, "status": {"allocatable": 7}}).offers == {}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "metadata",
                    "status",
                    "spec",
                    "labels",
                    "annotations",
                    "conditions",
                    "containerStatuses",
                    "state",
                    "type",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["metadata", "status", "spec"]), ANYTHING, max_size=3))
def test_nothing_that_is_read_raises(raw: dict[str, Any]) -> None:
    readers = (
        parse.node,
        parse.pod,
        parse.revision,
        parse.edge_model,
        parse_build.job,
        parse_build.resolve_job,
        parse_build.build_pod,
        trial_pod,
    )
    for read in readers:
        read(raw)


RUNS: dict[str, Any] = {"running": {}}


WAITS = {"waiting": {"reason": "PodInitializing"}}


STAGES: dict[str, tuple[dict[str, Any], str]] = {
    "no scheduler has seen it": ({"spec": {}}, "its pod waits for the scheduler"),
    "no node is good enough": (
        {
            "spec": {},
            "status": {"conditions": [{"type": "PodScheduled", "message": "0/3 nodes: Insufficient memory."}]},
        },
        "its pod cannot be scheduled: 0/3 nodes: Insufficient memory",
    ),
    "nothing has started": (serving(), "its pod waits for its images and volumes"),
    "its images come": (serving(init=[container("selftest", state=WAITS)]), "its pod waits for its images and volumes"),
    "in its self-test": (
        serving(init=[container("selftest", state=RUNS)], main=[container("server", state=WAITS)]),
        "its pod runs the init container selftest",
    ),
    "before its server": (
        serving(init=[container("selftest", state=ended("{}"))], main=[container("server", state=WAITS)]),
        "its pod waits for its images and volumes",
    ),
    "its server runs": (serving(main=[container("server", state=RUNS)]), "the readiness probe does not pass"),
    "it was evicted": (
        serving(phase="Failed", reason="Evicted", message="The node was low on memory."),
        "its pod failed: Evicted: The node was low on memory.",
    ),
    "it failed without a word": (serving(phase="Failed"), "its pod failed"),
}


@pytest.mark.parametrize("case", STAGES)
def test_a_pod_that_is_not_ready_says_what_it_is_at(case: str) -> None:
    raw, expected = STAGES[case]
    assert parse.pod(raw).stage == expected
