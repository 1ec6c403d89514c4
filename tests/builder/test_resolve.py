"""Looks at files without a digest, as a program: requests and answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from artifacts import pushed
from authority import Authority
from looker import NEW, OLD, QUICK, Serve, make_authority, make_serve, make_work, methods, sha256
from played import Answer

from edgesmith_builder.cli import main
from edgesmith_builder.contract import (
    VALIDATOR_LIMIT,
    BuildFailure,
    FileToResolve,
    ResolvedFile,
    ResolveRequest,
    ResolveResult,
)
from edgesmith_builder.oci.content import LAYER
from edgesmith_builder.resolve import resolve
from edgesmith_builder.source import Sources, Web

work = pytest.fixture(make_work)
authority = pytest.fixture(scope="module")(make_authority)
serve = pytest.fixture(make_serve)


MESSAGE = 4096
"""Bytes of a termination message that Kubernetes keeps."""


def run(folder: Path, request: ResolveRequest, store: Any, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "request.json").write_text(request.to_json())
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
    values = (store.settings.access_key, store.settings.secret_key, store.settings.endpoint)
    line = [sys.executable, "-m", "edgesmith_builder", "resolve", "--request", str(folder / "request.json")]
    line += ["--termination-log", str(folder / "log"), "--work", str(folder / "work"), *more]
    environment = {**os.environ, **dict(zip(names, values, strict=True))}
    return subprocess.run(line, capture_output=True, text=True, check=False, env=environment)


def test_the_program_says_what_it_found(store: Any, registry: str, work: Path, tmp_path: Path) -> None:
    repository = pushed(registry, (NEW, LAYER, {}))
    files = (
        FileToResolve(field="source", uri=store.put("resolve/program", OLD)),
        FileToResolve(field="evaluation", uri=f"oci://{repository}:1"),
    )
    done = run(tmp_path, ResolveRequest(files=files, plain_registries=(registry,)), store)
    assert done.returncode == 0, done.stderr
    found = ResolveResult.model_validate_json((tmp_path / "log").read_text())
    assert done.stdout.strip() == found.to_json()
    assert [(one.field, one.sha256) for one in found.files] == [("source", sha256(OLD)), ("evaluation", sha256(NEW))]
    assert list(work.iterdir()) == []
    assert "spec.evaluation has" in done.stderr
    assert "store-password" not in done.stderr


def test_the_program_says_why_it_found_nothing(store: Any, work: Path, tmp_path: Path) -> None:
    assert work.is_dir()
    files = (FileToResolve(field="calibration", uri="s3://models/resolve/none"),)
    assert run(tmp_path, ResolveRequest(files=files), store).returncode == 1
    failure = BuildFailure.model_validate_json((tmp_path / "log").read_text())
    assert (failure.reason, failure.retry) == ("SourceNotFound", False)
    assert "spec.calibration.uri s3://models/resolve/none" in failure.message


@pytest.mark.parametrize("text", ['{"files": [{"field": "source"}]}', "[]", '{"build": {}}'])
def test_a_request_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "request.json").write_text(text)
    line = ["resolve", "--request", str(tmp_path / "request.json"), "--termination-log", str(tmp_path / "log")]
    assert main(line) == 1
    assert BuildFailure.model_validate_json((tmp_path / "log").read_text()).reason == "RequestInvalid"


def test_the_longest_answer_fits_a_termination_message() -> None:
    fields: Sequence[str] = ("source", "calibration", "evaluation", *(f"compiled[{'x' * 12}{n}]" for n in range(8)))
    files = tuple(ResolvedFile(field=name, sha256="f" * 64, validator='"' * VALIDATOR_LIMIT) for name in fields)
    assert len(ResolveResult(files=files).to_json().encode()) <= MESSAGE


def test_the_answer_for_as_many_files_as_an_edge_model_may_have_fits_too(
    serve: Serve, authority: Authority, work: Path
) -> None:
    """Its validators are hashes then, and those mean what they stand for."""
    server = serve(lambda _: Answer(body=OLD, headers={"ETag": '"' + "e" * 60 + '"'}))
    names = [f"optimize.alternatives[{'x' * 31}{n}]" for n in range(8)]
    own = [f"{name}.{file}" for name in names for file in ("source", "compiled[EdgeTPU]")]
    fields = ["source", "compiled[EdgeTPU]", "calibration", "evaluation", *own]
    sources = Sources({"https": Web(None, authority.pem, patience=QUICK)})
    files = tuple(FileToResolve(field=field, uri=f"{server.endpoint}/a") for field in fields)
    found = resolve(ResolveRequest(files=files), sources, work)
    assert len(found.to_json().encode()) < MESSAGE
    assert {one.sha256 for one in found.files} == {sha256(OLD)}
    assert {len(one.validator or "") for one in found.files} == {16}
    known = [
        file.model_copy(update={"sha256": one.sha256, "validator": one.validator})
        for file, one in zip(files, found.files, strict=True)
    ]
    server.asked.clear()
    assert resolve(ResolveRequest(files=tuple(known)), sources, work) == found
    assert set(methods(server)) == {"HEAD"}, "none is read again"


def test_answers_leave_out_what_is_not_known() -> None:
    found = ResolveResult(files=(ResolvedFile(field="source", sha256="0" * 64),))
    assert json.loads(found.to_json()) == {"files": [{"field": "source", "sha256": "0" * 64}]}
