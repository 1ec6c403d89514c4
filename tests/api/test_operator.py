"""The whole operator as a process against a real control plane; only the kubelets are played."""

from __future__ import annotations

import json
import signal
from functools import partial
from pathlib import Path

import pytest
from apiserver import ApiServer, Object, wait_for
from build_outcomes import fail_build
from kubelets import BAD, GOOD, Kubelets
from operator_process import Operator, condition, device_profile, edge_model, wait_condition
from rollouts import is_ready, labels, node_labels, pods, revisions, roll_out
from silent_proxy import silent_proxy

from edgesmith.api.names import node_label
from tests.patience import PATIENCE


def test_an_unknown_profile_is_named_and_its_coming_is_enough_to_go_on(
    server: ApiServer, namespace: str, operator: Operator
) -> None:
    server.apply(edge_model("parts", namespace))
    operator.start()
    stalled = wait_condition(server, namespace, "parts", "Stalled", "ProfileNotFound")
    assert f"{namespace}-device" in stalled["message"]
    server.apply(device_profile(f"{namespace}-device"))
    wait_condition(server, namespace, "parts", "BuildsReady", "Building")
    jobs = wait_for("a build Job", lambda: server.items("jobs", namespace))
    assert len(jobs) == 1
    assert jobs[0]["metadata"]["ownerReferences"][0]["kind"] == "EdgeModel"
    assert operator.end() == 0


def test_it_leaves_nothing_on_an_edge_model_but_its_status(
    server: ApiServer, namespace: str, operator: Operator
) -> None:
    server.apply(edge_model("parts", namespace))
    operator.start()
    wait_condition(server, namespace, "parts", "Stalled", "ProfileNotFound")
    model = server.get("edgemodels", "parts", namespace)
    assert model is not None
    assert "finalizers" not in model["metadata"]
    assert not model["metadata"].get("annotations")
    writers = {entry["manager"]: entry.get("subresource") for entry in model["metadata"]["managedFields"]}
    assert writers == {"kubectl": None, "edgesmith-status": "status"}


def test_a_build_job_is_made_once_however_often_the_operator_is_killed(
    server: ApiServer, namespace: str, operator: Operator
) -> None:
    server.apply([device_profile(f"{namespace}-device"), edge_model("parts", namespace)])
    for moment in ("the lease", "EdgeModels and", "changed: Job"):
        operator.log.write_text("")
        operator.start()
        wait_for(f"it says {moment!r}", partial(_says, operator, moment, server, namespace))
        operator.end(signal.SIGKILL)
    operator.start()
    operator.wait_ready()
    wait_for("a pass", lambda: operator.number("edgesmith_passes_total") >= 1)
    (job,) = server.items("jobs", namespace)
    assert job["metadata"]["generation"] == 1
    wait_condition(server, namespace, "parts", "BuildsReady", "Building")


def test_a_registry_that_is_down_is_waited_for(server: ApiServer, namespace: str, operator: Operator) -> None:
    operator.registry = "127.0.0.1:9"
    server.apply([device_profile(f"{namespace}-device"), edge_model("parts", namespace)])
    operator.start()
    waiting = wait_condition(server, namespace, "parts", "Reconciling", "WaitingForRegistry")
    assert "127.0.0.1:9" in waiting["message"]
    assert condition(server, namespace, "parts", "Stalled") is None
    assert server.items("jobs", namespace) == []


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        pytest.param({"reason": "SourceNotFound", "retry": False}, ("Stalled", "SourceNotFound"), id="final"),
        pytest.param({"reason": "SourceUnreachable", "retry": True}, ("Reconciling", "WaitingForSource"), id="retry"),
        pytest.param(None, ("Reconciling", "BuildFailed"), id="no-words"),
    ],
)
def test_a_build_that_failed_says_so_in_the_builders_words(
    server: ApiServer, namespace: str, operator: Operator, failure: Object | None, expected: tuple[str, str]
) -> None:
    server.apply([device_profile(f"{namespace}-device"), edge_model("parts", namespace)])
    operator.start()
    job = wait_for("a build Job", lambda: next(iter(server.items("jobs", namespace)), None))
    words = None if failure is None else json.dumps({**failure, "message": "spec.source.uri: nothing is there."})
    fail_build(server, job, words)
    found = wait_condition(server, namespace, "parts", *expected)
    assert ("spec.source.uri: nothing is there." in found["message"]) == (failure is not None)


