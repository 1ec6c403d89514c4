"""The whole operator as a process against a real API server; no kubelet, so a test plays the nodes."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from apiserver import ApiServer, wait_for
from operator_process import Operator, device_profile, edge_model, registry, wait_condition


@pytest.fixture(scope="module")
def images(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry(server.programs, tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def operator(server: ApiServer, namespace: str, images: str, tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(server, namespace, images, tmp_path / "operator.log")
    yield operator
    if operator.process is not None:
        operator.end(signal.SIGKILL)
    server.kubectl("delete", "edgemodels", "--all", "-n", namespace, "--ignore-not-found")


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
    model = server.get("edgemodel", "parts", namespace)
    assert model is not None
    assert "finalizers" not in model["metadata"]
    assert not [key for key in model["metadata"].get("annotations", {}) if "kopf" in key]
    assert operator.end() == 0
