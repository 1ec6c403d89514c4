"""The Job that builds: what its pod runs, is given and trusts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from made import IMAGE, SECRET, compiling, started
from snapshots import NOW, SETTINGS, model, profile

from edgesmith.api.names import REQUEST_ANNOTATION
from edgesmith.decide.builds import build_for
from edgesmith.decide.plan import Change, StartBuild
from edgesmith.decide.serving import serving
from edgesmith.resources import build_job, repository
from edgesmith.resources.builder_job import WORK_LIMIT
from edgesmith.resources.daemon_set import pod_spec
from edgesmith_builder.contract import BuildRequest
from edgesmith_builder.source.oci import CONFIG_VARIABLE


def test_a_job_carries_its_request_and_its_reason() -> None:
    made = started(SETTINGS, Change("source.sha256", "b", "a"))
    request = BuildRequest.model_validate_json(made["spec"]["template"]["metadata"]["annotations"][REQUEST_ANNOTATION])
    assert request.repository == repository(model(), SETTINGS) == "registry:5000/models/plant/models"
    assert request.build.key == made["metadata"]["labels"]["edgesmith.dev/build-key"]
    annotations = made["metadata"]["annotations"]
    assert json.loads(annotations["edgesmith.dev/build-reason"]) == [{"field": "source.sha256", "old": "b", "new": "a"}]
    assert (annotations["edgesmith.dev/attempt"], annotations["edgesmith.dev/tries"]) == ("again", "2")


@pytest.mark.parametrize("names", [(), ("registry_ca",), ("bucket_ca",), ("registry_ca", "bucket_ca")])
def test_a_job_carries_the_authorities_that_its_builder_is_to_trust(names: tuple[str, ...]) -> None:
    template = started(replace(SETTINGS, **{name: f"PEM of {name}" for name in names}))["spec"]["template"]  # type: ignore[arg-type]
    (volume,) = [volume for volume in template["spec"]["volumes"] if volume["name"] == "request"]
    paths = {item["fieldRef"]["fieldPath"]: item["path"] for item in volume["downwardAPI"]["items"]}
    files = {
        paths[f"metadata.annotations['{name}']"]: text for name, text in template["metadata"]["annotations"].items()
    }
    arguments = template["spec"]["containers"][0]["args"]
    for name in ("registry_ca", "bucket_ca"):
        flag = "--" + name.replace("_", "-")
        assert (flag in arguments) is (name in names)
        if name in names:
            assert files[arguments[arguments.index(flag) + 1].removeprefix("/etc/edgesmith/")] == f"PEM of {name}"


@pytest.mark.parametrize("precisions", [["fp32"], ["int8", "int8-mixed", "fp32"]])
def test_all_candidates_of_a_job_may_hang_and_it_still_has_the_time_to_say_so(precisions: list[str]) -> None:
    board = profile(toolchain={"name": "ONNXRuntime", "precisions": precisions})
    build = build_for(model(), board, SETTINGS)
    pod = build_job(model(), StartBuild(board, build, "", (), NOW, 1), SETTINGS)["spec"]["template"]["spec"]
    words = pod["containers"][0]["args"]
    seconds = int(words[words.index("--candidate-seconds") + 1])
    assert seconds * (len(precisions) + 1) <= pod["activeDeadlineSeconds"] < (seconds + 1) * (len(precisions) + 1)


def test_a_job_runs_as_the_service_account_that_may_read_the_bucket() -> None:
    assert "serviceAccountName" not in started(SETTINGS)["spec"]["template"]["spec"]
    pod = started(replace(SETTINGS, builder_service_account="builders"))["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("builders", False)


def test_only_build_jobs_get_the_secret_to_push_with_and_only_as_a_file() -> None:
    build = started(SECRET)["spec"]["template"]["spec"]
    server = pod_spec(serving(model(), profile(), IMAGE, SECRET), "0" * 10)
    assert build["imagePullSecrets"] == server["imagePullSecrets"] == [{"name": "pull"}]
    (volume,) = [volume for volume in build["volumes"] if volume["name"] == "registry"]
    assert volume["secret"]["secretName"] == "push"
    assert "--registry-credentials" in build["containers"][0]["args"]
    assert "push" not in json.dumps(server)


def test_only_build_jobs_get_the_key_to_sign_with_and_its_password_from_one_secret() -> None:
    settings = replace(SETTINGS, signing_secret="signing")  # noqa: S106 -- the name of a Secret
    build = started(settings)["spec"]["template"]["spec"]
    (container,) = build["containers"]
    (volume,) = [volume for volume in build["volumes"] if volume["name"] == "signing"]
    assert volume["secret"]["secretName"] == "signing"
    assert [item["key"] for item in volume["secret"]["items"]] == ["cosign.key"]
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "signing"]
    assert mount["readOnly"]
    words = container["args"]
    assert words[words.index("--signing-key") + 1] == f"{mount['mountPath']}/cosign.key"
    (password,) = [one for one in container["env"] if one["name"] == "COSIGN_PASSWORD"]
    assert password["valueFrom"] == {"secretKeyRef": {"name": "signing", "key": "cosign.password", "optional": True}}
    assert "signing" not in json.dumps(started(SETTINGS))
    assert "signing" not in json.dumps(pod_spec(serving(model(), profile(), IMAGE, settings), "0" * 10))


def test_a_job_knows_the_image_that_it_runs_in() -> None:
    words = started(SETTINGS)["spec"]["template"]["spec"]["containers"][0]["args"]
    assert words[words.index("--builder-image") + 1] == SETTINGS.builder_image


def test_a_toolchain_with_a_vendors_packages_is_built_by_a_builder_that_has_them_on_the_machine_they_are_for() -> None:
    vendors = f"registry:5000/edgesmith/builder-qnn@sha256:{'3' * 64}"
    settings = replace(SETTINGS, builder_images={"qnn": vendors}, builder_node_selector={"hub": "true"})
    board = profile("board", toolchain={"name": "QNN"}, runtime={"baseImage": vendors})
    start = StartBuild(board, build_for(model(), board, settings), "a", (), NOW, 1)
    spec = build_job(model(), start, settings)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["image"] == vendors
    assert container["args"][container["args"].index("--builder-image") + 1] == vendors
    assert spec["nodeSelector"] == {"hub": "true", "kubernetes.io/arch": "amd64"}
    other = started(settings)["spec"]["template"]["spec"]
    assert (other["containers"][0]["image"], other["nodeSelector"]) == (SETTINGS.builder_image, {"hub": "true"})


@pytest.mark.parametrize(
    ("names", "pulls", "pushes"), [({"pull_secret": "a"}, True, False), ({"push_secret": "a"}, False, True)]
)
def test_either_secret_can_be_left_out(names: dict[str, str], pulls: bool, pushes: bool) -> None:  # noqa: FBT001 -- a table
    build = started(replace(SETTINGS, **names))["spec"]["template"]["spec"]  # type: ignore[arg-type]
    assert ("imagePullSecrets" in build) is pulls
    assert ("--registry-credentials" in build["containers"][0]["args"]) is pushes


def test_the_deadline_runs_from_the_pods_start_on_its_node_and_not_while_its_job_waits_for_one() -> None:
    spec = started(replace(SETTINGS, builder_deadline_seconds=77))["spec"]
    assert "activeDeadlineSeconds" not in spec
    assert spec["template"]["spec"]["activeDeadlineSeconds"] == 77


def test_credentials_come_from_the_secret_by_key() -> None:
    environment = started(secretRef={"name": "store"})["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {entry["name"]: entry["valueFrom"]["secretKeyRef"]["optional"] for entry in environment} == {
        "AWS_ACCESS_KEY_ID": False,
        "AWS_SECRET_ACCESS_KEY": False,
        "AWS_SESSION_TOKEN": True,
        "AWS_ENDPOINT_URL": False,
        "AWS_REGION": True,
    }


def test_a_compiler_runs_beside_the_builder_and_shares_one_folder_with_it_and_nothing_else() -> None:
    source = {"uri": "s3://models/a.tflite", "sha256": "a" * 64, "secretRef": {"name": "bucket"}}
    pod = compiling(source=source)
    (compiler,), (builder,) = pod["initContainers"], pod["containers"]
    assert (compiler["image"], compiler["restartPolicy"]) == (IMAGE, "Always")
    assert compiler["volumeMounts"] == [{"name": "compiler", "mountPath": "/compile"}]
    assert compiler["volumeMounts"][0] in builder["volumeMounts"]
    assert {"name": "compiler", "emptyDir": {"sizeLimit": WORK_LIMIT}} in pod["volumes"]
    assert [entry["name"] for entry in compiler["env"]] == ["TMPDIR"], "it gets no credentials"
    assert "envFrom" not in compiler
    assert builder["args"][builder["args"].index("--compiler") + 1] == compiler["command"][-1] == "/compile"


def test_without_a_need_no_compiler_is_started() -> None:
    brought = {"toolchain": "EdgeTPU", "uri": "s3://models/a_edgetpu.tflite", "sha256": "c" * 64}
    for pod in (compiling(compiled=[brought]), started()["spec"]["template"]["spec"]):
        assert "initContainers" not in pod
        assert "--compiler" not in pod["containers"][0]["args"]
        assert "compiler" not in {volume["name"] for volume in pod["volumes"]}


STORE = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION"}
WEB = {"HTTPS_HOST", "HTTPS_TOKEN", "HTTPS_USERNAME", "HTTPS_PASSWORD"}
LOGINS = {".dockerconfigjson"}
KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"}


@pytest.mark.parametrize(
    ("source", "evaluation", "names", "required"),
    [
        ("https://models.example/a", "https://models.example/b", WEB, {"HTTPS_HOST"}),
        ("oci://hub:5000/a:1", "oci://hub:5000/b:1", LOGINS, LOGINS),
        ("https://models.example/a", "oci://hub:5000/b:1", WEB | LOGINS, {"HTTPS_HOST"}),
        ("oci://hub:5000/a:1", "s3://models/b", STORE | LOGINS, KEYS),
        ("s3://models/a", "https://models.example/b", STORE | WEB, KEYS),
    ],
)
def test_credentials_are_those_of_where_the_files_are_and_a_missing_secret_is_always_noticed(
    source: str, evaluation: str, names: set[str], required: set[str]
) -> None:
    of = model(
        source={"uri": source, "sha256": "a" * 64, "secretRef": {"name": "store"}},
        evaluation={"uri": evaluation, "sha256": "e" * 64},
    )
    job = build_job(of, StartBuild(profile(), build_for(of, profile(), SETTINGS), "", (), NOW, 1), SETTINGS)
    environment = job["spec"]["template"]["spec"]["containers"][0]["env"]
    keys = [entry["valueFrom"]["secretKeyRef"] for entry in environment]
    assert {key["name"] for key in keys} == {"store"}
    assert {key["key"] for key in keys} == names
    assert {key["key"] for key in keys if not key["optional"]} == required
    variables = {".dockerconfigjson": CONFIG_VARIABLE}
    assert [entry["name"] for entry in environment] == [variables.get(key["key"], key["key"]) for key in keys]


def test_without_a_secret_a_build_is_given_no_credentials() -> None:
    container = started(uri="https://models.example/a")["spec"]["template"]["spec"]["containers"][0]
    assert not [entry for entry in container["env"] if "valueFrom" in entry]
