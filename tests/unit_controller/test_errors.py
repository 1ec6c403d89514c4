"""Which error an answer of the API server becomes: the sentences are those of kube-apiserver 1.34."""

from __future__ import annotations

import json

import pytest

from edgesmith.cluster.errors import (
    AdmissionDenied,
    ClusterError,
    Conflict,
    Forbidden,
    Invalid,
    Missing,
    QuotaExceeded,
    Stalled,
    Unknown,
    Unreachable,
    Waiting,
    from_answer,
)


def status(message: str, cause: str = "") -> str:
    return json.dumps({"kind": "Status", "message": message, "details": {"causes": [{"reason": cause}]}})


@pytest.mark.parametrize(
    ("code", "body", "kind"),
    [
        (401, status("Unauthorized"), Unknown),
        (403, status("no"), Forbidden),
        (403, status("being terminated", "NamespaceTerminating"), Waiting),
        (404, status("not found"), Missing),
        (409, status("exists"), Conflict),
        (413, "", Invalid),
        (422, status("spec.x: Invalid value"), Invalid),
        (429, "<html>", Unreachable),
        (500, '{"message": null}', Unreachable),
        (503, "[]", Unreachable),
    ],
)
def test_an_answer_becomes_the_error_that_says_what_to_do(code: int, body: str, kind: type[ClusterError]) -> None:
    found = from_answer(code, body, "applying Job ns/x")
    assert type(found) is kind
    assert str(found).startswith("applying Job ns/x failed: ")


RBAC = (
    'jobs.batch is forbidden: User "system:serviceaccount:edgesmith-system:edgesmith" cannot create resource "jobs" '
    'in API group "batch" in the namespace "plant"'
)
OWNER = (
    'jobs.batch "a" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can\'t '
    "set finalizers on: , <nil>"
)
QUOTA = (
    'jobs.batch "a" is forbidden: exceeded quota: builds, requested: count/jobs.batch=1, used: count/jobs.batch=2, '
    "limited: count/jobs.batch=2"
)
UNSET = 'pods "a" is forbidden: failed quota: compute: must specify limits.memory for: server'
WEBHOOK = 'admission webhook "validate.kyverno.svc-fail" denied the request: resource DaemonSet/plant/a was blocked'
POLICY = (
    "daemonsets.apps \"a\" is forbidden: ValidatingAdmissionPolicy 'no-host.example.com' with binding "
    "'no-host-binding.example.com' denied request: failed expression: !has(object.spec.template.spec.hostNetwork)"
)
POD_SECURITY = (
    'pods "a" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container '
    '"server" must set securityContext.allowPrivilegeEscalation=false)'
)
LIMIT_RANGE = 'pods "a" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi'
LIMIT_RANGES = (
    'pods "a" is forbidden: [minimum cpu usage per Container is 100m, but request is 10m, maximum memory usage per '
    "Container is 1Gi, but limit is 2Gi]"
)
SCHEMA = 'DaemonSet.apps "a" is invalid: spec.template.spec.containers[0].image: Required value'
UNDECLARED = (
    "failed to create typed patch object (plant/parts; edgesmith.dev/v1alpha1, Kind=EdgeModel): .spec.rollout.canary: "
    "field not declared in schema"
)
KUBELET = (
    'nodes "edge-1" is forbidden: is not allowed to modify labels: node-restriction.kubernetes.io/model.edgesmith.dev'
)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        pytest.param(403, RBAC, Forbidden, id="rbac"),
        pytest.param(403, OWNER, Forbidden, id="owner-reference"),
        pytest.param(403, KUBELET, Forbidden, id="node-restriction"),
        pytest.param(403, QUOTA, QuotaExceeded, id="quota"),
        pytest.param(403, UNSET, QuotaExceeded, id="quota-of-what-is-not-set"),
        pytest.param(403, WEBHOOK, AdmissionDenied, id="webhook"),
        pytest.param(400, WEBHOOK, AdmissionDenied, id="webhook-with-a-code-of-its-own"),
        pytest.param(404, WEBHOOK, AdmissionDenied, id="webhook-that-says-not-found"),
        pytest.param(422, POLICY, AdmissionDenied, id="policy"),
        pytest.param(403, POD_SECURITY, AdmissionDenied, id="pod-security"),
        pytest.param(403, LIMIT_RANGE, AdmissionDenied, id="limit-range"),
        pytest.param(403, LIMIT_RANGES, AdmissionDenied, id="limit-ranges"),
        pytest.param(422, SCHEMA, Invalid, id="schema"),
        pytest.param(500, UNDECLARED, Invalid, id="field-that-the-crd-does-not-have"),
    ],
)
def test_the_type_says_who_refused_an_object(code: int, message: str, kind: type[Stalled]) -> None:
    found = from_answer(code, status(message), "applying Job plant/a")
    assert type(found) is kind
    assert isinstance(found, Stalled)
    assert str(found) == f"applying Job plant/a failed: {message}"


def test_a_webhook_that_cannot_be_called_is_tried_again() -> None:
    failed = 'Internal error occurred: failed calling webhook "validate.kyverno.svc-fail": connection refused'
    assert type(from_answer(500, status(failed), "applying Job plant/a")) is Unreachable


UNCHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
REQUIRED = "spec.rollout.partitions.label: Required value"
WRONG = 'spec.rollout.jitter: Invalid value: "integer": spec.rollout.jitter in body must be of type string: "integer"'


@pytest.mark.parametrize(
    ("said", "told"),
    [
        pytest.param(
            f'EdgeModel "parts" is invalid: [{REQUIRED}, {UNCHECKED}]',
            f'EdgeModel "parts" is invalid: {REQUIRED}',
            id="one",
        ),
        pytest.param(
            f'EdgeModel "parts" is invalid: [{REQUIRED}, {WRONG}, {UNCHECKED}]',
            f'EdgeModel "parts" is invalid: [{REQUIRED}, {WRONG}]',
            id="two",
        ),
        pytest.param(
            'EdgeModel "parts" is invalid: [a: Required value, b: Required value]',
            'EdgeModel "parts" is invalid: [a: Required value, b: Required value]',
            id="nothing-to-leave-out",
        ),
        pytest.param(
            'EdgeModel "parts" is invalid: patch: Invalid value: "' + "x" * 2000 + '": strict decoding error: '
            'unknown field "spec.rollout.maxPullling", unknown field "spec.x"',
            'unknown field "spec.rollout.maxPullling", unknown field "spec.x"',
            id="unknown-fields",
        ),
    ],
)
def test_what_is_wrong_is_not_hidden_by_what_is_not(said: str, told: str) -> None:
    found = from_answer(422, status(said), "applying EdgeModel plant/parts")
    assert isinstance(found, Invalid)
    assert str(found) == f"applying EdgeModel plant/parts failed: {told}"
