"""HTTP/1.1 on raw sockets: what clients may send, in which pieces, and what they get for sending something else."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import subprocess
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from needs import left_out

from tests.runtime.http1 import Client, head

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.conftest import Server

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, -2, 3, -4]}]}).encode()
RELU = [1.0, 0.0, 3.0, 0.0]


def infer(*headers: str, body: bytes = BODY) -> bytes:
    return head("POST", "/v2/models/toy/infer", *headers, length=len(body)) + body


def relu_of(body: bytes) -> list[float]:
    values: list[float] = json.loads(body)["outputs"][0]["data"]
    return values


def test_a_connection_is_kept(client: Client) -> None:
    for _ in range(3):
        client.send(infer())
        status, headers, body = client.receive()
        assert (status, headers["content-type"], relu_of(body)) == (200, "application/json", RELU)
        assert "connection" not in headers
        assert "date" in headers


def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    client.send(b"".join([infer(), head("GET", "/v2/health/live"), infer(), head("GET", "/nope")] * 10))
    for _ in range(10):
        assert relu_of(client.receive()[2]) == RELU
        assert json.loads(client.receive()[2]) == {"live": True}
        assert relu_of(client.receive()[2]) == RELU
        assert client.receive()[0] == 404


def test_a_request_may_come_byte_by_byte(client: Client) -> None:
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in infer():
        client.send(bytes([byte]))
    assert relu_of(client.receive()[2]) == RELU


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_body_may_come_in_chunks(client: Client, size: int) -> None:
    client.send(head("POST", "/v2/models/toy/infer", "Transfer-Encoding: chunked"))
    for start in range(0, len(BODY), size):
        piece = BODY[start : start + size]
        client.send(f"{len(piece):x};ext=1\r\n".encode(), piece, b"\r\n")
    client.send(b"0\r\nTrailer: ignored\r\n\r\n", infer())
    assert relu_of(client.receive()[2]) == RELU
    assert relu_of(client.receive()[2]) == RELU


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_body_may_be_compressed(client: Client, name: str, pack: Any) -> None:
    client.send(infer(f"Content-Encoding: {name}", body=pack(BODY)))
    assert relu_of(client.receive()[2]) == RELU


def test_what_inflates_beyond_the_limit_is_refused(client: Client) -> None:
    client.send(infer("Content-Encoding: gzip", body=gzip.compress(bytes(200 * 2**20), 9)))
    status, _, body = client.receive()
    assert status == 413
    assert b"the body is over 1048576 bytes inflated" in body


@pytest.mark.parametrize("body", [b"plain", gzip.compress(BODY)[:-3], gzip.compress(BODY) + b"more"])
def test_a_broken_compression_is_refused(client: Client, body: bytes) -> None:
    client.send(infer("Content-Encoding: gzip", body=body))
    status, _, answer = client.receive()
    assert status == 400
    assert b"gzip" in answer


def test_an_unknown_compression_is_refused(client: Client) -> None:
    client.send(infer("Content-Encoding: br"))
    assert client.receive()[2] == b'{"error":"Content-Encoding is \'br\'; expected gzip, deflate or identity"}'


def test_a_long_answer_is_compressed_where_that_is_asked_for(client: Client) -> None:
    data = [0.5] * 4000
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1000, 4], "data": data}]}).encode()
    client.send(infer("Accept-Encoding: br, gzip;q=0, deflate", body=body))
    _, headers, answer = client.receive()
    assert headers["content-encoding"] == "deflate"
    assert relu_of(zlib.decompress(answer)) == data


def test_a_binary_answer_is_never_compressed(client: Client) -> None:
    body = bytes(4000 * 4)
    client.send(infer("Accept-Encoding: gzip", "Inference-Header-Content-Length: 0", body=body))
    _, headers, answer = client.receive()
    assert "content-encoding" not in headers
    assert answer[int(headers["inference-header-content-length"]) :][:16000] == body


def test_binary_tensors_both_ways(client: Client) -> None:
    document = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}],
        "outputs": [{"name": "relu", "parameters": {"binary_data": True}}, {"name": "softmax"}],
    }
    text = json.dumps(document).encode()
    body = text + np.array([1, -2, 3, -4], "<f4").tobytes()
    client.send(infer(f"Inference-Header-Content-Length: {len(text)}", body=body))
    _, headers, answer = client.receive()
    length = int(headers["inference-header-content-length"])
    assert headers["content-type"] == "application/octet-stream"
    outputs = json.loads(answer[:length])["outputs"]
    assert outputs[0]["parameters"] == {"binary_data_size": 16}
    assert len(outputs[1]["data"]) == 4
    assert np.frombuffer(answer[length:], "<f4").tolist() == RELU


def test_a_bare_tensor(client: Client) -> None:
    body = np.array([1, -2, 3, -4], "<f4").tobytes()
    client.send(infer("Inference-Header-Content-Length: 0", body=body))
    _, headers, answer = client.receive()
    length = int(headers["inference-header-content-length"])
    assert np.frombuffer(answer[length : length + 16], "<f4").tolist() == RELU


def test_a_client_may_wait_for_leave_to_send(client: Client) -> None:
    client.send(head("POST", "/v2/models/toy/infer", "Expect: 100-continue", length=len(BODY)))
    expected = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert client.socket.recv(len(expected), socket.MSG_WAITALL) == expected
    client.send(BODY)
    assert relu_of(client.receive()[2]) == RELU


def test_leave_is_not_given_for_what_is_too_long(client: Client) -> None:
    client.send(head("POST", "/v2/models/toy/infer", "Expect: 100-continue", length=2**30))
    assert client.receive()[0] == 413


def test_head_has_the_headers_of_get_and_no_body(client: Client) -> None:
    client.send(head("HEAD", "/v2/models/toy"), head("GET", "/v2/models/toy"))
    _, first, nothing = client.receive("HEAD")
    _, second, body = client.receive()
    assert nothing == b""
    assert first["content-length"] == second["content-length"] == str(len(body))


def test_the_old_protocol_is_spoken(client: Client) -> None:
    client.send(b"GET /v2/health/live HTTP/1.0\r\n\r\n")
    status, headers, _ = client.receive()
    assert (status, headers["connection"]) == (200, "close")
    assert client.ended()


def test_close_is_obeyed(client: Client) -> None:
    client.send(head("GET", "/v2/health/live", "Connection: close"), head("GET", "/v2"))
    assert client.receive()[1]["connection"] == "close"
    assert client.ended()


def test_a_client_that_stops_sending_gets_its_answers(client: Client) -> None:
    client.send(infer(), infer())
    client.socket.shutdown(socket.SHUT_WR)
    assert relu_of(client.receive()[2]) == RELU
    assert relu_of(client.receive()[2]) == RELU
    assert client.ended()


def test_an_upgrade_is_ignored(client: Client) -> None:
    client.send(head("GET", "/v2/health/live", "Connection: Upgrade", "Upgrade: h2c"), head("GET", "/v2/health/live"))
    assert client.receive()[0] == 200
    assert client.receive()[0] == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_an_upgrade_of_curl_gets_its_own_answer(toy_server: Server, chunked: bool) -> None:  # noqa: FBT001 - pytest gives it
    command = ["curl", "-sS", "-m", "20", "--http2", "--data-binary", "@-"]
    if chunked:
        command += ["-H", "Transfer-Encoding: chunked"]
    for first in range(1, 5):
        body = BODY.replace(b"[1, -2, 3, -4]", f"[{first}, 2, 3, 4]".encode())
        url = f"http://127.0.0.1:{toy_server.http}/v2/models/toy/infer"
        answer = subprocess.run([*command, url], input=body, capture_output=True, check=True)
        assert relu_of(answer.stdout) == [first, 2.0, 3.0, 4.0]


JAVA = """
import java.net.URI;
import java.net.http.*;

