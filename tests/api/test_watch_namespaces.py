"""The operator with the rights that the chart gives it for some namespaces: it works there, and nowhere else."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from apiserver import OPERATOR, ApiServer, Object, wait_for
from needs import lacking
from operator_process import DIGEST, Operator, device_profile, edge_model, registry, wait_condition

from edgesmith.api.names import node_label
from edgesmith_stage.shell import ROOT

NAMESPACE = "edgesmith-system"


def roles(programs: Path, namespace: str) -> list[Object]:
    """The operator's roles and bindings as Helm renders them for one namespace."""
    helm = shutil.which("helm") or str(programs / "helm")
    if not Path(helm).exists():
        lacking("helm is neither on PATH nor among the local cluster's tools: run `make tools`")
    images = [f"image.{part}=r:5000/edgesmith/any@{DIGEST}" for part in ("operator", "builder", "runtime.onnxruntime")]
    settings = [*images, "registry.repository=r:5000/models", f"watchNamespaces={{{namespace}}}"]
    line = [helm, "template", "edgesmith", str(ROOT / "charts/edgesmith"), "--namespace", NAMESPACE]
    line += ["--show-only", "templates/rbac-operator.yaml", *(word for one in settings for word in ("--set", one))]
    text = subprocess.run(line, check=True, capture_output=True, text=True, timeout=60).stdout
    return [found for found in yaml.safe_load_all(text) if found]


@pytest.fixture
def rights(server: ApiServer, namespace: str) -> list[Object]:
    """The rights of the operator for one namespace and no more, whatever another test has granted."""
    server.kubectl("delete", "clusterrolebinding,clusterrole", "edgesmith", "--ignore-not-found")
    if server.get("namespaces", NAMESPACE) is None:
        server.kubectl("create", "namespace", NAMESPACE)
    found = roles(server.programs, namespace)
    server.apply(found)
    return found


def test_it_works_in_the_namespaces_that_it_is_given_and_in_no_other(
    server: ApiServer,
    namespace: str,
    rights: list[Object],
    tmp_path: Path,
) -> None:
    assert {one["kind"] for one in rights} >= {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    other, profile = f"{namespace}-other", f"{namespace}-device"
    server.kubectl("create", "namespace", other)
    labels = {node_label(other, "gone"): "0123456789", "edgesmith.dev/device": profile}
    server.create("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": namespace, "labels": labels}})
    ours, theirs = edge_model("parts", namespace), edge_model("parts", other)
    theirs["spec"]["deviceProfiles"]["names"] = [profile]
    server.apply([device_profile(profile), ours, theirs])
    with registry(server.programs, tmp_path) as images:
        operator = Operator(server, NAMESPACE, images, tmp_path / "operator.log", token=OPERATOR, flags=())
        operator.namespaces = namespace
        operator.start()
        try:
            wait_for("a Job", lambda: server.items("jobs", namespace))
            wait_condition(server, namespace, "parts", "BuildsReady", "Building")
            assert server.items("jobs", other) == []
            found = server.get("edgemodels", "parts", other)
            assert found is not None
            assert found["status"] == {"observedGeneration": -1}, "what the API server fills in"
            node = server.get("nodes", namespace)
            assert node is not None
            assert node_label(other, "gone") in node["metadata"]["labels"], "another operator's label is left alone"
            assert operator.end() == 0
        finally:
            if operator.process:
                operator.end(signal.SIGKILL)
            server.delete("edgemodels", "parts", namespace)
            server.delete("edgemodels", "parts", other)
        log = operator.log.read_text()
        assert "forbidden" not in log.lower(), log
