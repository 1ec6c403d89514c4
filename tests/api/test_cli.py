"""The command line as a process, against a real API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from apiserver import ApiServer, Object
from kubelets import Kubelets, add_node
from operator_process import DIGEST, device_profile, edge_model

SETTINGS = {
    "EDGESMITH_RUNTIME_IMAGES": json.dumps({"onnxruntime": f"127.0.0.1:9/edgesmith/runtime@{DIGEST}"}),
    "EDGESMITH_BUILDER_IMAGE": f"127.0.0.1:9/edgesmith/builder@{DIGEST}",
    "EDGESMITH_REPOSITORY": "127.0.0.1:9/models",
    "EDGESMITH_PLAIN_HTTP": "true",
}


def edgesmith(
    server: ApiServer, *words: str, kubeconfig: Path | None = None, document: list[Object] | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("EDGESMITH_")}
    environment["KUBECONFIG"] = str(kubeconfig or server.kubeconfig())
    text = yaml.safe_dump_all(document) if document else ""
    line = [sys.executable, "-m", "edgesmith.cli", *words]
    return subprocess.run(line, env=environment, input=text, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def installed(server: ApiServer, namespace: str) -> str:
    """A namespace with the settings of an installed operator."""
    metadata = {"name": "edgesmith-settings", "namespace": namespace}
    server.create("configmaps", {"metadata": metadata, "data": SETTINGS})
    return namespace


def test_a_plan_says_what_and_why_and_writes_nothing(server: ApiServer, installed: str) -> None:
    add_node(server, f"{installed}-1", f"{installed}-device")
    documents = [device_profile(f"{installed}-device"), edge_model("parts", installed)]
    done = edgesmith(server, "plan", "-f", "-", "--operator-namespace", installed, document=documents)
    assert done.returncode == 0, done.stderr
    assert f"EdgeModel {installed}/parts" in done.stdout
    assert "WaitingForRegistry" in done.stdout
    assert "1 are to run it" in done.stdout
    assert server.items("edgemodels", installed) == []
    assert server.get("deviceprofiles", f"{installed}-device") is None


def test_a_plan_as_json(server: ApiServer, installed: str) -> None:
    documents = [edge_model("parts", installed)]
    done = edgesmith(server, "plan", "-f", "-", "-o", "json", "--operator-namespace", installed, document=documents)
    (found,) = json.loads(done.stdout)
    reasons = {condition["type"]: condition["reason"] for condition in found["status"]["conditions"]}
    assert reasons["Stalled"] == "ProfileNotFound"
    assert found["builds"] == []


@pytest.mark.parametrize(
    ("documents", "says"),
    [
        pytest.param([], "- contains no object", id="nothing"),
        pytest.param([{"kind": "Pod", "apiVersion": "v1"}], "document 1 of - is v1 Pod; an EdgeModel", id="a-pod"),
        pytest.param([["a"]], 'document 1 of - is ["a"]; an object was expected', id="a-list"),
    ],
)
def test_a_wrong_file_is_one_sentence(server: ApiServer, documents: list[Object], says: str) -> None:
    done = edgesmith(server, "plan", "-f", "-", document=documents)
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_api_servers_sentence_names_the_field(server: ApiServer, installed: str) -> None:
    documents = [edge_model("parts", installed, serving={"port": 70000})]
    done = edgesmith(server, "plan", "-f", "-", "--operator-namespace", installed, document=documents)
    assert done.returncode == 1
    assert "spec.serving.port" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_an_operator_it_says_where_it_looked(server: ApiServer, namespace: str) -> None:
    documents = [edge_model("parts", namespace)]
    done = edgesmith(server, "plan", "-f", "-", "--operator-namespace", "nowhere", document=documents)
    assert done.returncode == 1
    assert "No operator is installed in namespace 'nowhere'" in done.stderr


def test_without_a_cluster_it_says_so(server: ApiServer, tmp_path: Path) -> None:
    done = edgesmith(server, "status", kubeconfig=tmp_path / "missing")
    assert done.returncode == 1
    assert done.stderr.startswith("edgesmith: No cluster: the kubeconfig")
    assert len(done.stderr.splitlines()) == 1


def test_status_of_nothing_and_of_nobody(server: ApiServer, namespace: str) -> None:
    assert edgesmith(server, "status", "-n", namespace).stdout == f"No EdgeModels found in namespace '{namespace}'.\n"
    done = edgesmith(server, "status", "nobody", "-n", namespace)
    assert (done.returncode, done.stderr) == (
        1,
        f"edgesmith: There is no EdgeModel 'nobody' in namespace '{namespace}'.\n",
    )


def test_status_shows_models_and_one_with_its_nodes(server: ApiServer, namespace: str, kubelets: Kubelets) -> None:
    server.apply([device_profile(f"{namespace}-device"), edge_model("parts", namespace)])
    kubelets.add(f"{namespace}-1", f"{namespace}-device")
    add_node(server, f"{namespace}-2", f"{namespace}-device")
    overview = edgesmith(server, "status", "-A").stdout
    assert overview.splitlines()[0].split()[:3] == ["NAMESPACE", "NAME", "READY"]
    assert "The operator has not looked at it yet." in overview
    rows = [line.split() for line in edgesmith(server, "status", "parts", "-n", namespace).stdout.splitlines()]
    assert [f"{namespace}-1", f"{namespace}-device", "-", "Idle", "-", "-"] in rows
    assert [f"{namespace}-2", f"{namespace}-device", "-", "NotReady", "-", "-"] in rows
    (found,) = json.loads(edgesmith(server, "status", "parts", "-n", namespace, "-o", "json").stdout)
    assert [node["state"] for node in found["nodes"]] == ["Idle", "NotReady"]
