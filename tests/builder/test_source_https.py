"""Fetching from web servers that answer well, badly, too much and not at all."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from authority import Authority
from played import Answer, Played

from edgesmith_builder.contract import Artifact
from edgesmith_builder.errors import (
    BuildError,
    DatasetInvalid,
    DigestMismatch,
    RequestInvalid,
    SourceForbidden,
    SourceNotFound,
    SourceUnreachable,
)
from edgesmith_builder.oci import Backoff
from edgesmith_builder.source import Limit, Web, WebLogin

DATA = hashlib.shake_256(b"web").digest(2_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
HALF = 1_000_000
WORD = "t0ken"
QUICK = Backoff(attempts=3, first=0.0, limit=0.0, asked_limit=0.0)
LIMIT = Limit(len(DATA), DatasetInvalid)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> tuple[Path, Path]:
    return authority.sign("web", "IP:127.0.0.1", "DNS:localhost")


Serve = Callable[..., Played]


@pytest.fixture
def serve(certificate: tuple[Path, Path]) -> Iterator[Serve]:
    """Starts a server that gives one answer after the other, the last one for ever; or asks a function."""
    running: list[Played] = []

    def start(answers: Sequence[Answer] | Callable[[BaseHTTPRequestHandler], Answer]) -> Played:
        left = list(answers) if not callable(answers) else []

        def answering(_: BaseHTTPRequestHandler) -> Answer:
            return left.pop(0) if len(left) > 1 else left[0]

        running.append(Played(answers if callable(answers) else answering, certificate).__enter__())
        return running[-1]

    yield start
    for server in running:
        server.__exit__()


class Fetcher:
    def __init__(self, authority: Authority, folder: Path) -> None:
        self.target = folder / "file"
        self._authority = authority

    def __call__(
        self,
        uri: str,
        *,
        sha256: str | None = SHA256,
        login: WebLogin | None = None,
        limit: Limit = LIMIT,
        silence: float = 20.0,
        patience: Backoff = QUICK,
    ) -> bytes:
        web = Web(login, self._authority.pem, patience=patience, silence=silence)
        fetched = web.fetch("spec.source", Artifact(uri=uri, sha256=sha256), self.target, limit)
        data = fetched.path.read_bytes()
        assert (fetched.size, fetched.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        return data


@pytest.fixture
def fetch(authority: Authority, tmp_path: Path) -> Fetcher:
    return Fetcher(authority, tmp_path)


def ranged(etag: str | None = '"1"', data: bytes = DATA, **of: str) -> Callable[[BaseHTTPRequestHandler], Answer]:
    """A server that answers ranges as RFC 9110 has it."""
    tag = {"ETag": etag} if etag else {}

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        found = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if found is None or request.headers.get("If-Range", etag) != etag:
            return Answer(200, data, {**tag, **of})
        first = int(found[1])
        return Answer(206, data[first:], {"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}", **tag, **of})

    return answer


def test_a_file_is_fetched_as_it_is(serve: Serve, fetch: Fetcher) -> None:
    server = serve([Answer(200, DATA)])
    assert fetch(f"{server.endpoint}/models/surface.onnx?version=12") == DATA
    assert server.asked == ["GET /models/surface.onnx?version=12"]
    assert server.headers[0]["Accept-Encoding"] == "identity"
    assert "Authorization" not in server.headers[0]


def test_a_file_that_breaks_off_is_taken_up_where_it_was(serve: Serve, fetch: Fetcher) -> None:
    whole = ranged()
    cuts = iter((HALF, 300_000))

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        found = whole(request)
        found.cut = next(cuts, None)
        return found

    server = serve(answer)
    assert fetch(f"{server.endpoint}/a") == DATA
    asked = [(headers.get("Range"), headers.get("If-Range")) for headers in server.headers]
    assert asked == [(None, None), (f"bytes={HALF}-", '"1"'), (f"bytes={HALF + 300_000}-", '"1"')]


@pytest.mark.parametrize("etag", [None, 'W/"1"'])
def test_without_a_strong_tag_a_file_is_read_from_its_start_again(
    serve: Serve, fetch: Fetcher, etag: str | None
) -> None:
    tag = {"ETag": etag} if etag else {}
    server = serve([Answer(200, b"x" * len(DATA), tag, cut=HALF), Answer(200, DATA, tag)])
    assert fetch(f"{server.endpoint}/a") == DATA
    assert ["Range" in headers for headers in server.headers] == [False, False]


def test_a_server_without_ranges_is_read_on_from_what_is_here(serve: Serve, fetch: Fetcher) -> None:
    tag = {"ETag": '"1"'}
    server = serve([Answer(200, DATA, tag, cut=HALF), Answer(200, DATA, tag)])
    assert fetch(f"{server.endpoint}/a") == DATA


@pytest.mark.parametrize(
    "then",
    [
        [Answer(200, DATA, {"ETag": '"2"'})],
        [Answer(200, DATA)],
        [
            Answer(206, DATA[HALF:], {"ETag": '"2"', "Content-Range": f"bytes {HALF}-1999999/2000000"}),
            Answer(200, DATA),
        ],
        [Answer(416), Answer(200, DATA)],
        [Answer(412), Answer(200, DATA)],
    ],
)
def test_a_file_that_is_replaced_half_way_is_never_two_halves(serve: Serve, fetch: Fetcher, then: list[Answer]) -> None:
    server = serve([Answer(200, b"x" * len(DATA), {"ETag": '"1"'}, cut=HALF), *then])
    assert fetch(f"{server.endpoint}/a") == DATA


def test_a_shorter_file_leaves_nothing_of_the_one_that_it_replaced(serve: Serve, fetch: Fetcher) -> None:
    server = serve([Answer(200, DATA, {"ETag": '"1"'}, cut=HALF), Answer(200, b"short", {"ETag": '"2"'})])
    assert fetch(f"{server.endpoint}/a", sha256=None) == b"short"


@pytest.mark.parametrize(
    "span", [f"bytes {HALF + 1}-1999999/2000000", "", "bytes */2000000", "bytes 99999999999999999999-1/2"]
)
def test_other_bytes_than_those_asked_for_are_not_taken(serve: Serve, fetch: Fetcher, span: str) -> None:
    server = serve([Answer(200, DATA, {"ETag": '"1"'}, cut=HALF), Answer(206, DATA[HALF:], {"Content-Range": span})])
    with pytest.raises(SourceUnreachable, match=r"was answered with other bytes; those from \d+ on were expected"):
        fetch(f"{server.endpoint}/a")
    assert len(server.asked) == QUICK.attempts


def test_a_range_that_ends_early_is_not_the_end(serve: Serve, fetch: Fetcher) -> None:
    part = Answer(206, DATA[HALF:1_500_000], {"Content-Range": f"bytes {HALF}-1499999/2000000"})
    rest = Answer(206, DATA[1_500_000:], {"Content-Range": "bytes 1500000-1999999/2000000"})
    server = serve([Answer(200, DATA, {"ETag": '"1"'}, cut=HALF), part, rest])
    assert fetch(f"{server.endpoint}/a") == DATA


def test_a_file_that_never_moves_ends(serve: Serve, fetch: Fetcher) -> None:
    server = serve([Answer(200, DATA, cut=10)])
    with pytest.raises(SourceUnreachable, match=r"spec\.source\.uri https://127.* gives no whole answer"):
        fetch(f"{server.endpoint}/a")
    assert len(server.asked) == QUICK.attempts


def test_a_byte_at_a_time_is_no_progress(serve: Serve, fetch: Fetcher) -> None:
    whole = ranged()

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        found = whole(request)
        found.cut = 1
        return found

    server = serve(answer)
    with pytest.raises(SourceUnreachable):
        fetch(f"{server.endpoint}/a")
    assert len(server.asked) == QUICK.attempts


def test_a_server_that_says_nothing_is_left(serve: Serve, fetch: Fetcher) -> None:
    server = serve([Answer(200, DATA, {"Content-Length": str(len(DATA) + 1)})])
    with pytest.raises(SourceUnreachable, match=r"gives no whole answer \(ReadTimeout"):
        fetch(f"{server.endpoint}/a", limit=Limit(len(DATA) + 1, DatasetInvalid), silence=0.1)


def test_a_server_that_is_not_there_is_unreachable(fetch: Fetcher) -> None:
    with Played(lambda _: Answer()) as server:
        gone = server.port
    with pytest.raises(SourceUnreachable, match=r"gives no whole answer \(ConnectError"):
        fetch(f"https://127.0.0.1:{gone}/a")


def test_what_is_announced_too_large_is_not_read(serve: Serve, fetch: Fetcher) -> None:
    server = serve([Answer(200, DATA)])
    with pytest.raises(
        DatasetInvalid, match=r"spec\.source\.uri https://.*/a is larger than 1\.0 MB; at most that was"
    ):
        fetch(f"{server.endpoint}/a", limit=Limit(HALF, DatasetInvalid))
    assert fetch.target.stat().st_size == 0


def test_an_answer_without_an_end_is_cut_at_the_limit(serve: Serve, fetch: Fetcher) -> None:
    def endless(request: BaseHTTPRequestHandler) -> Answer:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        while True:  # until the other side hangs up
            request.wfile.write(b"10000\r\n" + b"\0" * 0x10000 + b"\r\n")

    server = serve(endless)
    with pytest.raises(DatasetInvalid, match=r"is larger than 1\.0 MB"):
        fetch(f"{server.endpoint}/a", limit=Limit(HALF, DatasetInvalid))
    assert fetch.target.stat().st_size <= HALF


def test_fewer_bytes_than_the_file_has_are_another_digest(serve: Serve, fetch: Fetcher) -> None:
    server = serve([Answer(200, DATA, {"Content-Length": str(HALF)})])
    with pytest.raises(DigestMismatch, match=r"spec\.source\.sha256 is [0-9a-f]{64} but https://.* has [0-9a-f]{64}"):
        fetch(f"{server.endpoint}/a")


@pytest.mark.parametrize("sha256", ["", "0" * 63, "g" * 64])
def test_a_digest_that_is_none_is_refused(fetch: Fetcher, sha256: str) -> None:
    with pytest.raises(RequestInvalid, match=r"spec\.source\.sha256 is .*; 64 hex digits were expected"):
        fetch("https://127.0.0.1:1/a", sha256=sha256)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_what_comes_packed_is_not_unpacked(serve: Serve, fetch: Fetcher, encoding: str) -> None:
    server = serve([Answer(200, DATA, {"Content-Encoding": encoding})])
    with pytest.raises(RequestInvalid, match=r"comes packed \(Content-Encoding '.*'\); the file as it is was expected"):
        fetch(f"{server.endpoint}/a")


@pytest.mark.parametrize(
    ("status", "kind", "tries", "words"),
    [
        (404, SourceNotFound, 1, r"does not exist \(404 Not Found\); a file was expected there"),
        (410, SourceNotFound, 1, r"does not exist \(410 Gone\)"),
        (
            401,
            SourceForbidden,
            1,
            r"may not be read \(401 Unauthorized\); HTTPS_HOST 127\.0\.0\.1:\d+ with HTTPS_TOKEN, or",
        ),
        (403, SourceForbidden, 1, r"may not be read \(403 Forbidden\)"),
        (429, SourceUnreachable, 3, r"cannot be read \(429 Too Many Requests\)"),
        (500, SourceUnreachable, 3, r"cannot be read \(500 Internal Server Error\)"),
        (503, SourceUnreachable, 3, r"cannot be read \(503 Service Unavailable\)"),
        (599, SourceUnreachable, 3, r"cannot be read \(599\)"),
        (204, RequestInvalid, 1, r"is answered 204 No Content; 200 with the file was expected"),
        (400, RequestInvalid, 1, r"is answered 400 Bad Request"),
        (300, RequestInvalid, 1, r"is answered 300 Multiple Choices"),
    ],
)
def test_what_a_status_means(
    serve: Serve, fetch: Fetcher, status: int, kind: type[BuildError], *, tries: int, words: str
) -> None:
    server = serve([Answer(status)])
    with pytest.raises(kind, match=rf"^spec\.source\.uri https://127\.0\.0\.1:\d+/a {words}"):
        fetch(f"{server.endpoint}/a")
    assert len(server.asked) == tries


def test_a_time_that_a_server_asks_for_is_kept_to(
    serve: Serve, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("edgesmith_builder.source.arriving.time.sleep", slept.append)
    patience = Backoff(attempts=3, first=0.0, limit=0.0, asked_limit=30.0)
    server = serve(
        [Answer(429, headers={"Retry-After": "7"}), Answer(503, headers={"Retry-After": "900"}), Answer(200, DATA)]
    )
    assert fetch(f"{server.endpoint}/a", patience=patience) == DATA
    assert slept == [7.0, 30.0]


# Redirects -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(serve: Serve, fetch: Fetcher, status: int) -> None:
    store = serve([Answer(200, DATA)])
    server = serve([Answer(status, headers={"Location": f"{store.endpoint}/blob?signature=s"})])
    assert fetch(f"{server.endpoint}/a") == DATA
    assert store.asked == ["GET /blob?signature=s"]


def test_a_redirect_may_be_relative(serve: Serve, fetch: Fetcher) -> None:
    server = serve([Answer(302, headers={"Location": "../b"}), Answer(200, DATA)])
    assert fetch(f"{server.endpoint}/x/a") == DATA
    assert server.asked == ["GET /x/a", "GET /b"]


def test_a_redirect_in_a_circle_ends(serve: Serve, fetch: Fetcher) -> None:
    server = serve([Answer(302, headers={"Location": "/a"})])
    with pytest.raises(SourceUnreachable, match=r"leads on more than 5 times; a file was expected in the end"):
        fetch(f"{server.endpoint}/a")
    assert len(server.asked) == 6 * QUICK.attempts


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/a?signature=s", "file:///etc/passwd", "ftp://x/y"])
def test_a_redirect_never_leaves_tls(serve: Serve, fetch: Fetcher, location: str) -> None:
    server = serve([Answer(302, headers={"Location": location})])
    with pytest.raises(RequestInvalid, match=r"leads to '(http|file|ftp):.*'; an https address was expected") as caught:
        fetch(f"{server.endpoint}/a")
    assert "signature=s" not in str(caught.value)
    assert len(server.asked) == 1


def test_a_redirect_to_nowhere_is_said(serve: Serve, fetch: Fetcher) -> None:
    server = serve([Answer(302, headers={"Location": "https://[::1/a"})])
    with pytest.raises(SourceUnreachable, match=r"gives no whole answer \(RemoteProtocolError: Invalid URL"):
        fetch(f"{server.endpoint}/a")


def test_who_refuses_after_a_redirect_is_named(serve: Serve, fetch: Fetcher) -> None:
    store = serve([Answer(404)])
    server = serve([Answer(302, headers={"Location": f"https://localhost:{store.port}/b?signature=s"})])
    with pytest.raises(SourceNotFound, match=r"\(404 Not Found by localhost, where it leads\)") as caught:
        fetch(f"{server.endpoint}/a")
    assert "signature=s" not in str(caught.value)


# Logins --------------------------------------------------------------------------------------------------------------


def credentials(folder: Path, **values: str) -> WebLogin | None:
    secret = folder / "secret"
    secret.mkdir()
    for name, value in values.items():
        (secret / f"HTTPS_{name.upper()}").write_text(value)
    return WebLogin.read(secret, {})


def test_a_token_is_sent_to_the_host_that_it_is_for(serve: Serve, fetch: Fetcher, tmp_path: Path) -> None:
    server = serve([Answer(200, DATA)])
    login = credentials(tmp_path, host=f"127.0.0.1:{server.port}\n", token=WORD + "\n")
    assert fetch(f"{server.endpoint}/a", login=login) == DATA
    assert server.headers[0]["Authorization"] == "Bearer t0ken"


def test_a_name_and_a_password_are_sent_as_basic_has_it(serve: Serve, fetch: Fetcher, tmp_path: Path) -> None:
    server = serve([Answer(200, DATA)])
    host = f"127.0.0.1:{server.port}"
    login = credentials(tmp_path, host=host, username="werk-7", password="Prüf:" + WORD)
    assert fetch(f"{server.endpoint}/a", login=login) == DATA
    assert base64.b64decode(server.headers[0]["Authorization"].removeprefix("Basic ")).decode() == f"werk-7:Prüf:{WORD}"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_login_is_not_sent_on(serve: Serve, fetch: Fetcher, tmp_path: Path, name: str) -> None:
    store = serve([Answer(200, DATA)])
    server = serve([Answer(302, headers={"Location": f"https://{name}:{store.port}/b"})])
    login = credentials(tmp_path, host=f"127.0.0.1:{server.port}", token=WORD)
    assert fetch(f"{server.endpoint}/a", login=login) == DATA
    assert server.headers[0]["Authorization"] == "Bearer t0ken"
    assert "Authorization" not in store.headers[0]


def test_a_login_goes_to_no_other_host_that_a_uri_names(serve: Serve, fetch: Fetcher, tmp_path: Path) -> None:
    server = serve([Answer(401)])
    login = credentials(tmp_path, host="models.example", token=WORD)
    with pytest.raises(SourceForbidden, match=r"HTTPS_HOST 127\.0\.0\.1:\d+ was expected in .*, not models\.example"):
        fetch(f"{server.endpoint}/a", login=login)
    assert "Authorization" not in server.headers[0]


def test_a_login_is_not_won_back_by_a_redirect(serve: Serve, fetch: Fetcher, tmp_path: Path) -> None:
    """Who names a URI may not make a server that asks for a login answer to them by way of a server of their own."""
    locked = serve([Answer(200, DATA)])
    server = serve([Answer(302, headers={"Location": f"{locked.endpoint}/a"})])
    login = credentials(tmp_path, host=f"127.0.0.1:{locked.port}", token=WORD)
    fetch(f"{server.endpoint}/a", login=login)
    assert "Authorization" not in locked.headers[0]


def test_a_login_in_a_redirect_is_not_used(serve: Serve, fetch: Fetcher) -> None:
    store = serve([Answer(200, DATA)])
    server = serve([Answer(302, headers={"Location": f"https://name:word@127.0.0.1:{store.port}/b#c"})])
    assert fetch(f"{server.endpoint}/a") == DATA
    assert "Authorization" not in store.headers[0]


def test_a_login_is_in_no_log_and_no_message(
    serve: Serve, fetch: Fetcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve([Answer(403)])
    login = credentials(tmp_path, host=f"127.0.0.1:{server.port}", token=WORD)
    with pytest.raises(SourceForbidden, match="another HTTPS_TOKEN, or HTTPS_USERNAME and HTTPS_PASSWORD") as caught:
        fetch(f"{server.endpoint}/a?signature=s", login=login)
    said = f"{caught.value} {login!r}"
    assert "t0ken" not in said + caplog.text
    assert "signature=s" not in said


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"token": "t0ken"}, "HTTPS_HOST of the credentials is ''; the HOST or HOST:PORT that they are for"),
        ({"token": "t0ken", "host": "https://x/"}, "HTTPS_HOST of the credentials is 'https://x/'"),
        ({"token": "t0ken", "username": "u"}, "have HTTPS_TOKEN and HTTPS_USERNAME; a token or a name"),
        ({"username": "u"}, "have HTTPS_USERNAME but no HTTPS_PASSWORD"),
        ({"password": "p4ss"}, "have HTTPS_PASSWORD but no HTTPS_USERNAME"),
        ({"token": "t0ken\nX: y", "host": "x"}, "HTTPS_TOKEN has a blank"),
        ({"username": "u:v", "password": "p4ss", "host": "x"}, "HTTPS_USERNAME has a ':'"),
    ],
)
def test_half_a_login_is_refused_without_its_content(tmp_path: Path, values: dict[str, str], words: str) -> None:
    with pytest.raises(RequestInvalid, match=re.escape(words)) as caught:
        credentials(tmp_path, **values)
    assert not re.search("t0ken|p4ss", str(caught.value))


def test_a_login_comes_from_one_place(tmp_path: Path) -> None:
    variables = {"HTTPS_HOST": "x", "HTTPS_USERNAME": "u", "HTTPS_PASSWORD": "p"}
    assert WebLogin.read(None, variables) == WebLogin("x", "Basic dTpw")
    assert WebLogin.read(tmp_path, variables) == WebLogin("x", "Basic dTpw")
    (tmp_path / "HTTPS_TOKEN").write_text("t")
    with pytest.raises(RequestInvalid, match="HTTPS_HOST of the credentials is ''"):
        WebLogin.read(tmp_path, variables)
    assert WebLogin.read(None, {}) is None


# What is no place ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri", ["https://name:word@host/a", "https://host", "https://host/", "https:///a", "https://h/a b", "https://h:x/a"]
)
def test_a_uri_that_is_none_is_refused(fetch: Fetcher, uri: str) -> None:
    with pytest.raises(RequestInvalid, match=r"spec\.source\.uri is '.*'; https://HOST/PATH was expected") as caught:
        fetch(uri)
    assert "word" not in str(caught.value)


def test_a_certificate_that_nobody_trusts_is_said(serve: Serve, tmp_path: Path) -> None:
    server = serve([Answer(200, DATA)])
    with pytest.raises(RequestInvalid, match=r"not trusted .* was expected in bucket\.caBundle of the chart"):
        Web(patience=QUICK).fetch("spec.source", Artifact(uri=f"{server.endpoint}/a"), tmp_path / "file", LIMIT)
    assert server.asked == []


def test_the_environments_proxy_is_asked(fetch: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Played(lambda _: Answer(200)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.endpoint)
        with pytest.raises(SourceUnreachable, match="ProxyError"):
            fetch("https://models.example/a")
    assert proxy.asked == []
