"""The Job that looks at files: what it is told, and how little it is lent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from snapshots import NOW, SETTINGS, model, profile

from edgesmith.api.names import REQUEST_ANNOTATION, RESOLVE_LABEL, TRIES_ANNOTATION
from edgesmith.cluster.parse_build import resolve_job as read
from edgesmith.decide.builds import build_for
from edgesmith.decide.plan import StartBuild, StartLook
from edgesmith.decide.settings import Settings
from edgesmith.resources import build_job, resolve_job
from edgesmith_builder.cli import main
from edgesmith_builder.contract import FileToResolve, ResolveRequest

SECRETS = replace(
    SETTINGS,
    push_secret="push",  # noqa: S106 - names of Secrets
    pull_secret="pull",  # noqa: S106 - as above
    signing_secret="sign",  # noqa: S106 - as above
    builder_service_account="bucket-reader",
    builder_resources={"limits": {"memory": "2Gi"}},
    builder_node_selector={"pool": "builds"},
    registry_ca="-----BEGIN",
    plain_http=True,
)


def started(*uris: str, settings: Settings = SECRETS, **source: Any) -> dict[str, Any]:
    of = model(source={"uri": uris[0], **source})
    files = tuple(FileToResolve(field=f"f{number}", uri=uri) for number, uri in enumerate(uris))
    return resolve_job(of, StartLook(files, "files", "attempt", NOW, 7, "it is time", 3), settings)


def pod(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = job["spec"]["template"]["spec"]
    return found


def test_it_is_asked_for_the_files_and_nothing_else() -> None:
    job = started("s3://models/a.onnx", "https://models.example/b.npz")
    metadata = job["spec"]["template"]["metadata"]
    request = ResolveRequest.model_validate_json(metadata["annotations"][REQUEST_ANNOTATION])
    assert [file.uri for file in request.files] == ["s3://models/a.onnx", "https://models.example/b.npz"]
    assert request.plain_registries == ("registry:5000",)
    arguments = pod(job)["containers"][0]["args"]
    assert arguments[:3] == ["resolve", "--request", "/etc/edgesmith/request.json"]
    assert not {"--signing-key", "--builder-image", "--compiler", "--threads"} & set(arguments)
    assert started("s3://models/a", settings=SETTINGS)["spec"]["template"]["metadata"]["annotations"].keys() == {
        REQUEST_ANNOTATION
    }


def test_the_builder_takes_what_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = pod(started("oci://registry:5000/a:1"))["containers"][0]["args"]
    log = arguments.index("--termination-log")
    del arguments[log : log + 2]
    assert main(arguments) == 1, "there is no such file here"
    assert "--request /etc/edgesmith/request.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("uris", "lent"),
    [
        (("s3://models/a",), False),
        (("https://models.example/a", "s3://models/b"), False),
        (("s3://models/a", "oci://registry:5000/b:1"), True),
    ],
)
def test_the_login_for_pushes_is_lent_where_a_file_lies_in_a_registry(
    uris: tuple[str, ...],
    lent: bool,  # noqa: FBT001 - a column of the table
) -> None:
    found = pod(started(*uris))
    secrets = {volume["secret"]["secretName"] for volume in found["volumes"] if "secret" in volume}
    assert secrets == ({"push"} if lent else set())
    assert ("--registry-credentials" in found["containers"][0]["args"]) == lent


def test_it_gets_the_credentials_of_where_its_own_files_are() -> None:
    environment = pod(started("s3://models/a", secretRef={"name": "store"}))["containers"][0]["env"]
    assert {entry["valueFrom"]["secretKeyRef"]["name"] for entry in environment} == {"store"}
    assert all(entry["name"].startswith("AWS_") for entry in environment)


def test_it_is_bounded_and_secured_as_a_build_is() -> None:
    of = model()
    build = build_job(of, StartBuild(profile(), build_for(of, profile(), SECRETS), "", (), NOW, 1), SECRETS)
    look = started("s3://models/a", "oci://r/b:1")
    shared = ("backoffLimit", "podFailurePolicy")
    assert {key: look["spec"][key] for key in shared} == {key: build["spec"][key] for key in shared}
    differing = {key for key, value in pod(build).items() if pod(look).get(key) != value}
    assert differing == {"containers", "volumes"}
    ours, theirs = pod(look)["containers"][0], pod(build)["containers"][0]
    assert {key for key, value in theirs.items() if ours.get(key) != value} == {"args", "env", "volumeMounts"}
    assert pod(look)["automountServiceAccountToken"] is False
    labels = look["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/component"] == "builder", "which the NetworkPolicy goes by"


def test_it_is_read_back_as_it_was_made() -> None:
    job = started("s3://models/a")
    found = read(job)
    assert (found.key, found.attempt, found.tries, found.finished) == ("files", "attempt", 3, False)
    assert job["metadata"]["labels"][RESOLVE_LABEL] == "files"
    assert job["metadata"]["annotations"][TRIES_ANNOTATION] == "3"
    assert len(job["metadata"]["name"]) <= 63


def test_a_build_gets_the_credentials_of_compiled_files_too() -> None:
    compiled = [{"toolchain": "EdgeTPU", "uri": "https://h/c.tflite", "sha256": "c" * 64}]
    source = {"uri": "s3://models/a", "sha256": "a" * 64, "secretRef": {"name": "store"}}
    of = model(source=source, compiled=compiled)
    job = build_job(of, StartBuild(profile(), build_for(of, profile(), SETTINGS), "", (), NOW, 1), SETTINGS)
    names = {entry["name"] for entry in pod(job)["containers"][0]["env"]}
    assert {"HTTPS_TOKEN", "AWS_ACCESS_KEY_ID"} <= names
