"""The part of the builder and its kubelet: how the pods of its Jobs end. The Jobs follow by the real controller."""

from __future__ import annotations

from apiserver import ApiServer, Object, wait_for
from kubelets import container_status

from edgesmith_builder.contract import (
    KEY_ANNOTATION,
    REPORT_ANNOTATION,
    BuildReport,
    BuildResult,
    Candidate,
    Finalist,
    ResolvedFile,
    ResolveResult,
)
from edgesmith_builder.oci import BytesBlob, Manifest, Registry, Repository


def fail_build(server: ApiServer, job: Object, words: str | None, code: int = 1) -> None:
    """End a build's pod with these last words and this exit code, and wait until the Job has failed."""
    _end_pod(server, job, "Failed", {"exitCode": code, "reason": "Error"} | ({"message": words} if words else {}))
    _wait_ended(server, job, "Failed")


def finish_build(server: ApiServer, job: Object, image: str) -> None:
    """End a build's pod well, with the image by digest that it pushed, and wait until the Job is complete."""
    message = BuildResult(image=image, made=True).to_json()
    _end_pod(server, job, "Succeeded", {"exitCode": 0, "reason": "Completed", "message": message})
    _wait_ended(server, job, "Complete")


def finish_look(server: ApiServer, job: Object, size: int | None = None, **digests: str) -> None:
    """End a resolve Job's pod well, with the digest that it found of each field. The Job goes once that is recorded.

    Args:
        server: The API server.
        job: The resolve Job.
        size: Bytes that each file has; None: nobody says.
        digests: By field.
    """
    files = tuple(
        ResolvedFile(field=field, sha256=found, bytes=size, validator=f"v{found[0]}")
        for field, found in digests.items()
    )
    message = ResolveResult(files=files).to_json()
    _end_pod(server, job, "Succeeded", {"exitCode": 0, "reason": "Completed", "message": message})


def _end_pod(server: ApiServer, job: Object, phase: str, ended: Object) -> None:
    namespace, chosen = job["metadata"]["namespace"], f"batch.kubernetes.io/job-name={job['metadata']['name']}"
    pod = wait_for("the Job's pod", lambda: next(iter(server.items("pods", namespace, chosen)), None))
    status = {"phase": phase, "containerStatuses": [container_status("builder", state={"terminated": ended})]}
    server.patch("pods", pod["metadata"]["name"], {"status": status}, namespace, "status")


def _wait_ended(server: ApiServer, job: Object, kind: str) -> None:
    namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]

    def ended() -> bool:
        found = server.get("jobs", name, namespace) or {}
        return kind in {one["type"] for one in (found.get("status") or {}).get("conditions") or []}

    wait_for(f"Job {name} is {kind}", ended)


async def push_build(address: str, namespace: str, key: str) -> str:
    """Push what a builder would, with a layer of three bytes and no base; the image by digest."""
    repository = Repository.parse(f"{address}/models/{namespace}/models")
    measured = {"accuracy": 0.99, "accuracy_drop": 0.001}
    report = BuildReport(
        precision="int8",
        size=3,
        candidates=(Candidate(precision="int8", image_size=5000, **measured),),
        finalists=(Finalist(precision="int8", size=3),),
        **measured,
    )
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
        digest = await client.push_manifest(repository.tagged(key), manifest.to_bytes())
    return str(repository.pinned(digest))
