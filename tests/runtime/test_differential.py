"""Our server and a real tritonserver with the same models, asked the same: each answer is alike, field by field, or
differs on purpose; and what docs/runtime.md says differs does.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ports import free_ports
from tritonclient.grpc import service_pb2 as messages
from tritons import folder_with_tritonserver

from edgesmith_runtime.bundle import Bundle
from edgesmith_runtime.golden import Golden
from edgesmith_runtime.triton.repository import Fitting, write_repository
from tests.runtime.asking import Fields, Grpc, Http, Served
from tests.runtime.conftest import Server, StartServer
from tests.runtime.differences import DIFFERENCES, NONE, Row
from tests.runtime.questions import Question, infer, model_of, questions
from tests.runtime.questions import toy as toy_request

pytestmark = pytest.mark.timeout(300)

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "runtime.md").read_text()


HALVES = """
backend: "python" max_batch_size: 8
input { name: "x" data_type: TYPE_BF16 dims: 2 }
output { name: "y" data_type: TYPE_BF16 dims: 2 }
instance_group { kind: KIND_CPU count: 1 }
"""
ECHO = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "x") for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack("y", one)]) for one in inputs]
"""
"""A model in Triton's own backend: the stand-in for ONNX Runtime's is NumPy's, which has no BF16."""
PAIRS = """
backend: "python" max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: 4 }
output { name: "y" data_type: TYPE_FP32 dims: 4 }
instance_group { kind: KIND_CPU count: 1 }
dynamic_batching { preferred_batch_size: 2 max_queue_delay_microseconds: 600000000 }
"""
"""A model that is run once two requests wait, and before that not within the patience of a test."""


@dataclass
class Triton:
    """Where tritonserver listens."""

    http: int
    grpc: int


