"""The pods of a model whose nodes send samples home: a container that sends, and a server without keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from expansion import expanded
from made import IMAGE, applied
from snapshots import SETTINGS, model, profile

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.units import parse_bytes
from edgesmith.cluster.parse import pod as parse_pod
from edgesmith.decide.builds import build_for
from edgesmith.decide.plan import ApplyRevision
from edgesmith.decide.serving import revision_of, serving
from edgesmith.decide.settings import Settings
from edgesmith.resources import daemon_set, uplink
from edgesmith.resources.daemon_set import pod_spec
from edgesmith.resources.staging import staging_daemon_set
from edgesmith_runtime.cli import build_parser
from edgesmith_runtime.feedback.arguments import Feedback, Privacy, feedback_of
from edgesmith_runtime.sampling.arguments import NODE, SPOOL
from edgesmith_runtime.sampling.redaction import Redaction
from edgesmith_runtime.spool.spool import LARGEST
from edgesmith_runtime.uplink.arguments import settings_of

BUCKET = {"uri": "s3://samples/edge/eu", "secretRef": {"name": "sample-store"}}
SAMPLES: dict[str, Any] = {"privacy": "Samples", "bucket": BUCKET}
RULES = [{"tensor": "image", "action": "Mask", "top": 1, "height": 2, "width": 3}, {"tensor": "y", "action": "Drop"}]


def told(feedback: dict[str, Any], settings: Any = SETTINGS) -> tuple[dict[str, Any], Feedback]:
    """The pod, and what its server makes of its command line."""
    pod = pod_spec(serving(model(feedback=feedback), profile(), IMAGE, settings), "0" * 10)
    return pod, feedback_of(build_parser().parse_args(pod["containers"][0]["args"]))


def revision(of: EdgeModel, settings: Settings) -> ApplyRevision:
    known = revision_of(profile(), IMAGE, of, settings)
    return ApplyRevision(profile(), known, IMAGE, build_for(of, profile(), settings))


def sending(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in pod["initContainers"] if one["name"] == uplink.UPLINK)
    return found


def test_a_server_is_told_which_samples_and_the_other_container_where_they_go() -> None:
    sample = {
        "bytesPerDay": "5M",
        "diskBytes": "1Gi",
        "randomShare": "25%",
        "bytesPerSecond": "64Ki",
        "redact": {"rules": RULES, "command": ["/opt/redact", "--all", "x y"]},
    }
    pod, feedback = told({**SAMPLES, "sample": sample})
    sampling = feedback.sampling
    assert feedback.privacy is Privacy.SAMPLES
    assert (sampling.spool, sampling.day_bytes, sampling.disk_bytes) == (SPOOL, 5 * 10**6, 2**30)
    assert sampling.random_share == 0.25
    assert [rule.action for rule in sampling.redaction._rules] == ["Mask", "Drop"]
    assert sampling.redaction._command == ("/opt/redact", "--all", "x y")
    container = sending(pod)
    settings = settings_of(build_parser().parse_args(container["args"]))
    assert (settings.place, settings.owner, settings.rate) == (("samples", "edge/eu"), "plant/parts", 65536)
    assert (settings.spool, settings.drain_seconds) == (SPOOL, uplink.DRAIN_SECONDS)
    assert container["restartPolicy"] == "Always"  # the kubelet ends it after the server
    assert container["image"] == IMAGE
    assert {one["name"] for one in (*container["env"], *pod["containers"][0]["env"])} == {NODE, "EDGESMITH_NOTES"}


@pytest.mark.parametrize("text", ["$$(HOME)", "$(HOME)", "a$$b", "$"])
def test_what_takes_something_out_is_told_as_it_was_said(text: str) -> None:
    redact = {"rules": [{"tensor": text, "action": "Drop"}], "command": ["/opt/redact", text]}
    settings = replace(SETTINGS, bucket_endpoint=f"https://minio/{text}")
    pod, _ = told({**SAMPLES, "sample": {"redact": redact}}, settings)
    feedback = feedback_of(build_parser().parse_args([expanded(one) for one in pod["containers"][0]["args"]]))
    assert feedback.sampling.redaction._command == ("/opt/redact", text)
    assert [rule.tensor for rule in feedback.sampling.redaction._rules] == [text]
    arguments = [expanded(one) for one in sending(pod)["args"]]
    assert arguments[arguments.index("--endpoint") + 1] == f"https://minio/{text}"


def test_what_is_said_by_default_is_what_the_server_does_by_itself() -> None:
    _, feedback = told(SAMPLES)
    usual = Feedback(Privacy.SAMPLES).sampling
    found = feedback.sampling
    assert (found.day_bytes, found.disk_bytes, found.random_share) == (
        usual.day_bytes, usual.disk_bytes, usual.random_share,
    )  # fmt: skip
    assert not found.redaction
    assert not Redaction()


def test_keys_are_mounted_where_samples_are_sent_and_nowhere_else() -> None:
    pod, _ = told(SAMPLES)
    (volume,) = [one for one in pod["volumes"] if "secret" in one]
    assert volume["secret"] == {"secretName": "sample-store", "optional": True, "defaultMode": 0o440}
    having = [
        one["name"]
        for one in (*pod["initContainers"], *pod["containers"])
        if volume["name"] in {mount["name"] for mount in one["volumeMounts"]}
    ]
    assert having == [uplink.UPLINK]
    assert "valueFrom" not in str([one.get("env") for one in pod["initContainers"] if one["name"] == "selftest"])
    assert pod["automountServiceAccountToken"] is False


def test_the_volume_has_room_for_all_that_may_wait_or_its_pod_would_be_evicted() -> None:
    pod, feedback = told({**SAMPLES, "sample": {"diskBytes": "100Mi"}})
    (volume,) = [one for one in pod["volumes"] if one["name"] == "spool"]
    assert int(volume["emptyDir"]["sizeLimit"]) >= feedback.sampling.disk_bytes + 2 * LARGEST
    mounts = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "spool"]
    assert mounts == [{"name": "spool", "mountPath": str(SPOOL)}]


def test_the_pod_has_time_for_what_waits_and_the_container_runs_restricted_and_within_limits() -> None:
    with_samples, without = (told(feedback)[0] for feedback in (SAMPLES, {}))
    grace = "terminationGracePeriodSeconds"
    assert with_samples[grace] == without[grace] + uplink.DRAIN_SECONDS
    container = sending(with_samples)
    assert container["securityContext"] == with_samples["containers"][0]["securityContext"]
    assert parse_bytes(container["resources"]["limits"]["memory"]) == 96 * 2**20


def test_the_default_endpoint_and_authorities_of_buckets_are_its_own_too() -> None:
    settings = replace(SETTINGS, bucket_endpoint="https://minio:9000", bucket_ca="-----BEGIN")
    of = model(feedback=SAMPLES)
    template = daemon_set(of, revision(of, settings), settings)["spec"]["template"]
    found = settings_of(build_parser().parse_args(sending(template["spec"])["args"]))
    assert (found.endpoint, found.authority) == ("https://minio:9000", Path("/etc/edgesmith/bucket-ca.pem"))
    (trust,) = [one["downwardAPI"]["items"] for one in template["spec"]["volumes"] if "downwardAPI" in one]
    path = trust[0]["fieldRef"]["fieldPath"].split("'")[1]
    assert template["metadata"]["annotations"][path] == "-----BEGIN"


@pytest.mark.parametrize(
    "feedback",
    [{}, {"privacy": "None", "bucket": BUCKET}, {"privacy": "Statistics", "bucket": BUCKET}, {"privacy": "Samples"}],
)
def test_nothing_is_sent_without_the_word(feedback: dict[str, Any]) -> None:
    made = applied(feedback=feedback)["spec"]["template"]
    assert [one["name"] for one in made["spec"]["initContainers"]] == ["selftest"]
    assert [one["name"] for one in made["spec"]["volumes"]] == ["scratch"]
    assert "edgesmith.dev/uplink" not in made["metadata"]["labels"]
    assert "sample-store" not in str(made)


def test_a_pod_that_sends_is_labelled_for_the_network() -> None:
    assert applied(feedback=SAMPLES)["spec"]["template"]["metadata"]["labels"]["edgesmith.dev/uplink"] == "bucket"
    assert "edgesmith.dev/uplink" not in applied(feedback=SAMPLES)["spec"]["selector"]["matchLabels"]


def test_triton_sends_nothing() -> None:
    triton = profile(toolchain={"name": "TensorRT"}, runtime={"server": "Triton"})
    assert serving(model(feedback=SAMPLES), triton, IMAGE, SETTINGS).sampling is None


def test_a_pod_that_stages_sends_nothing() -> None:
    of = model(feedback=SAMPLES)
    made = staging_daemon_set(of, replace(revision(of, SETTINGS), staging="Test"), SETTINGS)
    staged = made["spec"]["template"]["spec"]
    assert [one["name"] for one in staged["initContainers"]] == ["selftest"]
    assert "sample-store" not in str(staged)


@pytest.mark.parametrize("change", [{"bytesPerDay": "1M"}, {"redact": {"rules": RULES}}, {"bytesPerSecond": 1}])
def test_what_is_said_of_samples_makes_a_new_revision(change: dict[str, Any]) -> None:
    def of(feedback: dict[str, Any]) -> str:
        return revision_of(profile(), IMAGE, model(feedback=feedback), SETTINGS)

    assert len({of({}), of(SAMPLES), of({**SAMPLES, "sample": change})}) == 3
    assert of({"sample": change}) == of({})  # nothing is sent, so nothing changes


def test_whether_samples_are_sent_says_nothing_of_a_revision() -> None:
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    raw = {
        "metadata": {"name": "p"},
        "spec": {"nodeName": "n"},
        "status": {
            "initContainerStatuses": [
                {"name": "selftest", "state": {"terminated": {}}},
                {"name": "uplink", "state": waiting, "restartCount": 9},
            ],
            "containerStatuses": [{"name": "server", "state": {"running": {}}, "ready": False}],
        },
    }
    found = parse_pod(raw)
    assert (found.restarts, found.waiting) == (0, None)
    raw["status"]["initContainerStatuses"][1]["state"] = {"running": {}}  # type: ignore[index]
    assert parse_pod(raw).stage == "the readiness probe does not pass"


def test_the_schema_reads_back_as_it_was_said() -> None:
    of: EdgeModel = model(feedback=SAMPLES)
    assert of.spec.feedback.bucket is not None
    assert of.spec.feedback.bucket.secret_ref.name == "sample-store"
