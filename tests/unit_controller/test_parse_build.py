"""Build and resolve Jobs and their pods as nouns."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pods_as_read import container, ended
from snapshots import NOW, SETTINGS, model, profile

from edgesmith.api.names import BUILD_REASON_ANNOTATION, REQUEST_ANNOTATION
from edgesmith.cluster import parse_build
from edgesmith.decide.builds import build_for
from edgesmith.decide.plan import Change, StartBuild
from edgesmith.resources.build_job import build_job
from edgesmith_builder.contract import Build

FAILURE = {"reason": "SourceNotFound", "message": "spec.source.uri: nothing is there.", "retry": False}


def test_a_build_job_says_what_it_is_to_make_and_why() -> None:
    build = build_for(model(), profile(), SETTINGS)
    why = (Change("base", "one", "two"), Change("calibration.uri", None, "s3://models/c.npz"))
    made = build_job(model(), StartBuild(profile(), build, "a", why, NOW, 7), SETTINGS)
    found = parse_build.job(made)
    assert (Build.model_validate(found.build), found.reason) == (build, why)
    assert (found.number, found.asked_at, found.tries) == (7, NOW, 0)


@pytest.mark.parametrize("said", ["", "[", "{}", "3", "[1]", '[{"field": "base"}]'])
def test_a_reason_or_a_request_that_nobody_can_read_is_none(said: str) -> None:
    made = build_job(model(), StartBuild(profile(), build_for(model(), profile(), SETTINGS), "a", (), NOW, 7), SETTINGS)
    made["metadata"]["annotations"][BUILD_REASON_ANNOTATION] = said
    made["spec"]["template"]["metadata"]["annotations"][REQUEST_ANNOTATION] = said
    found = parse_build.job(made)
    assert (found.reason, found.build) == ((), {})


def build_pod(name: str, created: str, message: str = "", **state: Any) -> parse_build.BuildPod:
    state = state or ended(message, 1)
    return parse_build.build_pod(
        {
            "metadata": {
                "name": name,
                "creationTimestamp": created,
                "labels": {"batch.kubernetes.io/job-name": "j"},
            },
            "status": {"containerStatuses": [container("builder", state=state)]},
        }
    )


def test_a_compiler_whose_image_does_not_come_is_named() -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "r/compiler"'}}
    raw: dict[str, Any] = {
        "metadata": {"name": "p"},
        "status": {
            "initContainerStatuses": [container("compiler", state=waiting)],
            "containerStatuses": [container("builder", state={"waiting": {"reason": "PodInitializing"}})],
        },
    }
    assert parse_build.build_pod(raw).problem == 'compiler: Back-off pulling image "r/compiler"'
    raw["status"]["initContainerStatuses"] = [container("compiler", state={"running": {}})]
    assert parse_build.build_pod(raw).problem is None


def job(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "j", "annotations": {"edgesmith.dev/tries": "2"}}, "status": status}


FAILED = {
    "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "Too often."}]
}


@pytest.mark.parametrize(("said", "made"), [({"made": True}, True), ({}, False)], ids=["made", "found"])
def test_a_job_says_which_image_it_pushed_or_found_and_which_of_the_two(said: dict[str, Any], made: bool) -> None:  # noqa: FBT001 - a column of the table
    message = json.dumps({"image": f"r/m@sha256:{'a' * 64}", **said})
    complete = {"conditions": [{"type": "Complete", "status": "True"}]}
    found = parse_build.with_pods(parse_build.job(job(**complete)), [build_pod("p", "2030", message)])
    assert (found.digest, found.made) == (f"sha256:{'a' * 64}", made)
    none = parse_build.with_pods(parse_build.job(job(**complete)), [build_pod("p", "2030", "{}")])
    assert (none.digest, none.made) == (None, False)


def test_a_failed_job_has_the_words_of_its_newest_pod() -> None:
    pods = [
        build_pod("old", "2026-01-01T00:00:00Z", json.dumps(FAILURE | {"reason": "DigestMismatch"})),
        build_pod("new", "2026-01-02T00:00:00Z", "noise\n" + json.dumps(FAILURE)),
    ]
    found = parse_build.with_pods(parse_build.job(job(**FAILED)), pods)
    assert found.failure is not None
    assert (found.failure.reason, found.finished, found.succeeded, found.tries) == ("SourceNotFound", True, False, 2)


def test_a_job_whose_pod_left_no_words_has_kubernetes_own() -> None:
    found = parse_build.with_pods(parse_build.job(job(**FAILED)), [build_pod("p", "")])
    assert (found.failure, found.failure_message) == (None, "BackoffLimitExceeded: Too often.")


@pytest.mark.parametrize(
    ("ended", "problem"),
    [
        ({"reason": "OOMKilled", "exitCode": 137}, "the builder was ended: OOMKilled"),
        ({"reason": "Error", "exitCode": 137}, "the builder was ended: SIGKILL, exit code 137"),
        ({"reason": "Error", "exitCode": 139}, "the builder was ended: SIGSEGV, exit code 139"),
        ({"reason": "Error", "exitCode": 143, "message": json.dumps(FAILURE)}, None),
        ({"reason": "Error", "exitCode": 1}, None),
        ({"reason": "Error", "exitCode": 128}, None),
        ({"reason": "Error", "exitCode": 255}, None),
    ],
)
def test_a_pod_that_was_killed_says_how(ended: dict[str, Any], problem: str | None) -> None:
    assert build_pod("p", "", terminated=ended).problem == problem


def test_a_secret_that_is_missing_is_named() -> None:
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "keys" not found'}
    found = parse_build.with_pods(parse_build.job(job()), [build_pod("p", "", waiting=waiting)])
    assert (found.finished, found.failure_message) == (False, 'secret "keys" not found')


OVERDUE = {
    "phase": "Failed",
    "reason": "DeadlineExceeded",
    "message": "Pod was active on the node longer than the specified deadline",
}


def overdue_pod(state: dict[str, Any]) -> parse_build.BuildPod:
    """A pod that its kubelet ended by the deadline."""
    labels = {"batch.kubernetes.io/job-name": "j"}
    return parse_build.build_pod(
        {
            "metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels},
            "spec": {"nodeName": "n1", "activeDeadlineSeconds": 60},
            "status": OVERDUE | {"containerStatuses": [container("builder", state=state)]},
        }
    )


def test_a_builder_that_the_deadline_stopped_is_overdue_whatever_it_said() -> None:
    stopped = {"exitCode": 143, "startedAt": "2026-01-01T00:00:05Z", "message": json.dumps(FAILURE | {"retry": True})}
    found = parse_build.with_pods(parse_build.job(job(**FAILED)), [overdue_pod({"terminated": stopped})])
    assert (found.ran, found.overdue) == (True, True)
    assert found.failure_message == "its builder ran for longer than 60 s (builder.deadlineSeconds)"


@pytest.mark.parametrize(
    "state",
    [
        pytest.param({"waiting": {"reason": "ContainerCreating"}}, id="as the older kubelets leave it"),
        pytest.param(
            {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None}}, id="as newer ones"
        ),
    ],
)
def test_a_builder_that_never_started_did_not_run(state: dict[str, Any]) -> None:
    found = parse_build.with_pods(parse_build.job(job(**FAILED)), [overdue_pod(state)])
    assert (found.ran, found.overdue) == (False, True)
    assert "without a start for longer than 60 s" in (found.failure_message or "")


def test_a_pod_that_its_kubelet_refused_did_not_run_its_builder() -> None:
    labels = {"batch.kubernetes.io/job-name": "j"}
    refused = {"phase": "Failed", "reason": "OutOfcpu", "message": "Pod was rejected: Node didn't have enough cpu"}
    pod = parse_build.build_pod({"metadata": {"name": "p", "labels": labels}, "status": refused})
    found = parse_build.with_pods(parse_build.job(job(**FAILED)), [pod])
    assert (found.ran, found.overdue, found.failure_message) == (False, False, refused["message"])


def test_a_job_without_a_pod_left_is_taken_to_have_run() -> None:
    assert parse_build.with_pods(parse_build.job(job(**FAILED)), []).ran


def test_a_job_at_work_is_as_its_newest_pod_is() -> None:
    drained = build_pod("old", "2026-01-01T00:00:00Z", terminated={"reason": "OOMKilled", "exitCode": 137})
    runs = build_pod("new", "2026-01-02T00:00:00Z", running={"startedAt": "2026-01-02T00:00:01Z"})
    found = parse_build.with_pods(parse_build.job(job()), [drained, runs])
    assert (found.finished, found.ran, found.failure_message) == (False, True, None)


def test_a_job_that_succeeded_in_the_end_says_nothing() -> None:
    complete = job(conditions=[{"type": "Complete", "status": "True"}])
    found = parse_build.with_pods(parse_build.job(complete), [build_pod("p", "", json.dumps(FAILURE))])
    assert (found.succeeded, found.failure, found.failure_message, found.digest) == (True, None, None, None)


@pytest.mark.parametrize("image", ["r:5000/models/ns/m@sha256:" + "a" * 64, "r:5000/models/ns/m:tag", "", 7])
def test_a_job_that_succeeded_says_which_image_it_pushed(image: Any) -> None:
    complete = job(conditions=[{"type": "Complete", "status": "True"}])
    found = parse_build.with_pods(parse_build.job(complete), [build_pod("p", "", json.dumps({"image": image}))])
    assert found.digest == ("sha256:" + "a" * 64 if "@" in str(image) else None)


def test_a_job_that_failed_vouches_for_nothing() -> None:
    said = json.dumps({"image": "r/m@sha256:" + "a" * 64})
    assert parse_build.with_pods(parse_build.job(job(**FAILED)), [build_pod("p", "", said)]).digest is None


ANSWER = {"files": [{"field": "source", "sha256": "a" * 64, "validator": "v1"}]}


@pytest.mark.parametrize(
    ("message", "known"),
    [
        (json.dumps(ANSWER), True),
        (json.dumps({"files": []}), True),
        (json.dumps({"files": [{"field": "source"}]}), False),
        (json.dumps({"files": [{"field": "source", "sha256": "short"}]}), False),
        (json.dumps({"image": "r/m@sha256:" + "a" * 64}), False),
        ("no JSON", False),
    ],
)
def test_a_look_that_succeeded_says_what_it_found(message: str, known: bool) -> None:  # noqa: FBT001 - as above
    complete = job(conditions=[{"type": "Complete", "status": "True"}])
    found = parse_build.with_pods(parse_build.resolve_job(complete), [build_pod("p", "", message)])
    assert (found.succeeded, found.found is not None) == (True, known)


def test_a_look_that_failed_has_the_words_of_its_pod_and_found_nothing() -> None:
    pods = [build_pod("p", "", json.dumps(FAILURE)), build_pod("q", "", json.dumps(ANSWER))]
    found = parse_build.with_pods(parse_build.resolve_job(job(**FAILED)), pods)
    assert found.found is None
    assert found.failure is not None
    assert found.failure.reason == "SourceNotFound"