def test_a_second_look_writes_nothing_and_tells_nothing(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator
) -> None:
    kubelets.add(f"{namespace}-hub", "none")
    server.apply([device_profile(f"{namespace}-device"), edge_model("parts", namespace)])
    operator.start()
    wait_condition(server, namespace, "parts", "BuildsReady", "Building")
    wait_for("the build runs", lambda: _phases(server, namespace) == ["Running"])
    operator.wait_ready()
    operator.wait_idle()
    for number in range(5):  # an operator that starves may have had something to say still, but not each time
        before = _said(server, namespace)
        server.patch("deviceprofiles", f"{namespace}-device", {"metadata": {"labels": {"seen": f"again-{number}"}}})
        operator.wait_for_passes()
        if (after := _said(server, namespace)) == before:
            break
    assert after == before


async def test_a_rollout_reaches_every_node_and_a_bad_revision_is_rolled_back(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator
) -> None:
    nodes = [f"{namespace}-{number}" for number in (1, 2, 3)]
    model = await roll_out(server, namespace, kubelets, operator, nodes)
    first = labels(server, namespace)
    assert len(set(first.values())) == 1
    assert set(first) == set(nodes)
    assert revisions(server, namespace) == first
    status = (server.get("edgemodels", "parts", namespace) or {})["status"]
    assert status["variants"][0]["latency"] == "2.5ms"
    assert (server.get("services", "parts", namespace) or {})["spec"]["internalTrafficPolicy"] == "Local"
    kept = pods(server, namespace)

    # Another port is another revision of the same image: no build, and this one fails its test.
    good = set(first.values())
    kubelets.verdicts[namespace] = lambda _, revision: GOOD if revision in good else BAD
    kubelets.cut(nodes[2])
    wait_for("the node is NotReady", lambda: not is_ready(server, nodes[2]))
    model["spec"]["serving"] = {"port": 8100}
    server.apply(model)
    wait_condition(server, namespace, "parts", "Stalled", "RolledBack", seconds=60)
    wait_for("the first revision is back", lambda: labels(server, namespace) == first)
    wait_for("its pods too", lambda: revisions(server, namespace) == first)
    assert len(kept.items() & pods(server, namespace).items()) == 3, "what failed ran beside the server of the canary"
    assert len(server.items("jobs", namespace)) == 1


async def test_labels_are_swept_when_the_edge_model_goes_and_when_it_went_unseen(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator
) -> None:
    node, gone = f"{namespace}-1", node_label(namespace, "gone-before")
    kubelets.add(node, f"{namespace}-device")
    server.patch("nodes", node, {"metadata": {"labels": {gone: "0123456789", "keep": "me"}}})
    await roll_out(server, namespace, kubelets, operator, [])
    wait_for("it is swept", lambda: gone not in node_labels(server, node))
    assert labels(server, namespace)
    server.delete("edgemodels", "parts", namespace)
    wait_for("the label is swept", lambda: not labels(server, namespace))
    assert node_labels(server, node)["keep"] == "me"


def test_a_refused_child_is_said_in_the_status(server: ApiServer, namespace: str, operator: Operator) -> None:
    none = {"count/jobs.batch": "0"}
    metadata = {"name": "none", "namespace": namespace}
    server.create("resourcequotas", {"metadata": metadata, "spec": {"hard": none}})
    wait_for("the quota counts", lambda: (server.get("resourcequotas", "none", namespace) or {})["status"].get("used"))
    server.apply([device_profile(f"{namespace}-device"), edge_model("parts", namespace)])
    operator.start()
    stalled = wait_condition(server, namespace, "parts", "Stalled", "QuotaExceeded")
    assert "exceeded quota" in stalled["message"]


