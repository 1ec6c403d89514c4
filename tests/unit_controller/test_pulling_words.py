"""What is said where a kubelet cannot pull an image: of every text of containerd's, the image once and the cause."""

from __future__ import annotations

import pytest
from snapshots import NOW

from edgesmith.cluster.parse import pod
from edgesmith.cluster.parse_build import build_pod
from edgesmith.cluster.pulling import pull_cause
from edgesmith.decide.fleet import ServerState
from edgesmith.decide.record import new_record
from edgesmith.decide.server import server_of

DIGEST, OTHER = "0123456789ab" + "c" * 52, "ba9876543210" + "d" * 52
IMAGE = f"registry.plant.example:5000/plant/models@sha256:{DIGEST}"
SHORT = "registry.plant.example:5000/plant/models@sha256:0123456789ab…"
BLOB = f"https://registry.plant.example:5000/v2/plant/models/blobs/sha256:{OTHER}"
MANIFEST = f"https://registry.plant.example:5000/v2/plant/models/manifests/sha256:{DIGEST}"
UNPACK = f'failed to pull and unpack image "{IMAGE}": '
RESOLVE = f'{UNPACK}failed to resolve reference "{IMAGE}": '
STORE = "/var/lib/rancher/k3s/agent/containerd"

CAUSES: dict[str, tuple[str, str, str]] = {
    "a layer that is not what it is called": (
        "FailedPrecondition",
        (
            f'{UNPACK}failed commit on ref "layer-sha256:{OTHER}": unexpected commit digest sha256:{DIGEST}, expected '
            f"sha256:{OTHER}: failed precondition"
        ),
        "unexpected commit digest sha256:0123456789ab…, expected sha256:ba9876543210…",
    ),
    "a disk that is full while it pulls": (
        "Unknown",
        (
            f"{UNPACK}failed to copy: failed to send write: write {STORE}/io.containerd.content.v1.content/ingest/"
            f"{DIGEST}/data: no space left on device: unknown"
        ),
        "no space left on device",
    ),
    "a disk that is full while it unpacks": (
        "Unknown",
        (
            f"{UNPACK}failed to extract layer sha256:{OTHER}: mount callback failed on {STORE}/mount1: "
            f"write {STORE}/io.containerd.snapshotter.v1.overlayfs/snapshots/91/fs/opt/model.onnx: "
            "no space left on device: unknown"
        ),
        "no space left on device",
    ),
    "an image that is not there": ("NotFound", f"{RESOLVE}{IMAGE}: not found", "not found"),
    "an image without this architecture": (
        "NotFound",
        f"{UNPACK}no match for platform in manifest: not found",
        "no match for platform in manifest: not found",
    ),
    "a layer that is not there": (
        "NotFound",
        (
            f"{UNPACK}failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:{OTHER} "
            "(application/vnd.oci.image.layer.v1.tar+gzip) from remote: not found"
        ),
        "from remote: not found",
    ),
    "a registry that is down": (
        "Unavailable",
        f'{RESOLVE}failed to do request: Head "{MANIFEST}": dial tcp 192.0.2.7:5000: connect: connection refused',
        "dial tcp 192.0.2.7:5000: connect: connection refused",
    ),
    "a registry without a name": (
        "Unknown",
        (
            f'{RESOLVE}failed to do request: Head "{MANIFEST}": dial tcp: lookup registry.plant.example on '
            "10.43.0.10:53: no such host"
        ),
        "no such host",
    ),
    "a link that is down": (
        "DeadlineExceeded",
        f'{RESOLVE}failed to do request: Head "{MANIFEST}": dial tcp 192.0.2.7:5000: i/o timeout',
        "dial tcp 192.0.2.7:5000: i/o timeout",
    ),
    "a registry that wants a password": (
        "Unknown",
        f"{RESOLVE}unexpected status from HEAD request to {MANIFEST}: 401 Unauthorized",
        "401 Unauthorized",
    ),
    "the same, of containerd 2": (
        "Unknown",
        (
            f"{RESOLVE}pulling from host registry.plant.example:5000 failed with status code "
            f"[manifests sha256:{DIGEST}]: 401 Unauthorized"
        ),
        "401 Unauthorized",
    ),
    "a token that is not given": (
        "Unknown",
        (
            f"{RESOLVE}failed to authorize: failed to fetch anonymous token: unexpected status from GET request to "
            "https://auth.plant.example/token?scope=repository%3Aplant%2Fmodels%3Apull&service=registry.plant.example: "
            "403 Forbidden"
        ),
        "403 Forbidden",
    ),
    "a repository that is not for everybody": (
        "Unknown",
        (
            f"{RESOLVE}pull access denied, repository does not exist or may require authorization: server message: "
            "insufficient_scope: authorization failed"
        ),
        "insufficient_scope: authorization failed",
    ),
    "a certificate of nobody's": (
        "Unknown",
        (
            f'{RESOLVE}failed to do request: Head "{MANIFEST}": tls: failed to verify certificate: x509: certificate '
            "signed by unknown authority"
        ),
        "x509: certificate signed by unknown authority",
    ),
    "a registry without TLS": (
        "Unknown",
        f'{RESOLVE}failed to do request: Head "{MANIFEST}": http: server gave HTTP response to HTTPS client',
        "http: server gave HTTP response to HTTPS client",
    ),
    "a blob that the registry refuses": (
        "Unknown",
        (
            f"{UNPACK}failed to copy: httpReadSeeker: failed open: unexpected status code {BLOB}: 500 Internal "
            "Server Error - Server message: unknown: unknown error"
        ),
        "unknown error",
    ),
}

