"""What `kubectl apply` would send: fields that left the file are removed, and nobody else's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgesmith.cluster.dry_run import LAST_APPLIED_ANNOTATION, applying_manager, last_applied, three_way


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        pytest.param({}, {"a": 1}, {"a": 1}, id="added"),
        pytest.param({"a": 1}, {"a": 1}, {"a": 1}, id="kept"),
        pytest.param({"a": 1, "b": 2}, {"a": 1}, {"a": 1, "b": None}, id="removed"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": None}}, id="removed below"),
        pytest.param({"a": {"b": 1}}, {"a": {}}, {"a": {"b": None}}, id="emptied"),
        pytest.param({"a": {"b": 1}}, {}, {"a": None}, id="a whole object removed"),
        pytest.param({"a": [1, 2]}, {"a": [2]}, {"a": [2]}, id="lists are replaced"),
        pytest.param({"a": "20%"}, {"a": {"b": 1}}, {"a": {"b": 1}}, id="another type"),
    ],
)
def test_the_patch_of_kubectl_apply(before: dict[str, Any], after: dict[str, Any], patch: dict[str, Any]) -> None:
    assert three_way(before, after) == patch


def test_what_was_applied_last_is_read_without_what_a_file_does_not_decide() -> None:
    applied = {
        "kind": "EdgeModel",
        "metadata": {"name": "m", "creationTimestamp": None, "labels": {"a": "b"}},
        "spec": {"gates": {}},
        "status": {},
    }
    live = {"metadata": {"annotations": {LAST_APPLIED_ANNOTATION: json.dumps(applied)}}}
    assert last_applied(live) == {"kind": "EdgeModel", "metadata": {"labels": {"a": "b"}}, "spec": {"gates": {}}}


@pytest.mark.parametrize("annotation", [None, "", "{", "[]", 7])
def test_without_a_readable_annotation_nothing_was_applied(annotation: object) -> None:
    annotations = {} if annotation is None else {LAST_APPLIED_ANNOTATION: annotation}
    assert last_applied({"metadata": {"annotations": annotations}}) is None


def test_the_manager_is_who_applied_the_object_last() -> None:
    def entry(manager: str, time: str, operation: str = "Apply", **more: str) -> dict[str, str]:
        return {"manager": manager, "time": time, "operation": operation, **more}

    fields = [
        entry("kubectl", "2030-01-01T00:00:00Z"),
        entry("argocd-controller", "2030-01-02T00:00:00Z"),
        entry("edgesmith-status", "2030-01-03T00:00:00Z", subresource="status"),
        entry("kubectl-edit", "2030-01-04T00:00:00Z", operation="Update"),
    ]
    assert applying_manager({"metadata": {"managedFields": fields}}) == "argocd-controller"
    assert applying_manager({"metadata": {"managedFields": fields[2:]}}) is None
    assert applying_manager({"metadata": {}}) is None
