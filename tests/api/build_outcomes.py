"""The part of the Job controller, the kubelet and the builder: how builds end."""

from __future__ import annotations

import time
from typing import Any

from apiserver import ApiServer, Object

from edgesmith_builder.contract import KEY_ANNOTATION, REPORT_ANNOTATION, BuildReport
from edgesmith_builder.oci import BytesBlob, Manifest, Registry, Repository


def fail_job(server: ApiServer, job: Object, words: str | None) -> None:
    """Play the Job controller and the kubelet: one pod, ended with these last words."""
    namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
    labels = {**job["metadata"]["labels"], "batch.kubernetes.io/job-name": name}
    spec = {"nodeName": "somewhere", "restartPolicy": "Never", "containers": [{"name": "builder", "image": "none"}]}
    metadata = {"name": f"{name}-x", "namespace": namespace, "labels": labels}
    server.create("pods", {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    ended: Object = {"exitCode": 1, "reason": "Error"} | ({"message": words} if words else {})
    container = {"name": "builder", "ready": False, "restartCount": 0, "image": "none", "imageID": "none"}
    status = {"phase": "Failed", "containerStatuses": [container | {"state": {"terminated": ended}}]}
    server.patch("pods", metadata["name"], {"status": status}, namespace, "status")
    end_job(server, job, "Failed")


def finish_job(server: ApiServer, job: Object) -> None:
    """Play the Job controller: the build is done."""
    end_job(server, job, "Complete")


def end_job(server: ApiServer, job: Object, kind: str) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    before = {"Failed": "FailureTarget", "Complete": "SuccessCriteriaMet"}[kind]
    conditions = [
        {"type": one, "status": "True", "reason": "Test", "lastTransitionTime": now} for one in (before, kind)
    ]
    status: dict[str, Any] = {"conditions": conditions, "startTime": now}
    status |= {"completionTime": now, "succeeded": 1} if kind == "Complete" else {"failed": 1}
    server.patch("jobs", job["metadata"]["name"], {"status": status}, job["metadata"]["namespace"], "status")


async def push_build(address: str, namespace: str, name: str, key: str) -> None:
    """Push what a builder would, with a layer of three bytes."""
    repository = Repository.parse(f"{address}/models/{namespace}/{name}")
    report = BuildReport(precision="int8", accuracy=0.99, accuracy_drop=0.001, size=3, candidates=())
    config = BytesBlob(b"{}", "application/vnd.oci.image.config.v1+json")
    layer = BytesBlob(b"abc", "application/vnd.oci.image.layer.v1.tar")
    async with Registry(plain_http=True) as client:
        for blob in (config, layer):
            await client.push_blob(repository, blob)
        manifest = Manifest(
            config=config.descriptor,
            layers=(layer.descriptor,),
            annotations={KEY_ANNOTATION: key, REPORT_ANNOTATION: report.to_json()},
        )
        await client.push_manifest(repository.tagged(key), manifest.to_bytes())
