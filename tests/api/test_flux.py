"""A real kustomize-controller waits for EdgeModels as its users have it wait: `wait: true`, no health check of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from apiserver import ApiServer, Object, wait_for
from build_outcomes import fail_build, finish_build, push_build
from flux_process import flux
from kubelets import Kubelets
from operator_process import Operator, device_profile, edge_model, wait_condition
from rollouts import labels

from edgesmith.api.names import BUILD_KEY_LABEL

FIRST, SECOND, BAD, EMPTY = (f"main@sha1:{number}" for number in (1, 2, 3, 4))


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_kustomization_is_ready_when_a_revision_serves_and_fails_with_it(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator, tmp_path: Path
) -> None:
    nodes = {f"{namespace}-1", f"{namespace}-2"}
    for node in nodes:
        kubelets.add(node, f"{namespace}-device")
    server.apply(device_profile(f"{namespace}-device"))
    operator.start()

    async def build() -> None:
        job = _job(server, namespace)
        key = job["metadata"]["labels"][BUILD_KEY_LABEL]
        finish_build(server, job, await push_build(operator.registry, namespace, key))

    with flux(server, namespace, tmp_path) as source:
        source.publish(FIRST, _model(namespace, 1))
        source.wait(FIRST, "Unknown", "Progressing")
        wait_condition(server, namespace, "parts", "Reconciling", "Building")
        assert source.ready(FIRST)["status"] == "Unknown", "it is built"
        await build()
        source.wait(FIRST, "True", "ReconciliationSucceeded")
        first = labels(server, namespace)
        assert set(first) == nodes

        source.publish(SECOND, _model(namespace, 2, rollout={"steps": [{"nodes": 1, "bake": "1h"}]}))
        source.wait(SECOND, "Unknown", "Progressing")
        await build()
        wait_for("a canary", lambda: len(set(labels(server, namespace).values())) == 2)
        assert source.ready(SECOND)["status"] == "Unknown", "it is rolled out"
        (second,) = set(labels(server, namespace).values()) - set(first.values())
        promoted = {"spec": {"rollout": {"promote": [{"revision": second}]}}}
        server.patch("edgemodels", "parts", promoted, namespace)
        source.wait(SECOND, "True", "ReconciliationSucceeded")
        assert not set(labels(server, namespace).values()) & set(first.values())

        source.publish(BAD, _model(namespace, 3))
        why = {"reason": "SourceNotFound", "message": "spec.source.uri: nothing is there.", "retry": False}
        fail_build(server, _job(server, namespace), json.dumps(why))
        failed = source.wait(BAD, "False", "HealthCheckFailed")
        assert f"EdgeModel/{namespace}/parts status: 'Failed'" in failed["message"]
        assert source.status()["lastAppliedRevision"] == SECOND

        source.publish(EMPTY)
        wait_for("what git no longer has is gone", lambda: server.get("edgemodels", "parts", namespace) is None, 60)


def _model(namespace: str, version: int, **spec: Any) -> Object:
    source = {"uri": f"s3://models/parts/{version}/model.onnx", "sha256": f"{version}" * 64}
    return edge_model("parts", namespace, source=source, **spec)


def _job(server: ApiServer, namespace: str) -> Object:
    """The build Job that has not ended, once there is one."""

    def running() -> Object | None:
        return next((job for job in server.items("jobs", namespace) if not _over(job)), None)

    return wait_for("a build Job", running)


def _over(job: Object) -> bool:
    return any(one["type"] in {"Complete", "Failed"} for one in job.get("status", {}).get("conditions") or [])
