"""The program, as a Job runs it."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from artifacts import TITLE, pushed
from authority import Authority
from builder_program import command, run
from needs import emulator
from played import Answer, Played

from edgesmith_builder.cli import plain_registries, read_request
from edgesmith_builder.contract import Artifact, Build, BuildFailure, BuildRequest, Gates, Platform, Pruning, Toolchain
from edgesmith_builder.errors import MESSAGE_LIMIT, REASONS, RequestInvalid, failure_of
from tests.patience import PATIENCE

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_build_ends_with_the_image_on_stdout_and_in_the_termination_log(world: Any, tmp_path: Path) -> None:
    line = command(tmp_path, world.request(), world.store)
    done = run(line)
    assert done.returncode == 0, done.stderr
    image = done.stdout.splitlines()[-1]
    assert "@sha256:" in image
    assert json.loads((tmp_path / "log").read_text()) == {"image": image, "made": True}
    assert list((tmp_path / "work").iterdir()) == []
    again = run(line)
    assert again.stdout.splitlines()[-1] == image
    assert json.loads((tmp_path / "log").read_text()) == {"image": image}, "it was found, and made by nobody knows whom"
    for words in ("fetched s3://models/surface/model.onnx", "int8: accuracy", ": works", "pushed "):
        assert words in done.stderr
    assert "store-password" not in done.stderr


def test_gates_of_a_request_choose_among_what_was_pushed_and_say_why(world: Any, tmp_path: Path) -> None:
    request = world.request(gates=Gates(max_accuracy_drop=0.2))
    first = run(command(tmp_path, request, world.store))
    assert "int8: keeps the gates" in first.stderr
    strict = request.model_copy(update={"gates": Gates(min_agreement=1.01)})
    done = run(command(tmp_path, strict, world.store))
    assert done.returncode == 0, done.stderr
    assert "is made already" in done.stderr
    assert re.search(r"int8: is out, it agrees with the source to \d\.\d{4} only", done.stderr)
    assert "fp32: keeps the gates" in done.stderr
    assert done.stdout != first.stdout
    assert json.loads((tmp_path / "log").read_text())["image"] == first.stdout.strip(), "the image under the tag"


def test_the_files_may_lie_in_three_places(world: Any, tmp_path: Path) -> None:
    objects = {name: world.store.read(getattr(world, name)) for name in ("source", "evaluation")}
    held = pushed(world.registry, (objects["evaluation"], "application/octet-stream", {TITLE: "evaluation.npz"}))
    authority = Authority.make(tmp_path / "authority")
    with Played(lambda _: Answer(200, objects["source"]), authority.sign("web")) as web:
        request = world.request(
            source=Artifact(uri=f"{web.endpoint}/model.onnx?version=12", sha256=world.digest(world.source)),
            evaluation=Artifact(uri=f"oci://{held}:1#evaluation.npz"),
        )
        line = command(tmp_path, request, world.store, "--bucket-ca", str(authority.file))
        for name, value in {"HTTPS_HOST": f"127.0.0.1:{web.port}", "HTTPS_TOKEN": "t0ken"}.items():
            (tmp_path / "secret" / name).write_text(value)
        done = run(line)
        assert done.returncode == 0, done.stderr
        assert [headers["Authorization"] for headers in web.headers] == ["Bearer t0ken"]
    for place in (
        f"{web.endpoint}/model.onnx?…",
        "s3://models/surface/calibration.npz",
        f"oci://{held}:1#evaluation.npz",
    ):
        assert f"fetched {place} " in done.stderr
    for secret in ("t0ken", "version=12"):
        assert secret not in done.stderr


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://h:8443/a/m.onnx?X-Amz-Signature=5ec1e7", "https://h:8443/a/m.onnx?…"),
        ("https://name:word@h/m.onnx", "https://h/m.onnx"),
        ("https://h/m@2.onnx", "https://h/m@2.onnx"),
        ("s3://models/what?.onnx", "s3://models/what?.onnx"),
        ("oci://r/n@sha256:00", "oci://r/n@sha256:00"),
    ],
)
def test_messages_have_no_query_and_no_login_of_a_uri(uri: str, expected: str) -> None:
    assert Artifact(uri=uri).shown == expected


def test_a_source_without_tls_is_in_the_registry_that_has_none(world: Any) -> None:
    request = world.request()
    assert plain_registries(request) == (world.registry,)
    assert plain_registries(request.model_copy(update={"plain_http": False})) == ()


def test_the_digest_depends_on_nothing_but_the_request(world: Any, tmp_path: Path) -> None:
    digests = set()
    for number, (seed, threads, zone) in enumerate((("0", "1", "UTC"), ("4711", "2", "Asia/Tokyo"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = run(command(folder, world.request(), world.store, "--threads", threads), PYTHONHASHSEED=seed, TZ=zone)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout.strip().partition("@")[2])
    assert len(digests) == 1


@pytest.mark.long
@pytest.mark.timeout(400)
def test_the_digest_does_not_depend_on_the_processor(world: Any, sets: Any, tmp_path: Path) -> None:
    """An emulated Haswell has neither AVX-512 nor VNNI: left to itself it saturates on weights of eight bits.

    The one build prunes, quantises and scores: under emulation each is dear.
    """
    haswell = [emulator("x86_64"), "-cpu", "Haswell-v1"]
    parts = {"source": (EXAMPLES / "digits" / "model.onnx").read_bytes()}
    for part, count in (("calibration", 8), ("evaluation", 24)):  # emulation is fifty times slower
        with np.load(EXAMPLES / "digits" / f"{part}.npz") as whole:
            parts[part] = sets.npz(**{name: whole[name][:count] for name in whole.files})
    files = {part: Artifact(uri=world.store.put(f"digits/few-{part}", data)) for part, data in parts.items()}
    digests = {}
    # QEMU 7.2 gets AVX2 wrong as NumPy sorts with it: an argsort that does not sort.
    sorts: dict[str, str] = {"NPY_DISABLE_CPU_FEATURES": "X86_V3"}
    for processor, before, environment in (("here", [], {}), ("Haswell", haswell, sorts)):
        folder = tmp_path / processor
        folder.mkdir()
        toolchain = Toolchain(precisions=("int8",), options={"reduceRange": "false"})
        request = world.request(**files, toolchain=toolchain, pruning=Pruning(ratio=0.2))
        done = run([*before, *command(folder, request, world.store)], **environment)
        assert done.returncode == 0, done.stderr
        digests[processor] = done.stdout.strip().partition("@")[2]
    assert digests["here"] == digests["Haswell"]


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        pytest.param({"source": Artifact(uri="s3://models/no.onnx")}, 1, "SourceNotFound", id="somebody-must-act"),
        pytest.param({"repository": "127.0.0.1:1/a/b"}, 2, "RegistryUnreachable", id="a-retry-can-help"),
        pytest.param({"gates": Gates(min_accuracy=1.01)}, 1, "GatesFailed", id="with-candidates"),
    ],
)
def test_a_failure_is_one_line_of_json(
    world: Any, tmp_path: Path, changes: dict[str, Any], code: int, reason: str
) -> None:
    done = run(command(tmp_path, world.request(**changes), world.store))
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    (line,) = (tmp_path / "log").read_text().splitlines()
    failure = BuildFailure.model_validate_json(line)
    assert failure.reason == reason
    assert f"error: {failure.reason}: {failure.message}".replace("error: ", "") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_size_that_is_another_files_is_named_with_what_the_file_has(world: Any, tmp_path: Path) -> None:
    request = world.request()
    size = len(world.store.read(world.source))
    told = request.model_copy(update={"sizes": {"source": size + 1}, "alternative": "light"})
    assert run(command(tmp_path, told, world.store)).returncode == 1
    failure = BuildFailure.model_validate_json((tmp_path / "log").read_text())
    said = f"spec.optimize.alternatives[light].source.bytes is {size + 1}, but {world.source} has {size}"
    assert (failure.reason, failure.retry) == ("RequestInvalid", False)
    assert failure.message == f"{said}; that number was expected, or none: bytes may be left out"
    right = request.model_copy(update={"sizes": {"source": size}})
    assert run(command(tmp_path, right, world.store)).returncode == 0


def test_a_disk_that_fills_up_is_a_retry_and_nothing_is_pushed(world: Any, sets: Any, tmp_path: Path) -> None:
    """Files may be of 7 KiB: enough for the model and its sets, too little for what quantisation puts between."""
    calibration = Artifact(uri=world.store.put("surface/few.npz", sets.npz(image=sets.images(16))))
    request = world.request(calibration=calibration, evaluation=None)
    line = command(tmp_path, request, world.store)
    done = run(["bash", "-c", 'ulimit -f 7; exec "$@"', "-", *line])
    failure = BuildFailure.model_validate_json((tmp_path / "log").read_text())
    assert (done.returncode, failure.reason, failure.retry) == (2, "Internal", True), done.stderr
    done = run(line)
    assert done.returncode == 0, done.stderr
    assert "is made already" not in done.stderr
    assert re.search(r"int8: agreement 0\.\d{4} ± 0\.\d{4}: works", done.stderr)


def test_sigterm_ends_it_cleanly(world: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        line = command(
            tmp_path, world.request(repository=f"{host}/a/b", base=f"{host}/base@sha256:{'0' * 64}"), world.store
        )
        process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143, errors
    assert "stopped by SIGTERM" in errors
    assert "Traceback" not in errors
    assert list((tmp_path / "work").iterdir()) == []
    assert BuildFailure.model_validate_json((tmp_path / "log").read_text()).retry


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the request is"),
        ('{"build": {}}', "Field required"),
        ('{"bild": 1}', "bild is 1|Field required"),
    ],
)
def test_a_request_that_is_none(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "request").write_text(text)
    with pytest.raises(RequestInvalid, match=words):
        read_request(tmp_path / "request", BuildRequest)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "edgesmith_builder", "--request", str(tmp_path / "none")]
    assert run([*line, "--termination-log", str(tmp_path / "log")]).returncode == 1
    failure = BuildFailure.model_validate_json((tmp_path / "log").read_text())
    assert (failure.reason, "none cannot be read" in failure.message) == ("RequestInvalid", True)


def test_a_work_folder_that_is_not_there_is_for_somebody_to_correct(tmp_path: Path) -> None:
    request = BuildRequest(
        build=Build(
            source=Artifact(uri="s3://m/x"),
            platform=Platform(architecture="amd64"),
            toolchain=Toolchain(precisions=("fp32",)),
            base=f"127.0.0.1:1/base@sha256:{'0' * 64}",
        ),
        repository="127.0.0.1:1/a/b",
    )
    (tmp_path / "request.json").write_text(request.to_json())
    options = ["--request", str(tmp_path / "request.json"), "--work", str(tmp_path / "none")]
    line = [sys.executable, "-m", "edgesmith_builder", *options, "--termination-log", str(tmp_path / "log")]
    assert run(line).returncode == 1
    failure = BuildFailure.model_validate_json((tmp_path / "log").read_text())
    assert (failure.reason, failure.retry) == ("RequestInvalid", False)
    assert failure.message == f"--work {tmp_path / 'none'} is not a folder; one that is there was expected"


def test_what_nobody_expected_is_internal_and_short() -> None:
    failure = failure_of(RuntimeError("x" * 5000))
    assert (failure.reason, failure.retry) == ("Internal", True)
    assert len(failure.message) == MESSAGE_LIMIT


def test_every_reason_is_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "builder.md").read_text()
    assert [reason for reason in REASONS if f"`{reason}`" not in page] == []


@pytest.mark.parametrize(("words", "status"), [(["--help"], 0), (["resolve", "--help"], 0), ([], 2)], ids=str)
def test_help_and_wrong_usage_import_nothing_that_builds_need(words: list[str], status: int) -> None:
    line = [sys.executable, "-X", "importtime", "-m", "edgesmith_builder", *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    loaded = {one.rpartition("|")[2].strip() for one in done.stderr.splitlines()}
    assert done.returncode == status
    assert "edgesmith_builder.arguments" in loaded
    assert not loaded & {"numpy", "onnx", "pydantic", "edgesmith_builder.cli"}