public class Asks {
    public static void main(String[] given) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int i = 1; i < given.length; i++) {
            HttpRequest asked = HttpRequest.newBuilder(URI.create(given[0]))
                .POST(HttpRequest.BodyPublishers.ofString(given[i])).build();
            System.out.println(client.send(asked, HttpResponse.BodyHandlers.ofString()).body());
        }
        System.exit(0);
    }
}
"""


def test_an_upgrade_of_java_gets_its_own_answer(toy_server: Server, tmp_path: Path) -> None:
    if shutil.which("java") is None:
        left_out("there is no java, whose HTTP client asks for HTTP/2 first")
    (tmp_path / "Asks.java").write_text(JAVA)
    bodies = [BODY.replace(b"[1, -2, 3, -4]", f"[{first}, 2, 3, 4]".encode()).decode() for first in range(1, 4)]
    url = f"http://127.0.0.1:{toy_server.http}/v2/models/toy/infer"
    ran = subprocess.run(["java", str(tmp_path / "Asks.java"), url, *bodies], capture_output=True, check=True)
    assert [relu_of(line)[0] for line in ran.stdout.splitlines()] == [1.0, 2.0, 3.0]


def test_pipelined_upgrades_with_bodies_get_their_own_answers(client: Client) -> None:
    bodies = [BODY.replace(b"[1, -2, 3, -4]", f"[{first}, 2, 3, 4]".encode()) for first in range(30)]
    client.send(b"".join(infer("Connection: Upgrade", "Upgrade: h2c", body=body) for body in bodies))
    assert [relu_of(client.receive()[2])[0] for _ in bodies] == list(range(30))


SURROGATES = {
    "a shape": BODY.replace(b"[1, 4]", rb'"\ud800"'),
    "a name": BODY.replace(b'"x"', rb'"\ud800"'),
    "a datatype": BODY.replace(b'"FP32"', rb'["\udfff"]'),
    "data": BODY.replace(b"[1, -2, 3, -4]", rb'"\ud800"'),
    "an id that is a list": BODY.replace(b"{", rb'{"id": ["\ud800"], ', 1),
    "a parameter": BODY.replace(b"{", rb'{"parameters": {"binary_data_output": "\ud800"}, ', 1),
    "a size": BODY.replace(b'"data"', rb'"parameters": {"binary_data_size": "\ud800"}, "data"'),
    "an output": BODY.replace(b"{", rb'{"outputs": [{"name": "\ud800"}], ', 1),
    "an output's parameters": BODY.replace(b"{", rb'{"outputs": [{"name": "\ud800", "parameters": 1}], ', 1),
}


@pytest.mark.parametrize("body", SURROGATES.values(), ids=SURROGATES.keys())
def test_a_lone_surrogate_is_answered(client: Client, body: bytes) -> None:
    client.send(infer(body=body), infer())
    status, _, answer = client.receive()
    assert (status, list(json.loads(answer))) == (400, ["error"])
    assert relu_of(client.receive()[2]) == RELU


def test_an_id_comes_back_as_it_came(client: Client) -> None:
    client.send(infer(body=BODY.replace(b"{", rb'{"id": "\ud800 \u00fc \ud83d\ude00", ', 1)))
    status, _, answer = client.receive()
    assert (status, json.loads(answer)["id"]) == (200, "\ud800 ü \U0001f600")


def test_an_escaped_name_and_a_query_are_understood(client: Client) -> None:
    client.send(head("GET", "/v2/models/%74oy/versions/1?verbose=1"))
    assert json.loads(client.receive()[2])["versions"] == ["1"]


PAGES: dict[str, tuple[str, str, int, str]] = {
    "no such page": ("GET", "/v3", 404, "path '/v3' is not known"),
    "no such model": ("GET", "/v2/models/other", 404, "model 'other' is not served here; expected 'toy'"),
    "no such version": ("GET", "/v2/models/toy/versions/2", 404, "model 'toy' has no version '2'; expected '1'"),
    "no such version to ask": ("POST", "/v2/models/toy/versions/x/infer", 404, "has no version 'x'"),
    "asking with GET": ("GET", "/v2/models/toy/infer", 405, "method GET is not allowed here; expected POST"),
    "deleting": ("DELETE", "/v2", 405, "method DELETE is not allowed here; expected GET or HEAD"),
    "an empty request": ("POST", "/v2/models/toy/infer", 400, "the body is not JSON"),
}


@pytest.mark.parametrize(("method", "path", "expected", "sentence"), PAGES.values(), ids=PAGES.keys())
def test_what_cannot_be_answered(client: Client, method: str, path: str, expected: int, sentence: str) -> None:
    client.send(head(method, path, length=0 if method == "POST" else None), head("GET", "/v2"))
    status, headers, body = client.receive()
    assert (status, headers["content-type"]) == (expected, "application/json")
    assert sentence in json.loads(body)["error"]
    assert ("allow" in headers) == (expected == 405)
    assert client.receive()[0] == 200, "the connection must still be good"
