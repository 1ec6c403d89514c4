"""Metrics: the text form, and what a server really counts."""

from __future__ import annotations

import re
from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import grpc
import pytest
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc as services

from edgesmith_runtime.metrics import METRICS, Metrics
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import Server, StartServer

SAMPLE = re.compile(r'(?P<name>[a-z_]+)(?P<labels>\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? (?P<value>\S+)')


def scrape(server: Server) -> str:
    with closing(HTTPConnection("127.0.0.1", server.http, timeout=PATIENCE)) as connection:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return response.read().decode()


def test_a_histogram_counts_upwards() -> None:
    metrics = Metrics()
    for value in (0.0005, 0.0006, 0.3, 99.0):
        metrics.observe("edgesmith_inference_duration_seconds", value=value)
    text = metrics.text()
    assert 'edgesmith_inference_duration_seconds_bucket{le="0.0005"} 1\n' in text
    assert 'edgesmith_inference_duration_seconds_bucket{le="0.001"} 2\n' in text
    assert 'edgesmith_inference_duration_seconds_bucket{le="0.25"} 2\n' in text
    assert 'edgesmith_inference_duration_seconds_bucket{le="10"} 3\n' in text
    assert 'edgesmith_inference_duration_seconds_bucket{le="+Inf"} 4\n' in text
    assert "edgesmith_inference_duration_seconds_count 4\n" in text


def test_labels_are_escaped() -> None:
    metrics = Metrics()
    metrics.put("edgesmith_model_info", 'a"b', "c\\d", "e\nf", "", value=1)
    assert r'edgesmith_model_info{model="a\"b",precision="c\\d",engine="e\nf",digest=""} 1' in metrics.text()


def test_a_server_counts(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder)
    with closing(HTTPConnection("127.0.0.1", server.http, timeout=PATIENCE)) as connection:
        for body in ('{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}', "{"):
            connection.request("POST", "/v2/models/toy/infer", body)
            connection.getresponse().read()
        connection.request("POST", "/v2", headers={"Content-Length": str(2**40)})
        connection.getresponse().read()
    text = scrape(server)
    assert 'edgesmith_requests_total{protocol="http",operation="infer",code="200"} 1\n' in text
    assert 'edgesmith_requests_total{protocol="http",operation="infer",code="400"} 1\n' in text
    assert 'edgesmith_requests_total{protocol="http",operation="other",code="413"} 1\n' in text
    assert 'edgesmith_request_duration_seconds_count{protocol="http"} 2\n' in text
    assert "edgesmith_inference_duration_seconds_count 1\n" in text
    assert "edgesmith_requests_in_flight 0\n" in text
    assert "edgesmith_ready 1\n" in text
    assert f'model="toy",precision="fp32",engine="onnxruntime 1.32.0",digest="{toy.digests["model.onnx"]}"' in text


def test_a_message_that_is_too_large_is_counted_apart_from_a_server_that_is_full(
    toy: Bundle, start_server: StartServer
) -> None:
    server = start_server(toy.folder, "--max-body-mib", "1")
    request = messages.ModelInferRequest(model_name="toy", raw_input_contents=[bytes(2 * 2**20)])
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        for packed in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            with pytest.raises(grpc.RpcError) as once:
                stub.ModelInfer(request, timeout=PATIENCE, compression=packed)
            with pytest.raises(grpc.RpcError) as streamed:
                list(stub.ModelStreamInfer(iter([request]), timeout=PATIENCE, compression=packed))
            assert once.value.code() is streamed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    text = scrape(server)
    assert 'edgesmith_requests_total{protocol="grpc",operation="infer",code="TOO_LARGE"} 3\n' in text
    assert set(re.findall(r'edgesmith_requests_total\{protocol="grpc",.*code="([A-Z_]+)"', text)) == {"TOO_LARGE"}


def test_every_line_is_well_formed_and_declared(toy_server: Server) -> None:
    declared = {metric.name: metric for metric in METRICS}
    seen = set()
    for line in scrape(toy_server).splitlines():
        if line.startswith("# "):
            name = line.split()[2]
            assert line in {f"# HELP {name} {declared[name].help}", f"# TYPE {name} {declared[name].kind}"}
            seen.add(name)
        else:
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            float(match["value"])
            assert re.sub("_(bucket|sum|count)$", "", match["name"]) in declared
    assert seen == set(declared)


def test_what_can_be_counted_is_there_before_it_is() -> None:
    """A counter that appears with its first count has no rate."""
    text = Metrics().text()
    for metric in METRICS:
        for value in metric.values:
            name = f"{metric.name}_count" if metric.kind == "histogram" else metric.name
            assert f'\n{name}{{{metric.labels[0]}="{value}"}} 0\n' in text
    assert {metric.name for metric in METRICS if metric.values} == {
        "edgesmith_request_duration_seconds",
        "edgesmith_runs_total",
        "edgesmith_gate_evidence",
        "edgesmith_golden_replays_total",
        "edgesmith_samples_total",
    }
