"""Triton's extensions beside inferences: statistics, the repository's index, what is refused, and parameters."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from edgesmith_runtime.codec.parameters import check_parameters
from edgesmith_runtime.errors import BadRequest
from edgesmith_runtime.extensions import REFUSED, REFUSED_CALLS, repository_index
from edgesmith_runtime.statistics import Parts, Statistics
from tests.patience import PATIENCE
from tests.runtime.test_clients import BOTH, connect, tensor

if TYPE_CHECKING:
    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import Server, StartServer


def asked(server: Server, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, Any]:
    request = Request(f"http://127.0.0.1:{server.http}/v2/{path}", body, method=method)
    try:
        with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - a server of this test
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def statistics_of(library: ModuleType, client: Any, name: str = "") -> Any:
    options = {} if library is tritonclient.http else {"as_json": True}
    (found,) = client.get_inference_statistics(name, **options)["model_stats"]
    return found


def infer(library: ModuleType, client: Any, rows: int = 1, **options: Any) -> Any:
    x = np.zeros((rows, 4), np.float32)
    return client.infer("toy", [tensor(library, "x", x, "FP32")], **options)


@BOTH
def test_statistics_count_what_was_inferred(library: ModuleType, toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder)
    with closing(connect(library, server)) as client:
        before = statistics_of(library, client)
        assert int(before.get("inference_count", 0)) == 0
        for rows in (1, 3, 3):
            infer(library, client, rows)
        with pytest.raises(InferenceServerException, match="a batch of 9"):
            infer(library, client, 9)
        with pytest.raises(InferenceServerException, match="timeout"):
            infer(library, client, timeout=1)
        found = statistics_of(library, client, "toy")
    sums = found["inference_stats"]
    assert (found["name"], found["version"]) == ("toy", "1")
    assert (int(found["inference_count"]), int(found["execution_count"])) == (7, 3)
    assert int(found["last_inference"]) > 1.7e12
    assert int(sums["success"]["count"]) == 3
    assert int(sums["fail"]["count"]) == 1, "what does not fit the model is no inference; what came too late is one"
    names = ("queue", "compute_input", "compute_infer", "compute_output")
    assert [int(sums[name]["count"]) for name in names] == [3] * 4
    parts = sum(int(sums[name]["ns"]) for name in names)
    assert abs(parts - int(sums["success"]["ns"])) < 10
    batches = {int(entry["batch_size"]): int(entry["compute_infer"]["count"]) for entry in found["batch_stats"]}
    assert batches == {1: 1, 3: 2}
    assert server.stop() == 0


def test_parts_add_up() -> None:
    statistics = Statistics()
    statistics.answered(2, Parts(0.25, 0.5, 1.0, 0.125))
    statistics.answered(1, Parts(0.25, 0.5, 2.0, 0.125))
    statistics.failed(4.0)
    told = statistics.document()
    assert told["inference_stats"]["success"] == {"count": 2, "ns": 4_750_000_000}
    assert told["inference_stats"]["fail"] == {"count": 1, "ns": 4_000_000_000}
    assert told["inference_stats"]["compute_infer"] == {"count": 2, "ns": 3_000_000_000}
    assert (told["inference_count"], told["execution_count"]) == (3, 2)
    assert [(entry["batch_size"], entry["compute_infer"]["ns"]) for entry in told["batch_stats"]] == [
        (1, 2_000_000_000),
        (2, 1_000_000_000),
    ]


def test_a_run_for_several_requests_is_one() -> None:
    statistics = Statistics()
    parts = Parts(0.5, 0.25, 1.0, 0.25)
    statistics.answered(1, parts, run=3)
    statistics.answered(2, parts, run=0)
    statistics.answered(2, parts)
    told = statistics.document()
    assert (told["inference_count"], told["execution_count"]) == (5, 2)
    assert told["inference_stats"]["success"] == {"count": 3, "ns": 6_000_000_000}
    sizes = {entry["batch_size"]: entry["compute_infer"] for entry in told["batch_stats"]}
    assert sizes == {2: {"count": 1, "ns": 1_000_000_000}, 3: {"count": 1, "ns": 1_000_000_000}}


@BOTH
def test_the_repository_holds_one_model(library: ModuleType, toy_server: Server) -> None:
    with closing(connect(library, toy_server)) as client:
        options = {} if library is tritonclient.http else {"as_json": True}
        found = client.get_model_repository_index(**options)
    models = found if library is tritonclient.http else found["models"]
    assert models == [{"name": "toy", "version": "1", "state": "READY"}]


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("repository/index", b"", 200, [{"name": "toy", "version": "1", "state": "READY"}]),
        ("repository/index", b'{"ready":true}', 200, [{"name": "toy", "version": "1", "state": "READY"}]),
        ("repository/index", b'{"ready":1}', 400, {"error": "ready is 1; expected true or false"}),
        ("repository/index", b"[]", 400, {"error": "the body is not a JSON object; expected none, or ready in one"}),
        (
            "repository/index",
            b'{"ready":[' + b"0," * 3000 + b"0]}",
            413,
            {"error": "the body has 6013 bytes; expected at most 4096"},
        ),
        (
            "repository/other/index",
            b"",
            404,
            {"error": "repository 'other' is not served here; expected none to be named"},
        ),
    ],
)
def test_the_index_over_http(toy_server: Server, path: str, body: bytes, status: int, said: Any) -> None:
    assert asked(toy_server, path, "POST", body) == (status, said)


@pytest.mark.parametrize(
    ("ready", "draining", "expected"),
    [
        (True, False, {"state": "READY"}),
        (False, True, {"state": "UNLOADING", "reason": "the server is stopping"}),
        (False, False, {"state": "UNAVAILABLE", "reason": "a run of the model hangs"}),
    ],
)
def test_the_index_tells_the_state(ready: bool, draining: bool, expected: dict[str, str]) -> None:  # noqa: FBT001 - pytest gives them
    model = SimpleNamespace(signature=SimpleNamespace(name="toy"))
    service: Any = SimpleNamespace(model=lambda: model, ready=ready, draining=draining)
    assert repository_index(service) == [{"name": "toy", "version": "1"} | expected]
    assert repository_index(service, ready=True) == (repository_index(service) if ready else [])


REFUSED_PAGES = {
    "repository/models/toy/load": "load",
    "repository/models/toy/unload": "unload",
    "repository/own/models/toy/load": "load",
    "logging": "logging",
    "trace/setting": "trace",
    "models/toy/trace/setting": "trace",
    **{
        f"{kind}sharedmemory{region}/{what}": "sharedmemory"
        for kind in ("system", "cuda")
        for region, what in (("", "status"), ("/region/a", "status"), ("/region/a", "register"), ("", "unregister"))
    },
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", REFUSED_PAGES)
def test_what_is_not_done_is_said(toy_server: Server, path: str, method: str) -> None:
    body = b"{}" if method == "POST" else None
    assert asked(toy_server, path, method, body) == (404, {"error": REFUSED[REFUSED_PAGES[path]]})


CALLS: dict[str, Callable[[Any], Any]] = {
    "load": lambda client: client.load_model("toy"),
    "unload": lambda client: client.unload_model("toy"),
    "trace": lambda client: client.get_trace_settings(),
    "logging": lambda client: client.get_log_settings(),
    "sharedmemory": lambda client: client.get_system_shared_memory_status(),
}


@BOTH
@pytest.mark.parametrize("what", CALLS)
def test_a_client_is_told_what_is_not_done(library: ModuleType, toy_server: Server, what: str) -> None:
    with closing(connect(library, toy_server)) as client, pytest.raises(InferenceServerException) as caught:
        CALLS[what](client)
    assert caught.value.message() == REFUSED[what]
    assert caught.value.status() in {"404", "StatusCode.UNIMPLEMENTED"}


@pytest.mark.parametrize("call", REFUSED_CALLS)
def test_every_refused_call_has_its_sentence(toy_server: Server, call: str) -> None:
    with tritonclient.grpc.grpc.insecure_channel(f"127.0.0.1:{toy_server.grpc}") as channel:
        method = channel.unary_unary(f"/inference.GRPCInferenceService/{call}")
        with pytest.raises(tritonclient.grpc.grpc.RpcError) as caught:
            method(b"", timeout=PATIENCE)
    assert caught.value.details() == REFUSED[REFUSED_CALLS[call]]


TAKEN: list[dict[str, Any]] = [
    {},
    {"anything": 1.5, "other": "x", "third": True, "headers": "a"},
    {"priority": 3, "timeout": 10_000_000},
    {"sequence_id": 0, "sequence_start": False, "sequence_end": False},
    {"sequence_id": ""},
    {"binary_data_output": True},
]


@pytest.mark.parametrize("parameters", TAKEN)
def test_parameters_that_are_taken(parameters: dict[str, Any]) -> None:
    assert check_parameters(parameters) == parameters.get("timeout", 0)


NOT_TAKEN: list[tuple[dict[str, Any], str]] = [
    ({"anything": [1]}, "parameter 'anything' is a list; expected a number, a boolean or a string"),
    ({"anything": None}, "parameter 'anything' is null; expected a number"),
    ({"anything": {}}, "parameter 'anything' is an object; expected a number"),
    ({"triton_x": 1}, "parameter 'triton_x' is reserved; expected no name that begins with 'triton_'"),
    ({"triton_enable_empty_final_response": True}, "is reserved; expected no name"),
    ({"priority": -1}, "priority is -1; expected a whole number from 0"),
    ({"priority": True}, "priority is True; expected a whole number from 0"),
    ({"timeout": "5"}, "timeout is '5'; expected a whole number from 0"),
    ({"timeout": 1.0}, "timeout is 1.0; expected a whole number from 0"),
    ({"sequence_id": 7}, "sequence_id is 7; expected none, since nothing is kept between requests"),
    ({"sequence_id": "a"}, "sequence_id is 'a'; expected none"),
    ({"sequence_start": True}, "sequence_start is True; expected none"),
    ({"sequence_end": 1}, "sequence_end is 1; expected true or false"),
]


@pytest.mark.parametrize(("parameters", "expected"), NOT_TAKEN)
def test_parameters_that_are_not_taken(parameters: dict[str, Any], expected: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check_parameters(parameters)
    assert expected in str(caught.value)


def test_a_stream_may_ask_for_its_last_answer() -> None:
    check_parameters({"triton_enable_empty_final_response": True}, ("triton_enable_empty_final_response",))


@BOTH
def test_parameters_arrive(library: ModuleType, toy_server: Server) -> None:
    with closing(connect(library, toy_server)) as client:
        infer(library, client, parameters={"anything": "x"}, priority=2, timeout=30_000_000)
        with pytest.raises(InferenceServerException, match="sequence_id is 5; expected none"):
            infer(library, client, sequence_id=5)
        with pytest.raises(InferenceServerException, match="expected at most its timeout of 1 µs") as caught:
            infer(library, client, timeout=1)
    assert caught.value.status() in {"503", "StatusCode.UNAVAILABLE"}
