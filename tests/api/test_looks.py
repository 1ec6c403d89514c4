"""A source without a digest, from apply to two builds, with the API server, its Job controller and killed operators."""

from __future__ import annotations

import json
import signal
from typing import Any

from apiserver import ApiServer, Object, wait_for
from build_outcomes import fail_build, finish_build, finish_look, push_build
from kubelets import Kubelets
from operator_process import Operator, device_profile, edge_model, wait_condition

from edgesmith.api.names import (
    BUILD_KEY_LABEL,
    BUILD_REASON_ANNOTATION,
    PROFILE_LABEL,
    REQUEST_ANNOTATION,
    RESOLVE_LABEL,
    RETRY_ANNOTATION,
)

URI = "s3://models/parts/model.onnx"
A, B = "a" * 64, "b" * 64


def loose(namespace: str, **spec: Any) -> Object:
    return edge_model("parts", namespace, source={"uri": URI}, **spec)


def one_job(server: ApiServer, namespace: str, label: str, *but: str) -> Object:
    """The first Job with a label that is there, or comes."""

    def found() -> Object | None:
        jobs = server.items("jobs", namespace, label)
        return next((job for job in jobs if job["metadata"]["name"] not in but), None)

    return wait_for(f"a Job with {label}", found)


def recorded(server: ApiServer, namespace: str) -> list[tuple[str, str, str]]:
    """What the status says of files."""
    status = (server.get("edgemodels", "parts", namespace) or {}).get("status") or {}
    return [(one["field"], one["uri"], one["sha256"]) for one in status.get("sources", [])]


async def build(server: ApiServer, namespace: str, operator: Operator, *but: str) -> Object:
    """The next build Job, made."""
    job = one_job(server, namespace, BUILD_KEY_LABEL, *but)
    key = job["metadata"]["labels"][BUILD_KEY_LABEL]
    finish_build(server, job, await push_build(operator.registry, namespace, key))
    return job


def digest(job: Object) -> str:
    """Of the source that a build Job is asked to build."""
    request = json.loads(job["spec"]["template"]["metadata"]["annotations"][REQUEST_ANNOTATION])
    return str(request["build"]["source"]["sha256"])


async def test_other_bytes_at_the_same_uri_are_another_build_with_the_reason_on_it(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator
) -> None:
    profile = f"{namespace}-device"
    kubelets.add(f"{namespace}-1", profile)
    server.apply([device_profile(profile), loose(namespace)])
    operator.start()
    look = one_job(server, namespace, RESOLVE_LABEL)
    wait_condition(server, namespace, "parts", "SourceResolved", "Resolving")
    assert server.items("jobs", namespace, BUILD_KEY_LABEL) == []

    # Killed before the look ends: the answer is read from the pod by whoever comes next.
    operator.end(signal.SIGKILL)
    finish_look(server, look, source=A)
    operator.start()
    wait_for("the digest is recorded", lambda: recorded(server, namespace) == [("source", URI, A)])
    first = await build(server, namespace, operator)
    assert (digest(first), BUILD_REASON_ANNOTATION in first["metadata"]["annotations"]) == (A, False)
    wait_condition(server, namespace, "parts", "Ready", "Succeeded", seconds=60)
    wait_condition(server, namespace, "parts", "SourceResolved", "Succeeded")
    wait_for("the look's Job is gone", lambda: not server.items("jobs", namespace, RESOLVE_LABEL))

    server.patch("edgemodels", "parts", {"metadata": {"annotations": {RETRY_ANNOTATION: "look"}}}, namespace)
    finish_look(server, one_job(server, namespace, RESOLVE_LABEL), source=B)
    second = await build(server, namespace, operator, first["metadata"]["name"])
    assert digest(second) == B
    reason = json.loads(second["metadata"]["annotations"][BUILD_REASON_ANNOTATION])
    assert reason == [{"field": "source content", "old": A, "new": B}]
    wait_for("the new build serves", lambda: variant(server, namespace).get("buildKey") == key(second))
    wait_condition(server, namespace, "parts", "Ready", "Succeeded", seconds=60)
    assert key(first) != key(second)
    (made,) = variant(server, namespace)["made"]
    image = str(variant(server, namespace)["image"])
    assert (made["buildKey"], made["digest"]) == (key(second), image.partition("@")[2]), "what its Job said"
    assert recorded(server, namespace) == [("source", URI, B)]


async def test_a_model_that_a_device_cannot_hold_is_refused_by_what_the_look_found_and_the_others_go_on(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator
) -> None:
    large, small = f"{namespace}-large", f"{namespace}-small"
    kubelets.add(f"{namespace}-1", large)
    tiny = device_profile(small)
    tiny["spec"]["hardware"] = {"memory": "1Gi"}
    server.apply([device_profile(large), tiny, loose(namespace, deviceProfiles={"names": [large, small]})])
    operator.start()
    finish_look(server, one_job(server, namespace, RESOLVE_LABEL), 2**31, source=A)
    stalled = wait_condition(server, namespace, "parts", "Stalled", "ModelTooLarge")
    assert f"the file of spec.source has {2**31} bytes (status.sources); at most 1Gi" in stalled["message"]
    made = await build(server, namespace, operator)
    assert made["metadata"]["labels"][PROFILE_LABEL] == large
    wait_for(
        "the other profile serves",
        lambda: {one["profile"]: one["nodes"].get("ready") for one in variants(server, namespace)}.get(large) == 1,
    )
    assert [key(job) for job in server.items("jobs", namespace, BUILD_KEY_LABEL)] == [key(made)]


def key(job: Object) -> str:
    return str(job["metadata"]["labels"][BUILD_KEY_LABEL])


def variants(server: ApiServer, namespace: str) -> list[Object]:
    found: list[Object] = ((server.get("edgemodels", "parts", namespace) or {}).get("status") or {})["variants"]
    return found


def variant(server: ApiServer, namespace: str) -> Object:
    return variants(server, namespace)[0]


def test_a_look_that_failed_says_so_in_the_builders_words(
    server: ApiServer, namespace: str, operator: Operator
) -> None:
    server.apply([device_profile(f"{namespace}-device"), loose(namespace)])
    operator.start()
    failure = {"reason": "SourceNotFound", "retry": False, "message": "spec.source.uri: nothing is there."}
    fail_build(server, one_job(server, namespace, RESOLVE_LABEL), json.dumps(failure))
    stalled = wait_condition(server, namespace, "parts", "Stalled", "SourceNotFound")
    assert stalled["message"] == "spec.source.uri: nothing is there."
    operator.wait_idle()
    assert server.items("jobs", namespace, BUILD_KEY_LABEL) == []
