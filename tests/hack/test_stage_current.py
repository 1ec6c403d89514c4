"""The demo on somebody's own cluster: what stand-ins for `kubectl` and `helm` are asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from played import Answer, Played, refused
from stand_ins import StandIns

from edgesmith.api.names import node_label
from edgesmith_stage import demo, install, surface
from edgesmith_stage.errors import StageError
from edgesmith_stage.ground import current, kubeconfig_environment

NODES = {"items": [{"metadata": {"name": "pi-07", "labels": {"edgesmith.dev/device": "generic-amd64"}}}]}
IMAGES = {name: f"hub:5000/edgesmith/{name}@sha256:{'0' * 64}" for name in ("operator", "builder")}
XML = {"Content-Type": "application/xml"}
CHANGING = ("kubectl apply", "kubectl create", "kubectl delete", "kubectl label", "helm")


def found(kind: str, name: str, namespace: str = "default", **labels: str) -> dict[str, str]:
    """kubectl's answer that has an object."""
    key = f"kubectl get {kind} {name} -n {namespace}"
    return {key: json.dumps({"metadata": {"name": name, "labels": labels}})}


@pytest.fixture
def bucket() -> Iterator[Played]:
    """A bucket in which nothing is."""
    with Played(lambda _: refused(404, "NoSuchKey", **XML)) as played:
        yield played


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: Played) -> StandIns:
    """A cluster with one edge node and nothing else, for a demo that pushes nothing and waits for nothing."""
    made = StandIns(tmp_path, ("kubectl", "helm"), monkeypatch)
    made.answer({"kubectl get nodes": json.dumps(NODES), "kubectl get deployments": '{"items": []}'})
    variables = {"REGISTRY": "hub:5000", "AWS_ENDPOINT_URL": bucket.endpoint, "KUBECONFIG": "/somebody/s/config"}
    for name, value in {**variables, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    for name in ("_follow", "_predictions"):
        monkeypatch.setattr(demo, name, lambda _: None)
    monkeypatch.setattr(demo, "push_images", lambda _: IMAGES)
    monkeypatch.setattr(surface, "publish", lambda _: None)
    monkeypatch.setattr(demo, "run", lambda words, env: f"{' '.join(words[1:])} of {env['KUBECONFIG']}")
    return made


def changed(calls: StandIns) -> list[str]:
    """What was asked that changes something."""
    return [" ".join(call["call"]) for words in CHANGING for call in calls.starting(words)]


def test_what_the_demo_makes_has_its_mark_before_anything_is_installed(calls: StandIns) -> None:
    demo.demo("current")
    (made,) = calls.starting("kubectl create")
    (namespace,) = json.loads(made["stdin"])["items"]
    assert namespace["metadata"] == {"name": "edgesmith-system", "labels": {"edgesmith.dev/demo": "true"}}
    (applied,) = calls.starting("kubectl apply -n default")
    objects = json.loads(applied["stdin"])["items"]
    assert [one["kind"] for one in objects] == ["Secret", "DeviceProfile", "EdgeModel"]
    assert {one["metadata"]["labels"]["edgesmith.dev/demo"] for one in objects} == {"true"}
    assert [call["call"][:3] for call in calls.starting("helm")] == [["helm", "upgrade", "--install"]]
    everything = [json.loads(line) for line in calls.text().splitlines()]
    assert everything.index(made) < everything.index(calls.starting("helm")[0])
    assert {call["kubeconfig"] for call in everything} == {"/somebody/s/config"}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (found("namespaces", "edgesmith-system"), "the namespace edgesmith-system is on this cluster already"),
        (
            {"kubectl get deployments -A -l app.kubernetes.io/name=edgesmith": json.dumps(
                {"items": [{"metadata": {"name": "edgesmith", "namespace": "tools"}}]}
            )},
            "Edgesmith is installed in the namespace tools already",
        ),
        (found("secrets", "model-store"), "Secret model-store is there already"),
        (found("edgemodels", "surface-inspection"), "EdgeModel surface-inspection is there already"),
        (found("deviceprofiles", "panel-pc", team="line"), "DeviceProfile panel-pc is there already"),
    ],
)  # fmt: skip
def test_what_is_there_and_is_not_the_demos_is_not_taken_over(
    calls: StandIns, monkeypatch: pytest.MonkeyPatch, answer: dict[str, str], says: str
) -> None:
    monkeypatch.setattr(demo, "push_images", lambda _: pytest.fail("images were pushed before"))
    for kind in ("edgemodels", "deviceprofiles"):
        calls.answer(found("customresourcedefinitions", f"{kind}.edgesmith.dev"))
    calls.answer(answer)
    with pytest.raises(StageError, match=f"^{says}"):
        demo.demo("current")
    assert changed(calls) == []


def test_what_the_demo_made_is_taken_again(calls: StandIns) -> None:
    mark = {"edgesmith.dev/demo": "true"}
    for kind, name in (("namespaces", "edgesmith-system"), ("secrets", "model-store"), ("edgemodels", surface.NAME)):
        calls.answer(found(kind, name, **mark))
    calls.answer(found("customresourcedefinitions", "edgemodels.edgesmith.dev"))
    here = {"items": [{"metadata": {"name": "edgesmith", "namespace": "edgesmith-system"}}]}
    calls.answer({"kubectl get deployments": json.dumps(here)})
    demo.demo("current")
    assert calls.starting("kubectl create") == []
    assert len(calls.starting("helm upgrade")) == 1