def test_a_second_operator_waits_for_the_first(
    server: ApiServer, namespace: str, operator: Operator, tmp_path: Path, images: str
) -> None:
    operator.start()
    operator.wait_ready()
    second = Operator(server, namespace, images, tmp_path / "second.log", pod="operator-1")
    second.start()
    try:
        wait_for("the second answers", lambda: second.ask("/healthz")[0] == 200)
        assert second.ask("/readyz") == (503, "Another operator holds the Lease.\n")
        assert operator.end() == 0
        second.wait_ready()
        lease = server.get("leases", "edgesmith-operator", namespace)
        assert lease is not None
        assert lease["spec"]["holderIdentity"] == "operator-1"
    finally:
        second.end()


def test_probes_and_metrics(operator: Operator) -> None:
    operator.start()
    operator.wait_ready()
    assert operator.ask("/healthz") == (200, "ok\n")
    wait_for("the watch shows the Lease", lambda: operator.number("edgesmith_watch_age_seconds") < 10)
    assert operator.number("edgesmith_lease_held") == 1
    assert operator.end(signal.SIGINT) == 0


def test_an_operator_whose_lease_is_taken_ends(server: ApiServer, namespace: str, operator: Operator) -> None:
    operator.start()
    operator.wait_ready()
    server.patch("leases", "edgesmith-operator", {"spec": {"holderIdentity": "somebody-else"}}, namespace)
    assert operator.process is not None
    assert operator.process.wait(PATIENCE) == 1
    assert "somebody-else has taken the lease" in operator.log.read_text()
    operator.process = None


IMPATIENT = """
import sys
from edgesmith.controller import probes, watch_settings
from edgesmith.controller.start import main
probes.SILENT_SECONDS, watch_settings.INACTIVITY_SECONDS = 16.0, 24.0
sys.exit(main())
"""
"""An operator with a third of the patience: it says first that a watch is silent, and then replaces it."""


@pytest.mark.long
@pytest.mark.timeout(240)
def test_watches_that_fall_silent_are_noticed_and_replaced(
    server: ApiServer, namespace: str, operator: Operator
) -> None:
    with silent_proxy(int(server.address.rpartition(":")[2])) as proxy:
        operator.through = proxy.address
        operator.program = ("-c", IMPATIENT)
        operator.start()
        operator.wait_ready()
        # The Lease is renewed every 5 s: what asked nothing for longer is a watch.
        wait_for("the watches to be found among the connections", lambda: proxy.silence(unasked=8.0) >= WATCHES)
        server.apply(edge_model("parts", namespace))
        said = wait_for("the liveness probe to notice", lambda: _unhealthy(operator), 90)
        assert "The watch has not shown our own Lease for" in said
        wait_condition(server, namespace, "parts", "Stalled", "ProfileNotFound", seconds=60)
        wait_for("the operator to be healthy again", lambda: operator.ask("/healthz")[0] == 200)


WATCHES = 7
"""EdgeModels, DeviceProfiles, Nodes, Pods, Jobs, DaemonSets and the Lease."""


def _unhealthy(operator: Operator) -> str:
    status, sentence = operator.ask("/healthz")
    return sentence if status == 503 else ""


def _says(operator: Operator, words: str, server: ApiServer, namespace: str) -> bool:
    """Whether the log says so, or the one Job is there and it has nothing more to say."""
    return words in operator.log.read_text() or bool(
        server.items("jobs", namespace) and operator.ask("/readyz")[0] == 200
    )


def _said(server: ApiServer, namespace: str) -> tuple[str, int]:
    """The version of the EdgeModel, and how many events there are."""
    model = server.get("edgemodels", "parts", namespace)
    assert model is not None
    return model["metadata"]["resourceVersion"], len(server.items("events", namespace))


def _phases(server: ApiServer, namespace: str) -> list[str]:
    return [pod["status"]["phase"] for pod in server.items("pods", namespace)]