KUBELETS = {
    "at the first try": "rpc error: code = {code} desc = {said}",
    "later, by a newer kubelet": (
        'Back-off pulling image "{image}": ErrImagePull: rpc error: code = {code} desc = {said}'
    ),
    "as another word for it": 'failed to pull image "{image}": {said}',
}


@pytest.mark.parametrize("kubelet", KUBELETS)
@pytest.mark.parametrize("case", CAUSES)
def test_the_image_is_named_once_and_the_last_cause_is_there(case: str, kubelet: str) -> None:
    code, said, cause = CAUSES[case]
    found = pull_cause(KUBELETS[kubelet].format(code=code, said=said, image=IMAGE))
    assert found.startswith(f"{SHORT}: "), found
    assert found.endswith(cause), found
    assert found.count("plant/models@") == 1
    assert "rpc error" not in found
    assert len(found) <= 212, found


def test_what_says_no_cause_and_what_names_no_image() -> None:
    assert pull_cause(f'Back-off pulling image "{IMAGE}"') == f'Back-off pulling image "{SHORT}"'
    assert pull_cause('Back-off pulling image "r/m:1"') == 'Back-off pulling image "r/m:1"'
    assert pull_cause("no route to registry:5000") == "no route to registry:5000"
    assert pull_cause("") == ""
    name = 'Failed to apply default image tag "r/m@@1": couldn\'t parse image name "r/m@@1": invalid reference format'
    assert pull_cause(name) == name
    assert pull_cause(f'failed to pull image "{IMAGE}": one\n\ttwo') == f"{SHORT}: one two"


def test_long_names_and_long_causes_keep_both_ends() -> None:
    long = f"registry.example/{'a' * 200}/models:v1"
    found = pull_cause(f'failed to pull image "{long}": write /{"b" * 300}/model.onnx no space left on device')
    image, _, cause = found.partition(": ")
    assert image.startswith("registry.example/aaa")
    assert image.endswith("aaa/models:v1")
    assert len(image) <= 90
    assert cause.startswith("write /bbb")
    assert cause.endswith("no space left on device")
    assert len(cause) <= 120


def raw(kubelet: str, case: str) -> dict[str, object]:
    code, said, _ = CAUSES[case]
    message = KUBELETS[kubelet].format(code=code, said=said, image=IMAGE)
    waiting = {"waiting": {"reason": "ErrImagePull", "message": message}}
    return {"name": "selftest", "state": waiting, "restartCount": 0, "imageID": ""}


@pytest.mark.parametrize("case", CAUSES)
def test_a_failure_at_the_deadline_keeps_the_cause_in_its_record(case: str) -> None:
    found = pod(
        {
            "metadata": {"name": "p", "labels": {"edgesmith.dev/revision": "r"}},
            "spec": {"nodeName": "n"},
            "status": {"initContainerStatuses": [raw("later, by a newer kubelet", case)]},
        }
    )
    server = server_of("r", [found], staging=False)
    assert server.note.startswith(f"cannot pull the image: ErrImagePull: {SHORT}: ")
    words = server.note.partition(": ")[2]
    note = f"could not pull the image within spec.rollout.progressDeadline: {words}"
    kept = new_record("r", ServerState.STARTING, NOW).failed(note, "").failures["r"].note
    assert kept == note
    assert kept.endswith(CAUSES[case][2])


def test_so_does_a_build_that_cannot_pull_its_builder() -> None:
    status = raw("at the first try", "a certificate of nobody's") | {"name": "builder"}
    found = build_pod({"metadata": {"name": "b"}, "status": {"phase": "Pending", "containerStatuses": [status]}})
    assert found.problem == f"{SHORT}: tls: failed to verify certificate: x509: certificate signed by unknown authority"
