"""What is made in the cluster, and that one revision never means two templates."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from made import IMAGE, SECRET, applied, compiling, started
from snapshots import SETTINGS, model, profile

from edgesmith.api.fraction import parse_fraction
from edgesmith.api.names import short_hash
from edgesmith.api.serving import Serving
from edgesmith.api.units import parse_duration
from edgesmith.cluster.parse import revision
from edgesmith.decide.builds import build_for
from edgesmith.decide.plan import ApplyRevision
from edgesmith.decide.serving import MAX_BATCH, TEMPLATE_VERSION, merge_resources, revision_of, serving
from edgesmith.decide.strategy import strategy_of
from edgesmith.resources import daemon_set, service
from edgesmith.resources.daemon_set import SCRATCH, pod_spec
from edgesmith_runtime.cli import build_parser
from edgesmith_runtime.feedback.arguments import Privacy, feedback_of
from edgesmith_runtime.http.limits import Limits
from edgesmith_runtime.judging.arguments import Judging, judging_of
from edgesmith_runtime.judging.bounds import Gates as RuntimeGates

PRIVACY = tuple(one.value for one in Privacy)
TEMPLATE = "9d5bdfb0a7"
"""Hash of the template below. Where it changes, raise `TEMPLATE_VERSION`: nodes that run the old one must be moved."""


def applied_revision() -> str:
    return revision_of(profile(), IMAGE, model(), SETTINGS)


def test_the_template_of_a_revision_is_what_it_was() -> None:
    of = model(gates={"maxLatency": "50ms", "maxMemory": "512Mi"})
    at = profile(runtime={"runtimeClassName": "crun", "tolerations": [{"key": "edge", "operator": "Exists"}]})
    template = pod_spec(serving(of, at, IMAGE, SECRET), "0" * 10)
    assert (TEMPLATE_VERSION, short_hash(json.dumps(template, sort_keys=True))) == ("5", TEMPLATE)


def test_a_daemon_set_names_the_image_under_the_tag_where_a_trial_chose_another() -> None:
    other = f"{IMAGE[:-64]}{'4' * 64}"
    apply = ApplyRevision(profile(), applied_revision(), IMAGE, build_for(model(), profile(), SETTINGS))
    made, tried = (daemon_set(model(), one, SETTINGS) for one in (apply, replace(apply, built=other)))
    assert revision(made).built == ""
    assert revision(tried).built == other
    assert made["spec"] == tried["spec"], "no pod is restarted for it"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"rollout": {"maxUnavailable": 5}}, id="rollout"),
        pytest.param({"generation": 9}, id="generation"),
        pytest.param({"nodeSelector": {"a": "b"}}, id="nodeSelector"),
        pytest.param({"rollout": {"progressDeadline": "9m"}}, id="a deadline that the startup probe outlasts"),
        pytest.param({"gates": {"minAccuracy": "0.1"}}, id="a gate of the build"),
        pytest.param({"annotations": {"a": "b"}}, id="annotations"),
    ],
)
def test_what_a_pod_does_not_depend_on_makes_no_new_revision(change: dict[str, Any]) -> None:
    assert revision_of(profile(), IMAGE, model(**change), SETTINGS) == revision_of(profile(), IMAGE, model(), SETTINGS)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"serving": {"port": 9000}}, id="port"),
        pytest.param({"serving": {"maxBatch": 9}}, id="a larger batch"),
        pytest.param({"serving": {"batching": {"maxLatency": "1ms"}}}, id="requests run together"),
        pytest.param({"serving": {"resources": {"limits": {"cpu": 2}}}}, id="resources"),
        pytest.param({"gates": {"maxLatency": "1s"}}, id="a gate on the device"),
        pytest.param({"gates": {"traffic": {"maxErrorRate": "1%"}}}, id="a gate on requests"),
        pytest.param({"gates": {"replayInterval": "5m"}}, id="golden samples more often"),
        pytest.param({"rollout": {"progressDeadline": "11m"}}, id="a long deadline"),
        pytest.param({"serving": {"expose": {"type": "HostPort", "httpPort": 80}}}, id="a port of the node"),
        pytest.param({"feedback": {"privacy": "Statistics"}}, id="what may be seen of requests"),
    ],
)
def test_what_a_pod_depends_on_makes_a_new_revision(change: dict[str, Any]) -> None:
    assert revision_of(profile(), IMAGE, model(**change), SETTINGS) != revision_of(profile(), IMAGE, model(), SETTINGS)


def test_a_server_is_told_what_may_be_seen_where_that_is_not_nothing_and_it_is_ours() -> None:
    told = [
        pod_spec(serving(model(feedback={"privacy": said}), profile(), IMAGE, SECRET), "0" * 10) for said in PRIVACY
    ]
    arguments = [build_parser().parse_args(pod["containers"][0]["args"]) for pod in told]
    assert [feedback_of(options).privacy.value for options in arguments] == list(PRIVACY)
    assert "--privacy" not in told[0]["containers"][0]["args"]
    triton = profile(toolchain={"name": "TensorRT"}, runtime={"server": "Triton"})
    assert serving(model(feedback={"privacy": "Samples"}), triton, IMAGE, SECRET).privacy is None


def test_two_profiles_never_share_a_revision() -> None:
    assert revision_of(profile("a"), IMAGE, model(), SETTINGS) != revision_of(profile("b"), IMAGE, model(), SETTINGS)


def test_a_daemon_set_refuses_a_revision_that_is_not_its_own() -> None:
    build = build_for(model(), profile(), SETTINGS)
    with pytest.raises(ValueError, match="stale is not"):
        daemon_set(model(), ApplyRevision(profile(), "stale", IMAGE, build), SETTINGS)


def test_a_daemon_set_runs_where_the_label_names_its_revision() -> None:
    made = applied()
    pod = made["spec"]["template"]["spec"]
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    revision = made["metadata"]["labels"]["edgesmith.dev/revision"]
    labelled = {
        "key": "plant.edgesmith.dev.node-restriction.kubernetes.io/parts",
        "operator": "In",
        "values": [revision],
    }
    able = {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}
    beside = {**labelled, "key": "plant.next.edgesmith.dev.node-restriction.kubernetes.io/parts"}
    assert terms == [{"matchExpressions": [labelled, able]}, {"matchExpressions": [beside, able]}]
    assert made["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert {container["image"] for container in (*pod["initContainers"], *pod["containers"])} == {IMAGE}


CACHE = {"name": "engines", "hostPath": "/var/lib/edgesmith/engines", "mountPath": "/cache"}


def test_both_containers_get_the_folders_of_the_node() -> None:
    drivers = {"name": "drivers", "hostPath": "/opt/drivers", "mountPath": "/drivers", "readOnly": True}
    board = profile(runtime={"volumes": [CACHE, drivers]})
    made = applied(board)["spec"]["template"]["spec"]
    assert made["volumes"][1:] == [
        {"name": "engines", "hostPath": {"path": "/var/lib/edgesmith/engines", "type": "Directory"}},
        {"name": "drivers", "hostPath": {"path": "/opt/drivers", "type": "Directory"}},
    ]
    for container in (*made["initContainers"], *made["containers"]):
        assert container["volumeMounts"][1:] == [
            {"name": "engines", "mountPath": "/cache"},
            {"name": "drivers", "mountPath": "/drivers", "readOnly": True},
        ]


def test_a_folder_of_the_node_makes_a_new_revision() -> None:
    def of(volume: dict[str, Any]) -> str:
        return revision_of(profile(runtime={"volumes": [volume]}), IMAGE, model(), SETTINGS)

    plain = revision_of(profile(), IMAGE, model(), SETTINGS)
    assert revision_of(profile(runtime={"volumes": []}), IMAGE, model(), SETTINGS) == plain
    assert len({plain, of(CACHE), of(CACHE | {"hostPath": "/x"}), of(CACHE | {"readOnly": True})}) == 4


def test_a_batch_of_its_own_reaches_the_server_and_its_self_test() -> None:
    pod = applied(serving={"maxBatch": 32})["spec"]["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["args"][container["args"].index("--max-batch") + 1] == "32"
    usual = applied(serving={"maxBatch": 8})["spec"]["template"]["spec"]
    assert usual == applied()["spec"]["template"]["spec"], "what is the server's own default moves no node"


def test_requests_are_run_together_where_that_is_asked_for() -> None:
    def server(**serving: Any) -> list[str]:
        (container,) = applied(serving=serving)["spec"]["template"]["spec"]["containers"]
        words: list[str] = container["args"]
        return words

    alone = server()
    assert "--batch-latency-ms" not in alone
    both = server(batching={"maxLatency": "2.5ms", "maxSize": 4})
    at = both.index("--batch-latency-ms")
    assert both[at : at + 4] == ["--batch-latency-ms", "2.5", "--batch-size", "4"]
    assert both[:at] + both[at + 4 :] == alone
    assert "--batch-size" not in server(batching={"maxLatency": "1ms"})
    triton = profile(runtime={"server": "Triton"})
    plain = revision_of(triton, IMAGE, model(), SETTINGS)
    assert revision_of(triton, IMAGE, model(serving={"batching": {"maxLatency": "1ms"}}), SETTINGS) == plain


SMALL: dict[str, Any] = {"hardware": {"memory": "1536Mi"}}
PORT_OF_THE_NODE = {"serving": {"expose": {"type": "HostPort", "httpPort": 8080}}}


@pytest.mark.parametrize(
    ("at_profile", "of_model", "lingers"),
    [
        ({}, {}, True),
        ({}, {"rollout": {"strategy": "Replace"}}, True),
        ({"hardware": {"memory": "2Gi"}}, {}, True),
        (SMALL, {}, False),
        (SMALL, {"serving": {"resources": {"limits": {"memory": "512Mi"}}}}, True),
        ({"runtime": {"resources": {"limits": {"google.com/coral": 1}}}}, {}, False),
        ({}, PORT_OF_THE_NODE, False),
        ({"runtime": {"server": "Triton"}}, {}, False),
    ],
)
def test_a_server_lingers_where_the_next_one_may_run_beside_it(
    at_profile: dict[str, Any],
    of_model: dict[str, Any],
    lingers: bool,  # noqa: FBT001
) -> None:
    pod = pod_spec(serving(model(**of_model), profile(**at_profile), IMAGE, SETTINGS), "0" * 10)
    words = pod["containers"][0]["args"]
    asked = float(words[words.index("--linger-seconds") + 1]) if "--linger-seconds" in words else 0.0
    assert (asked > 0) is lingers
    strategy = strategy_of(profile(**at_profile), model(**of_model))
    assert not lingers or strategy.tests, "two of them fit on the node"
    drain = float(words[words.index("--drain-seconds") + 1])
    assert pod["terminationGracePeriodSeconds"] >= asked + drain + 5, "the kubelet waits for it"


def test_whether_two_servers_fit_makes_a_revision() -> None:
    large: dict[str, Any] = {"hardware": {"memory": "2Gi"}}
    one, other = (revision_of(profile(**at), IMAGE, model(), SETTINGS) for at in (SMALL, large))
    limited = model(serving={"resources": {"limits": {"memory": "1Gi"}}})
    assert one != other
    assert revision_of(profile(), IMAGE, limited, SETTINGS) == revision_of(profile(**large), IMAGE, limited, SETTINGS)


def test_the_default_batch_is_the_servers_own() -> None:
    assert MAX_BATCH == Limits().batch == Serving().max_batch


def test_gates_on_the_device_reach_the_self_test() -> None:
    pod = applied(gates={"maxLatency": "50ms", "maxMemory": "512Mi"})["spec"]["template"]["spec"]
    arguments = pod["initContainers"][0]["args"]
    assert arguments[arguments.index("--max-latency-ms") + 1] == "50"
    assert arguments[arguments.index("--max-memory-bytes") + 1] == str(512 * 2**20)


@pytest.mark.parametrize(
    ("at_profile", "of_model", "expected"),
    [
        pytest.param(
            None,
            None,
            {"limits": {"memory": "1024Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
            id="defaults",
        ),
        pytest.param(
            {"limits": {"nvidia.com/gpu": 1}},
            {"requests": {"memory": "1Gi"}},
            {"limits": {"memory": "2048Mi", "nvidia.com/gpu": 1}, "requests": {"cpu": "100m", "memory": "1Gi"}},
            id="both",
        ),
        pytest.param(
            {"requests": {"cpu": "1"}},
            {"requests": {"cpu": "2"}},
            {"limits": {"memory": "1024Mi"}, "requests": {"cpu": "2", "memory": "128Mi"}},
            id="model wins",
        ),
        pytest.param(
            None,
            {"limits": {"memory": "64Mi"}},
            {"limits": {"memory": "64Mi"}, "requests": {"cpu": "100m"}},
            id="a default request gives way to a limit",
        ),
        pytest.param(
            {"limits": {"memory": "8Gi"}},
            {"requests": {"cpu": "1", "memory": "64Mi"}},
            {"limits": {"memory": "8Gi"}, "requests": {"cpu": "1", "memory": "64Mi"}},
            id="a memory limit that somebody gave is kept",
        ),
    ],
)
def test_resources(at_profile: Any, of_model: Any, expected: Any) -> None:
    assert merge_resources(at_profile, of_model) == expected


@pytest.mark.parametrize(
    ("max_memory", "request_", "limit"),
    [
        pytest.param(None, None, "1024Mi", id="nobody says how much"),
        pytest.param("100Mi", None, "1024Mi", id="a small model"),
        pytest.param("1500M", None, "2862Mi", id="a large gate"),
        pytest.param("3Gi", 2**31, "6144Mi", id="a gate above the request"),
        pytest.param("1Gi", "1.5Gi", "3072Mi", id="a request above the gate"),
        pytest.param(None, "2000000000000m", "3815Mi", id="a request in thousandths of bytes"),
    ],
)
def test_a_pod_always_has_a_memory_limit(max_memory: str | None, request_: str | int | None, limit: str) -> None:
    gates = {"maxMemory": max_memory} if max_memory else {}
    asked = {"resources": {"requests": {"memory": request_}}} if request_ else {}
    pod = applied(gates=gates, serving=asked)["spec"]["template"]["spec"]
    limits = [one["resources"]["limits"]["memory"] for one in (*pod["initContainers"], *pod["containers"])]
    assert limits == [limit, limit]


@pytest.mark.parametrize(("deadline", "seconds"), [("30s", 600), ("10m", 600), ("20m", 1200), ("600500ms", 601)])
def test_the_kubelet_restarts_no_server_before_its_deadline(deadline: str, seconds: int) -> None:
    pod = applied(rollout={"progressDeadline": deadline})["spec"]["template"]["spec"]
    probe = pod["containers"][0]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == seconds


@pytest.mark.parametrize(
    "pod",
    [started(SECRET)["spec"]["template"]["spec"], applied()["spec"]["template"]["spec"], compiling()],
    ids=["build", "serving", "compiling"],
)
def test_pods_are_restricted(pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_a_server_knows_where_the_service_is_and_nobody_else_is_told() -> None:
    serving = applied()["spec"]["template"]["spec"]
    assert serving["enableServiceLinks"] is True
    assert serving["containers"][0]["env"] == [{"name": "EDGESMITH_NOTES", "value": SCRATCH}]
    assert {mount["mountPath"] for mount in serving["containers"][0]["volumeMounts"]} == {SCRATCH}
    assert started()["spec"]["template"]["spec"]["enableServiceLinks"] is False
    triton = applied(profile(runtime={"server": "Triton", "baseImage": IMAGE}))["spec"]["template"]["spec"]
    assert triton["enableServiceLinks"] is False
    assert "env" not in triton["containers"][0]


def test_a_server_is_told_of_its_gates_where_they_are_not_its_own() -> None:
    def told(**gates: Any) -> list[str]:
        found: list[str] = applied(gates=gates)["spec"]["template"]["spec"]["containers"][0]["args"]
        return found

    plain = told()
    same = told(traffic={"maxErrorRate": "0.05", "minRequests": 50, "period": "60m"}, replayInterval="600s")
    assert same == plain
    asked = told(
        traffic={"maxErrorRate": "1%", "maxLatencyRatio": "1.5", "maxConfidenceDrop": "10m", "period": "0s"},
        replayInterval="0s",
    )
    words = asked[len(plain) :]
    assert asked[: len(plain)] == plain
    options = {"--max-error-rate": "0.01", "--max-latency-ratio": "1.5", "--max-confidence-drop": "0.01"}
    options |= {"--judge-seconds": "0", "--replay-seconds": "0"}
    assert dict(zip(words[::2], words[1::2], strict=True)) == options
    parsed = build_parser().parse_args(asked)
    assert judging_of(parsed).gates == RuntimeGates(0.01, 1.5, 0.01, 50, 0.0)


def test_what_the_operator_leaves_out_is_what_a_server_does_by_itself() -> None:
    usual, gates = RuntimeGates(), model().spec.gates
    assert parse_fraction(gates.traffic.max_error_rate) == usual.max_error_rate
    assert (gates.traffic.min_requests, gates.traffic.max_latency_ratio) == (
        usual.min_requests,
        usual.max_latency_ratio,
    )
    assert gates.traffic.max_confidence_drop is None
    assert usual.max_confidence_drop is None
    assert parse_duration(gates.traffic.period).total_seconds() == usual.period
    assert parse_duration(gates.replay_interval).total_seconds() == Judging().replay_seconds


@pytest.mark.parametrize("made", [started(), applied(), service(model())], ids=lambda made: made["kind"])
def test_each_child_is_owned_and_labelled(made: dict[str, Any]) -> None:
    metadata = made["metadata"]
    assert metadata["ownerReferences"] == [
        {
            "apiVersion": "edgesmith.dev/v1alpha1",
            "kind": "EdgeModel",
            "name": "parts",
            "uid": "u",
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]
    assert metadata["namespace"] == "plant"
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "edgesmith"
    assert metadata["labels"]["edgesmith.dev/model"] == "parts"


def test_a_daemon_set_keeps_the_build_that_its_image_answers() -> None:
    made = applied()
    build = build_for(model(), profile(), SETTINGS)
    assert made["metadata"]["annotations"] == {"edgesmith.dev/build": build.to_json()}
