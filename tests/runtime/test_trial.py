"""The self-test's trial of the server, and the bound on batches that it measures at."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.grpc
from onnx import TensorProto, helper
from tflite import crashing_detector

from edgesmith_runtime import arguments, cli, trial
from edgesmith_runtime.bundle import write_bundle
from edgesmith_runtime.device import peak_memory
from edgesmith_runtime.golden import Golden
from edgesmith_runtime.http.limits import MEBIBYTE, Limits
from edgesmith_runtime.tensors import TensorSpec
from tests.patience import PATIENCE
from tests.runtime.conftest import _bundle, _save, _value

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import StartServer


def self_test(bundle: Bundle, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "edgesmith_runtime", "selftest", "--bundle", str(bundle.folder)]
    command += ["--termination-log", "/dev/null", *options]
    finding: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
    return finding


def test_memory_is_that_of_a_server_with_its_largest_batches(toy: Bundle) -> None:
    usual, large = self_test(toy), self_test(toy, "--max-batch", "500000")
    assert usual["message"].endswith("MiB with batches of 8")
    assert large["message"].endswith("MiB with batches of 500000")
    assert usual["memoryBytes"] > 70e6, "a server has an engine and two protocols in it"
    # A request of 8 MB and its answer of 16 MB, the latter in the engine and on its way.
    assert large["memoryBytes"] - usual["memoryBytes"] > 40e6


def test_a_model_of_halves_passes(halves: Bundle) -> None:
    assert self_test(halves)["reason"] == "Passed"


def test_lines_of_an_engines_own_do_not_end_a_trial() -> None:
    log = io.StringIO('a line\n{"message": "listening", "http_port": 7}\n\n[another]\n{"message": "ready"}\n')
    assert trial._port(log, get_context("spawn").Process()) == 7


def test_a_model_that_takes_no_batches_is_asked_without(tmp_path: Path) -> None:
    constant = helper.make_node("Constant", [], ["s"], value=helper.make_tensor("s", TensorProto.INT64, [2], [1, 4]))
    nodes = [constant, helper.make_node("Reshape", ["x", "s"], ["y"])]
    values = [_value(name, TensorProto.FLOAT, shape) for name, shape in (("x", ("n", 4)), ("y", (1, 4)))]
    model = _save(tmp_path / "one.onnx", nodes, values[:1], values[1:])
    bundle = _bundle(tmp_path / "model", "one", model, {"x": np.ones((2, 4), np.float32)}, ())
    finding = self_test(bundle)
    assert finding["reason"] == "Passed"
    assert finding["message"].endswith("MiB with batches of 1")


def test_a_scalar_is_served(tmp_path: Path, start_server: StartServer) -> None:
    values = [_value(name, TensorProto.FLOAT, ()) for name in ("x", "y")]
    model = _save(tmp_path / "one.onnx", [helper.make_node("Mul", ["x", "x"], ["y"])], values[:1], values[1:])
    bundle = _bundle(tmp_path / "model", "scalar", model, {"x": np.array([2, 3], np.float32)}, ())
    assert self_test(bundle)["reason"] == "Passed"
    server = start_server(bundle.folder)
    with closing(HTTPConnection("127.0.0.1", server.http, timeout=PATIENCE)) as connection:
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [], "data": [3]}]}
        connection.request("POST", "/v2/models/scalar/infer", json.dumps(body))
        answer = json.loads(connection.getresponse().read())
    assert answer["outputs"][0]["data"] == [9]
    server.stop()


def ended(program: Callable[..., Any], *given: Any) -> BaseProcess:
    process = get_context("spawn").Process(target=program, args=given)
    process.start()
    return process


def test_a_server_that_ends_in_its_trial_is_told() -> None:
    failure = trial._ended(ended(os._exit, 3), "while it answered")
    assert (failure.reason, str(failure)) == ("EngineFailed", "the server ended with exit status 3 while it answered")
    killed = ended(signal.pause)
    killed.kill()
    failure = trial._ended(killed, "while it answered")
    assert (failure.reason, failure.signalled) == ("MemoryExceeded", True)
    assert str(failure) == "the server was killed while it answered: it needs more than the memory limit"


def test_a_server_that_never_was_ready_is_told_with_its_last_word() -> None:
    with pytest.raises(trial.TrialFailed) as raised:
        trial._port(io.StringIO('{"message": "listening", "http_port": 7}\n{"message": "no"}\n'), ended(os._exit, 1))
    words = "the server ended with exit status 1 before it was ready; its last word was: no"
    assert (raised.value.reason, str(raised.value)) == ("EngineFailed", words)


def test_a_model_that_crashes_its_engine_is_told_by_the_signal(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(crashing_detector())
    shapes = (
        {"boxes": (1, 4, 4), "scores": (1, 4, 3)},
        {"found": (1, 4, 4), "of": (1, 4), "sure": (1, 4), "count": (1,)},
    )
    inputs, outputs = ([TensorSpec(name, "FP32", shape) for name, shape in one.items()] for one in shapes)
    samples, answers = ({name: np.ones((2, *shape), np.float32) for name, shape in one.items()} for one in shapes)
    bundle = write_bundle(
        tmp_path / "bundle",
        engine="litert",
        precision="fp32",
        model_file=tmp_path / "model.tflite",
        inputs=inputs,
        outputs=outputs,
        labels=(),
        golden=Golden.of(samples, answers, 0.05),
    )
    finding = self_test(bundle)
    assert (finding["verdict"], finding["reason"]) == ("Failed", "EngineFailed")
    assert finding["message"].startswith(
        "the server ended with signal SIGSEGV before it was ready; its last word was: "
    )


def test_requests_take_a_quarter_of_little_memory() -> None:
    assert [arguments._pending(memory) for memory in (None, 2**40, 512 * MEBIBYTE, 3)] == [
        Limits().bodies,
        Limits().bodies,
        128 * MEBIBYTE,
        MEBIBYTE,
    ]
    options = cli.build_parser().parse_args(["serve", "--max-pending-mib", "16"])
    assert cli._limits(options).body == 16 * MEBIBYTE, "a request that never fits is refused for its length"


def test_bytes_stay_where_batches_are_bounded(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder)
    body = bytes(1000 * 16)
    with closing(HTTPConnection("127.0.0.1", server.http, timeout=PATIENCE)) as connection:
        connection.request("POST", "/v2/models/toy/infer", body, {"Inference-Header-Content-Length": "0"})
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]) == (
            400,
            "input 'x' has a batch of 1000; expected at most 8 (serving.maxBatch)",
        )
    server.stop()


def test_memory_goes_back_when_nothing_is_asked(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, "--max-batch", "2000000")
    pages = Path(f"/proc/{server.process.pid}/statm")

    def resident() -> int:
        return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    rest = resident()
    given = tritonclient.grpc.InferInput("x", [2_000_000, 4], "FP32")
    given.set_data_from_numpy(np.zeros((2_000_000, 4), np.float32))
    with closing(tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")) as client:
        client.infer("toy", [given])
        most = peak_memory(server.process.pid)
        while resident() > rest + 40 * MEBIBYTE:
            pass  # the test's own time limit ends this where it never comes true
    assert most > rest + 128 * MEBIBYTE, "the request needed 32 MB, its answer 64"
    server.stop()
