"""Pods whose server is Triton."""

from __future__ import annotations

from typing import Any

import pytest
from made import IMAGE, applied
from snapshots import SETTINGS, model, profile

from edgesmith.decide.serving import revision_of, serving
from edgesmith.resources.daemon_set import pod_spec
from edgesmith.resources.triton import ACCEPT_SECONDS


def with_triton(**changes: Any) -> dict[str, Any]:
    """The pod of a profile whose server is Triton."""
    triton = profile(runtime={"server": "Triton", "baseImage": IMAGE})
    pod: dict[str, Any] = pod_spec(serving(model(serving=changes), triton, IMAGE, SETTINGS), "0" * 10)
    return pod


def test_a_pod_with_triton_is_ready_when_its_model_is() -> None:
    (server,) = with_triton()["containers"]
    for probe in ("readinessProbe", "startupProbe"):
        assert server[probe]["httpGet"] == {"path": f"/v2/models/{model().metadata.name}/ready", "port": "http"}
    assert server["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


def test_a_pod_with_triton_takes_requests_while_the_cluster_still_sends_them() -> None:
    """Triton closes its ports at SIGTERM; the whole is shorter than what Kubernetes gives a pod."""
    pod = with_triton()
    (server,) = pod["containers"]
    (program, _, code) = server["lifecycle"]["preStop"]["exec"]["command"]
    assert (program, code) == ("python3", f"import time; time.sleep({ACCEPT_SECONDS})")
    drain = int(server["args"][server["args"].index("--drain-seconds") + 1])
    assert ACCEPT_SECONDS + drain < pod["terminationGracePeriodSeconds"]
    assert "lifecycle" not in applied()["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("ports", "metrics"),
    [({}, 8002), ({"port": 8002}, 8003), ({"grpcPort": 8002}, 8003), ({"port": 8003, "grpcPort": 8002}, 8004)],
)
def test_the_metrics_of_triton_have_a_port_of_their_own(ports: dict[str, int], metrics: int) -> None:
    (server,) = with_triton(**ports)["containers"]
    assert server["ports"][-1] == {"name": "metrics", "containerPort": metrics, "protocol": "TCP"}
    assert server["args"][server["args"].index("--metrics-port") + 1] == str(metrics)
    assert len({port["containerPort"] for port in server["ports"]}) == 3


def test_another_server_is_another_revision() -> None:
    assert revision_of(profile(), IMAGE, model(), SETTINGS) != revision_of(
        profile(runtime={"server": "Triton", "baseImage": IMAGE}), IMAGE, model(), SETTINGS
    )