def test_another_model_in_the_bucket_is_not_written_over(calls: StandIns, bucket: Played) -> None:
    bucket.answering = lambda _: Answer(body=b"somebody's")
    with pytest.raises(StageError, match=r"^s3://models/surface-inspection/1/model\.onnx is in the bucket already"):
        demo.demo("current")
    assert changed(calls) == []


def test_the_example_in_the_bucket_is_the_examples(calls: StandIns, bucket: Played) -> None:
    def answer(request: BaseHTTPRequestHandler) -> Answer:
        file = surface.FOLDER / request.path.partition("?")[0].rpartition("/")[2]
        return Answer(body=file.read_bytes(), headers={"ETag": hashlib.sha256(file.read_bytes()).hexdigest()})

    bucket.answering = answer
    demo.demo("current")
    assert len(bucket.asked) == 3
    assert len(calls.starting("helm upgrade")) == 1


def test_down_removes_what_is_marked(calls: StandIns) -> None:
    calls.answer(found("namespaces", "edgesmith-system", **{"edgesmith.dev/demo": "true"}))
    for kind in ("edgemodels", "deviceprofiles"):
        calls.answer(found("customresourcedefinitions", f"{kind}.edgesmith.dev"))
    demo.down("current")
    marked = "-n default -l edgesmith.dev/demo=true"
    assert changed(calls) == [
        *(f"kubectl delete {kind} {marked}" for kind in ("edgemodels", "deviceprofiles", "secrets")),
        "kubectl delete namespace edgesmith-system --ignore-not-found",
        "helm uninstall edgesmith --ignore-not-found --wait --namespace edgesmith-system",
    ]


def test_the_operator_stays_until_it_has_taken_its_label_off(calls: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    calls.answer(found("namespaces", "edgesmith-system", **{"edgesmith.dev/demo": "true"}))
    label = {node_label("default", surface.NAME): "1"}
    calls.answer({"kubectl get nodes": json.dumps({"items": [{"metadata": {"name": "pi-07", "labels": label}}]})})
    asked: list[bool] = []

    def until(condition: Callable[[], bool], **_: object) -> None:
        asked.append(condition())
        assert len(calls.starting("kubectl delete")) == 1
        assert calls.starting("helm") == []
        calls.answer({"kubectl get nodes": json.dumps(NODES)})
        asked.append(condition())

    monkeypatch.setattr(demo, "until", until)
    demo.down("current")
    assert asked == [False, True]
    assert len(calls.starting("helm uninstall")) == 1


def test_down_asks_for_no_kind_that_the_cluster_lacks(calls: StandIns) -> None:
    calls.answer(found("namespaces", "edgesmith-system", **{"edgesmith.dev/demo": "true"}))
    demo.down("current")
    kinds = [call["call"][2] for call in calls.starting("kubectl delete")]
    assert kinds == ["secrets", "namespace"]


def test_down_leaves_an_installation_that_is_not_the_demos(calls: StandIns) -> None:
    calls.answer(found("namespaces", "edgesmith-system", **{"edgesmith.dev/demo": "no"}))
    with pytest.raises(StageError, match=r"^the namespace edgesmith-system .* was not made by the demo"):
        demo.down("current")
    assert changed(calls) == []


def test_down_without_a_demo_changes_nothing(calls: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    demo.down("current")
    assert changed(calls) == []
    assert capsys.readouterr().out == "the demo is not on this cluster\n"


def test_the_namespace_of_the_example_is_said_everywhere(calls: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    demo.demo("current")
    said = capsys.readouterr().out
    assert "-m edgesmith.cli status surface-inspection --namespace default of /somebody/s/config" in said
    tried = [line for line in said.splitlines() if " get edgemodels" in line or " port-forward" in line]
    assert len(tried) == 2
    assert all("--namespace default" in line for line in tried)
    without = [
        call["call"]
        for call in calls.starting("kubectl")
        if not {"-n", "-A", "--namespace"} & set(call["call"]) and call["call"][2] not in {"nodes", "namespace"}
    ]
    assert without == []


@pytest.mark.parametrize(("plain", "scheme"), [("true", "http"), ("", "https")])
@pytest.mark.parametrize("registry", ["registry.example:5000", "10.0.0.1:5000"])
def test_images_are_pushed_as_the_registry_speaks(
    calls: StandIns, monkeypatch: pytest.MonkeyPatch, plain: str, scheme: str, registry: str
) -> None:
    asked: list[Any] = []

    def run(words: list[Any], **_: object) -> str:
        asked.append(words)
        return "{}"

    monkeypatch.setattr(install, "run", run)
    variables = {"REGISTRY": registry, "REGISTRY_PLAIN_HTTP": plain}
    ground = current({"AWS_ENDPOINT_URL": "x", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", **variables})
    install.push_images(ground, "operator")
    assert asked[0][-1] == f"{scheme}://{registry}"
    assert calls.text() == ""


@pytest.mark.usefixtures("calls")
def test_programs_are_not_looked_for_where_one_stands() -> None:
    variables = ("REGISTRY", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ground = current({**dict.fromkeys(variables, "x"), "KUBECONFIG": "/somebody/s/config"})
    assert kubeconfig_environment(ground) == {"KUBECONFIG": "/somebody/s/config"}
