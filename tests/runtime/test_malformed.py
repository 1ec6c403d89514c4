"""Requests that RFC 9112 has refused, and odd ones that it has taken: where each ends is beyond doubt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.runtime.http1 import head

if TYPE_CHECKING:
    from tests.runtime.http1 import Client

MALFORMED: dict[str, tuple[bytes, int]] = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "TLS": (bytes.fromhex("16030100c8010000c40303") + bytes(50), 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "no Host": (b"GET /v2 HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (head("GET", "/v2", "Host: other"), 400),
    "chunks in HTTP/1.0": (b"POST /v2 HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a tunnel": (b"CONNECT other:80 HTTP/1.1\r\nHost: other\r\n\r\n" + head("GET", "/v2"), 501),
    "a space before the colon": (b"GET /v2 HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "a folded header": (b"GET /v2 HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", 400),
    "two lengths": (head("POST", "/v2", "Content-Length: 1", "Content-Length: 2"), 400),
    "a negative length": (head("POST", "/v2", "Content-Length: -1"), 400),
    "a length that is a word": (head("POST", "/v2", "Content-Length: ten"), 400),
    "a length beyond counting": (head("POST", "/v2", "Content-Length: " + "9" * 30), 400),
    "a length beside chunks": (head("POST", "/v2", "Transfer-Encoding: chunked", "Content-Length: 1"), 400),
    "one length twice": (head("POST", "/v2", "Content-Length: 5", "Content-Length: 5") + b"hello", 400),
    "a length beside an upgrade's chunks": (
        head("POST", "/v2", "Connection: Upgrade", "Upgrade: h2c", "Transfer-Encoding: chunked", length=5),
        400,
    ),
    "chunks twice": (head("POST", "/v2", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400),
    "chunks within chunks": (head("POST", "/v2", "Transfer-Encoding: chunked, chunked"), 400),
    "chunks before another coding": (head("POST", "/v2", "Transfer-Encoding: chunked, identity"), 400),
    "no coding": (head("POST", "/v2", "Transfer-Encoding: "), 400),
    "a coding that is nearly chunked": (head("POST", "/v2", "Transfer-Encoding: xchunked"), 501),
    "a coding with a space of its own": (head("POST", "/v2", "Transfer-Encoding: \x0bchunked"), 400),
    "a coding with a space before the colon": (head("POST", "/v2", "Transfer-Encoding : chunked"), 400),
    "a coding on a folded line": (head("POST", "/v2", "Transfer-Encoding:\r\n chunked"), 400),
    "a space before the first header": (b"GET /v2 HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    "lines that end without a return": (b"GET /v2 HTTP/1.1\nHost: a\n\n", 400),
    "a header that ends without a return": (b"GET /v2 HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    "headers that end without a return": (b"GET /v2 HTTP/1.1\r\nHost: a\r\n\n", 400),
    "a return within a header": (b"GET /v2 HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n", 400),
    "a zero within a header": (head("GET", "/v2", "X: a\0b"), 400),
    "a header without a name": (head("GET", "/v2", ": a"), 400),
    "a header without a colon": (head("GET", "/v2", "X"), 400),
    "a Host that is none": (b"GET /v2 HTTP/1.1\r\nHost: a b/\r\n\r\n", 400),
    "a target that is no URL": (head("GET", "http://a:99999999/v2"), 400),
    "a fragment": (head("GET", "/v2#a"), 400),
    "a version of two digits": (b"GET /v2 HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    "a version that is not there": (b"GET /v2\r\n\r\n", 505),
    "words on chunks that never end": (
        head("POST", "/v2", "Transfer-Encoding: chunked") + (b"1;a=" + b"x" * 10_000 + b"\r\nh\r\n") * 20,
        431,
    ),
    "a word on a chunk that never ends": (
        head("POST", "/v2", "Transfer-Encoding: chunked") + b"1;a=" + b"x" * 200_000,
        431,
    ),
    "a trailer that is a length": (
        head("POST", "/v2", "Transfer-Encoding: chunked") + b"0\r\nContent-Length: 5\r\n\r\n",
        400,
    ),
    "a trailer that is a coding": (
        head("POST", "/v2", "Transfer-Encoding: chunked") + b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "a chunk of no size": (head("POST", "/v2", "Transfer-Encoding: chunked") + b"zz\r\n", 400),
    "another coding": (head("POST", "/v2", "Transfer-Encoding: gzip, chunked"), 501),
    "another expectation": (head("POST", "/v2", "Expect: wonders", length=1), 417),
    "a header that is too long": (b"GET /v2 HTTP/1.1\r\nHost: " + b"a" * 40_000 + b"\r\n\r\n", 431),
    "a header that never ends": (b"GET /v2 HTTP/1.1\r\nHost: " + b"a" * 200_000, 431),
    "a path that never ends": (b"GET /" + b"a" * 200_000, 431),
    "too many headers": (head("GET", "/v2", *(f"X-{index}: 1" for index in range(200))), 431),
    "trailers that never end": (
        head("POST", "/v2", "Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\nX: " + b"a" * 200_000,
        431,
    ),
    "a body that is too long": (head("POST", "/v2/models/toy/infer", length=2**20 + 1), 413),
    "chunks that are too long": (
        head("POST", "/v2/models/toy/infer", "Transfer-Encoding: chunked") + b"200000\r\n" + bytes(2**20 + 65536),
        413,
    ),
}

LENGTHS = ("+5", "0x5", "0_5", "5, 5", "5 5", "", "\x0b5", "5;", "5.0", "\u0665")
CHUNKS = (b"+5", b"-5", b"0x5", b" 5", b"5 ", b"5\t", b"5_", b"", b"5;", b"5 ;a", b"5;a\0", b"1" + b"0" * 15 + b"5")
ENDS = {
    "a size": b"5\nhello\r\n0\r\n\r\n",
    "a size and a return": b"5\rhello\r\n0\r\n\r\n",
    "a word": b"5;a\nhello\r\n0\r\n\r\n",
    "a quoted line": b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n',
    "a chunk": b"5\r\nhello\n0\r\n\r\n",
    "a chunk without an end": b"5\r\nhello0\r\n\r\n",
    "a chunk that is longer": b"5\r\nhello!\r\n0\r\n\r\n",
    "the last chunk": b"5\r\nhello\r\n0\n\n",
    "the end": b"5\r\nhello\r\n0\r\n\n",
}
MALFORMED |= {
    f"a length of {text!r}": (head("POST", "/v2", f"Content-Length: {text}") + b"hello", 400) for text in LENGTHS
}
CHUNKED = head("POST", "/v2", "Transfer-Encoding: chunked")
MALFORMED |= {f"a chunk of {size!r}": (CHUNKED + size + b"\r\nhello\r\n0\r\n\r\n", 400) for size in CHUNKS}
MALFORMED |= {f"{name} that ends otherwise": (CHUNKED + sent, 400) for name, sent in ENDS.items()}


@pytest.mark.parametrize(("data", "expected"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_requests_are_refused_and_the_connection_closed(client: Client, data: bytes, expected: int) -> None:
    client.send(head("GET", "/v2"), data)
    assert client.receive()[0] == 200
    status, headers, body = client.receive()
    assert (status, headers["connection"]) == (expected, "close"), body
    assert json.loads(body)["error"]
    assert client.ended()


ODD = {
    "zeros before a length": head("POST", "/v2", "Content-Length: 0005") + b"hello",
    "blanks around a length": head("POST", "/v2", "Content-Length: \t5 \t") + b"hello",
    "zeros before a chunk's size": CHUNKED + b"0005\r\nhello\r\n0\r\n\r\n",
    "words on a chunk": CHUNKED + b'5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n',
    "a few words on many chunks": CHUNKED + b"1;a=b\r\nx\r\n" * 20_000 + b"0\r\n\r\n",
    "trailers": CHUNKED + b"5\r\nhello\r\n0\r\nHost: b\r\nX: y\r\n\r\n",
    "an empty line before": b"\r\n" + head("GET", "/v2"),
    "another name of a coding": head("POST", "/v2", "Transfer_Encoding: chunked", length=5) + b"hello",
    "a Host with a port": b"GET /v2 HTTP/1.1\r\nHost: [fe80::1]:8000\r\n\r\n",
    "a Host that is empty": b"GET /v2 HTTP/1.1\r\nHost:\r\n\r\n",
    "a Host with a line below": b"GET /v2 HTTP/1.1\r\nHost: my_host.a-b.local\r\n\r\n",
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD.keys())
def test_odd_requests_end_where_they_end(client: Client, data: bytes) -> None:
    client.send(data, head("GET", "/v2/health/ready"))
    assert client.receive()[0] in {200, 405}
    status, _, body = client.receive()
    assert (status, json.loads(body)) == (200, {"ready": True})


def test_the_server_survived_all_that(client: Client) -> None:
    client.send(head("GET", "/v2/health/ready"))
    assert json.loads(client.receive()[2]) == {"ready": True}
