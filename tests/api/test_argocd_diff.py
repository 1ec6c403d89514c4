"""What Argo CD's own comparison finds between manifests as written and the objects that a real API server keeps."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from apiserver import ApiServer, Object
from gitops_verdict import ask
from yaml_files import documents, read

from edgesmith.api.status import UNSEEN

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "argocd-diff"
PLURALS = {"EdgeModel": "edgemodels", "DeviceProfile": "deviceprofiles"}
FORMS = {
    "client-side": (),
    "server-side": ("--server-side", "--field-manager=argocd-controller"),
}
"""The two ways in which Argo CD applies, and kubectl's words for them; ServerSideApply=true is the second."""


@cache
def _settings() -> dict[str, str]:
    found: dict[str, str] = read(ROOT / "deploy/argocd/argocd-cm.yaml")["data"]
    return found


def _written() -> dict[str, Object]:
    """Each EdgeModel and DeviceProfile of the examples and the chart by where it stands, and one of Quantities."""
    files = [*(ROOT / "examples").rglob("*.yaml"), *(ROOT / "charts/edgesmith/profiles").glob("*.yaml")]
    found = {
        f"{path.relative_to(ROOT)} {document['metadata']['name']}": document
        for path in sorted(files)
        for document in documents(path.read_text())
        if isinstance(document, dict) and document.get("kind") in PLURALS
    }
    quantities = copy.deepcopy(found["examples/digits/edgemodel.yaml digits"])
    quantities["spec"]["gates"] |= {"maxMemory": "0.5Gi", "maxAccuracyDrop": "10m", "maxImageSize": 209715200}
    quantities["spec"]["serving"]["resources"] = {
        "requests": {"cpu": 1, "memory": "1024Mi"},
        "limits": {"cpu": "1000m", "memory": "1.5Gi"},
    }
    quantities["spec"]["rollout"] = {"steps": [{"nodes": "5%"}], "maxUnavailable": "10%", "progressDeadline": "90s"}
    return found | {"quantities": quantities}


WRITTEN = _written()


class Pairs:
    """Manifests as git has them, each with the object that the API server keeps of it."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.desired = {(name, form): _named(name, form) for name in WRITTEN for form in FORMS}
        for form, words in FORMS.items():
            documents = [one for (_, of), one in self.desired.items() if of == form]
            server.kubectl("apply", *words, document=documents)

    def live(self, name: str, form: str) -> Object:
        """The object as it is."""
        desired = self.desired[name, form]
        metadata = desired["metadata"]
        found = self.server.get(PLURALS[desired["kind"]], metadata["name"], metadata.get("namespace", ""))
        assert found is not None
        return found


def _named(name: str, form: str) -> Object:
    desired = copy.deepcopy(WRITTEN[name])
    desired["metadata"]["name"] = f"diff-{list(WRITTEN).index(name)}-{form}"
    if desired["kind"] == "EdgeModel":
        desired["metadata"]["namespace"] = NAMESPACE
    return desired


@pytest.fixture(scope="module")
def pairs(server: ApiServer) -> Iterator[Pairs]:
    """Everything, applied in both ways; no operator is at work."""
    server.create("namespaces", {"metadata": {"name": NAMESPACE}})
    pairs = Pairs(server)
    yield pairs
    for one in pairs.desired.values():
        server.delete(PLURALS[one["kind"]], one["metadata"]["name"], one["metadata"].get("namespace", ""))
    server.delete("namespaces", NAMESPACE)


def _differs(desired: Object, found: Object, *ignored: Object) -> bool:
    (answer,) = _compare((desired, found), ignored=list(ignored))
    return answer


def _compare(*both: tuple[Object, Object], ignored: list[Object] | None = None) -> list[bool]:
    asked = [
        {"verdict": "diff", "desired": desired, "object": found, "ignoreDifferences": ignored or []}
        for desired, found in both
    ]
    answers = ask(_settings(), asked)
    assert not [one["error"] for one in answers if "error" in one]
    return [bool(one.get("modified", False)) for one in answers]


form = pytest.mark.parametrize("form", FORMS)


def test_what_was_applied_is_in_sync(pairs: Pairs) -> None:
    found = _compare(*((desired, pairs.live(*key)) for key, desired in pairs.desired.items()))
    assert [key for key, differs in zip(pairs.desired, found, strict=True) if differs] == []
    assert len(found) > 50


@form
def test_an_edit_of_a_field_that_git_names_is_a_difference(pairs: Pairs, form: str) -> None:
    found = pairs.live("quantities", form)
    found["spec"]["rollout"]["maxUnavailable"] = 3
    assert _differs(pairs.desired["quantities", form], found)


@form
def test_a_pause_is_a_difference_only_where_git_names_the_field(pairs: Pairs, form: str) -> None:
    desired, found = copy.deepcopy(pairs.desired["quantities", form]), pairs.live("quantities", form)
    found["spec"]["rollout"]["paused"] = True
    assert not _differs(desired, found)
    desired["spec"]["rollout"]["paused"] = False
    assert _differs(desired, found)
    ignored = {"group": "edgesmith.dev", "kind": "EdgeModel", "jsonPointers": ["/spec/rollout/paused"]}
    assert not _differs(desired, found, ignored)


@form
def test_what_the_operator_writes_is_no_difference(pairs: Pairs, form: str) -> None:
    desired, found = pairs.desired["quantities", form], pairs.live("quantities", form)
    status: Any = {"observedGeneration": 1, "nodes": {"desired": 3}}
    pairs.server.patch("edgemodels", desired["metadata"]["name"], {"status": status}, NAMESPACE, "status")
    after = pairs.live("quantities", form)
    assert (after["status"], after["spec"]) == (status, found["spec"])
    assert not _differs(desired, after)


def test_nobody_takes_an_edge_model_that_was_never_looked_at_for_one_that_is_done(pairs: Pairs) -> None:
    found = pairs.live("examples/digits/edgemodel.yaml digits", "client-side")
    assert found["status"] == {"observedGeneration": UNSEEN}
    health, kstatus = ask(_settings(), [{"verdict": kind, "object": found} for kind in ("health", "kstatus")])
    assert (health["status"], kstatus["status"]) == ("Progressing", "InProgress")
