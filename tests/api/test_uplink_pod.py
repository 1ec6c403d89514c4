"""A pod that sends samples is taken by a real API server in a namespace under the Pod Security Standard restricted."""

from __future__ import annotations

from apiserver import ApiServer
from made import IMAGE, applied

SAMPLES = {"privacy": "Samples", "bucket": {"uri": "s3://samples/edge", "secretRef": {"name": "sample-store"}}}


def test_the_pod_that_sends_samples_is_a_restricted_one(server: ApiServer, namespace: str) -> None:
    server.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    made = applied(feedback=SAMPLES)
    made["metadata"] = {"name": "parts", "namespace": namespace}
    server.kubectl("apply", "--server-side", document=made)
    template = made["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", "namespace": namespace, "labels": template["metadata"]["labels"]},
        "spec": template["spec"],
    }
    server.kubectl("apply", "--server-side", document=pod)
    found = (server.get("pods", "one", namespace) or {})["spec"]
    uplink = found["initContainers"][1]
    assert (uplink["name"], uplink["restartPolicy"], uplink["image"]) == ("uplink", "Always", IMAGE)
    pod["metadata"]["name"] = "two"
    del pod["spec"]["initContainers"][1]["securityContext"]
    refusal = server.kubectl("apply", "--server-side", document=pod, fails=True)
    assert "restricted" in refusal