@pytest.fixture(scope="module")
def bundles(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The models, each in a folder of its name."""
    folder = tmp_path_factory.mktemp("differential")
    fixtures = {"toy": "toy", "types": "every_type", "typed": "typed", "halves": "halves", "words": "words"}
    found = {name: request.getfixturevalue(fixture) for name, fixture in fixtures.items()}
    for name, bundle in found.items():
        shutil.copytree(bundle.folder, folder / name)
    return {name: replace(bundle, model=name, folder=folder / name) for name, bundle in found.items()}


@pytest.fixture(scope="module")
def ours(bundles: dict[str, Bundle], start_module_server: StartServer) -> dict[str, Server]:
    """A server of ours for each model."""
    return {name: start_module_server(bundle.folder) for name, bundle in bundles.items()}


@pytest.fixture(scope="module")
def theirs(bundles: dict[str, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    """One tritonserver of all of them."""
    folder = tmp_path_factory.mktemp("triton")
    for bundle in bundles.values():
        if bundle.model == "halves":
            continue
        golden = Golden.read(*bundle.golden_paths)
        write_repository(bundle, golden, Fitting(threads=1, max_batch=8, cache=folder), folder / "models")
    for name, config in {"halves": HALVES, "pairs": PAIRS}.items():
        made = folder / "models" / name
        (made / "1").mkdir(parents=True)
        (made / "config.pbtxt").write_text(config)
        (made / "1" / "model.py").write_text(ECHO)
    with tritonserver(folder) as server:
        yield server


@contextmanager
def tritonserver(folder: Path) -> Iterator[Triton]:
    """Start a tritonserver of the repository `models` in a folder; nothing of it is closed to clients."""
    server = Triton(*free_ports(2))
    words = [
        f"--model-repository={folder / 'models'}", "--model-control-mode=none", "--disable-auto-complete-config",
        "--http-address=127.0.0.1", f"--http-port={server.http}", "--grpc-address=127.0.0.1",
        f"--grpc-port={server.grpc}", "--allow-metrics=false", "--pinned-memory-pool-byte-size=0", "--log-info=false",
    ]  # fmt: skip
    program = folder_with_tritonserver() / "tritonserver"
    environment = os.environ | {"TMPDIR": str(folder)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [str(program), *words], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        while not _is_ready(server):
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            time.sleep(0.05)
        yield server
    finally:
        process.terminate()
        process.wait(60)
        with suppress(ProcessLookupError):  # a server that fell over leaves its backends behind
            os.killpg(process.pid, signal.SIGKILL)


def _is_ready(server: Triton) -> bool:
    try:
        return bool(Http("GET", "/v2/health/ready").ask(server)["status"] == 200)
    except OSError:
        return False


QUESTIONS = questions()
Asked = dict[str, tuple[Fields, Fields]]


@pytest.fixture(scope="module")
def asked(ours: dict[str, Server], theirs: Triton) -> Asked:
    """Both answers to every question."""
    return {name: (one.ask(ours[model_of(one)]), one.ask(theirs)) for name, one in QUESTIONS.items()}


def differing(asked: Asked, name: str) -> dict[str, tuple[Any, Any]]:
    """The fields in which two answers differ."""
    one, other = asked[name]
    pairs = {field: (one.get(field, NONE), other.get(field, NONE)) for field in one | other}
    return {field: pair for field, pair in pairs.items() if pair[0] is not pair[1] and pair[0] != pair[1]}


@pytest.mark.parametrize("name", QUESTIONS)
def test_both_answer_alike(asked: Asked, name: str) -> None:
    rows = [row for allowed in DIFFERENCES.values() for row in allowed]
    unexpected = {
        field: pair
        for field, pair in differing(asked, name).items()
        if not any(row.allows(name, field, *pair) for row in rows)
    }
    assert unexpected == {}, f"{QUESTIONS[name]}: ours, theirs"


ROWS = {f"{sentence[:40]} {row}": row for sentence, allowed in DIFFERENCES.items() for row in allowed}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_what_is_said_to_differ_does(asked: Asked, row: Row) -> None:
    assert any(row.allows(name, field, *pair) for name in QUESTIONS for field, pair in differing(asked, name).items())


def test_the_page_lists_the_differences() -> None:
    section = PAGE.split("## What differs from Triton\n")[1].split("\n## ")[0]
    points = [" ".join(point.split()) for point in re.split(r"(?m)^- ", section)[1:]]
    assert points == list(DIFFERENCES)


STATISTICS: dict[str, Question] = {
    "of a model": Http("GET", "/v2/models/toy/stats"),
    "of a version": Http("GET", "/v2/models/toy/versions/1/stats"),
    "of all models": Http("GET", "/v2/models/stats"),
    "of a model over gRPC": Grpc("ModelStatistics", (messages.ModelStatisticsRequest(name="toy"),)),
    "of all models over gRPC": Grpc("ModelStatistics", (messages.ModelStatisticsRequest(),)),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_statistics_count_alike(ours: dict[str, Server], theirs: Triton, name: str) -> None:
    def said(server: Served) -> Fields:
        found = STATISTICS[name].ask(server)
        return {field: value for field, value in found.items() if field.startswith("model_stats.toy.")}

    def counts(server: Served) -> dict[str, int]:
        # Counts are numbers in JSON, and texts where messages are read.
        return {field: int(value) for field, value in said(server).items() if field.endswith(("count", "batch_size"))}

    def added(server: Served) -> tuple[dict[str, int], set[str]]:
        fields, before = said(server), counts(server)
        for one in _traffic():
            one.ask(server)
        after = counts(server)
        return {
            field: value - before.get(field, 0) for field, value in after.items() if value != before.get(field)
        }, set(fields)

    for one in _traffic():  # so that both know batches of these sizes
        one.ask(ours["toy"])
        one.ask(theirs)
    (mine, my_fields), (their, their_fields) = added(ours["toy"]), added(theirs)
    assert mine == their
    assert mine["model_stats.toy.inference_count"] == 6
    assert _groups(my_fields) == _groups(their_fields)


def test_a_stream_has_one_request_in_flight_and_tritons_has_several(
    bundles: dict[str, Bundle], start_module_server: StartServer, theirs: Triton
) -> None:
    """Two requests of one stream are one run of theirs, and two of ours though it may run two together."""
    ours = start_module_server(bundles["toy"].folder, "--batch-latency-ms", "1000", "--batch-size", "2")
    for server, model, runs in ((ours, "toy", 2), (theirs, "pairs", 1)):
        message = messages.ModelInferRequest(model_name=model)
        message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        message.raw_input_contents.append(bytes(16))
        answer = Grpc("ModelStreamInfer", (message, message)).ask(server)
        assert (answer["code"], "answer 1.error" in answer) == ("OK", False)
        said = Http("GET", f"/v2/models/{model}/stats").ask(server)
        counts = (said[f"model_stats.{model}.inference_count"], said[f"model_stats.{model}.execution_count"])
        assert counts == (2, runs)


def _groups(fields: set[str]) -> set[str]:
    """What is told, without the figures of each: messages leave out those that are 0."""
    return {re.sub(r"\.(count|ns)$", "", field) for field in fields if "batch_stats" not in field}


def _traffic() -> list[Question]:
    batches = [infer(toy_request(array=np.ones((rows, 4), np.float32))) for rows in (1, 3, 1)]
    return [*batches, infer(toy_request(shape=[9, 9])), infer(toy_request({"name": "z"})), batches[0]]
