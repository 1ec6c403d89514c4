"""Which bytes lie on a web server where nobody gave a digest: servers that answer anyhow."""

from __future__ import annotations

import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from authority import Authority
from looker import NEW, OLD, QUICK, Looker, Serve, make_authority, make_serve, make_work, methods, sha256
from played import Answer

from edgesmith_builder.contract import (
    VALIDATOR_LIMIT,
)
from edgesmith_builder.errors import (
    DatasetInvalid,
    ModelInvalid,
    RequestInvalid,
    SourceForbidden,
    SourceNotFound,
    SourceUnreachable,
)
from edgesmith_builder.limits import DATASET, MODEL
from edgesmith_builder.source import Sources, Web
from edgesmith_builder.source.https.validator import validator_of

work = pytest.fixture(make_work)
authority = pytest.fixture(scope="module")(make_authority)
serve = pytest.fixture(make_serve)


def test_a_page_s_bytes_are_counted_when_it_is_read_and_known_without(serve: Serve, ask: Looker) -> None:
    server = serve(lambda _: Answer(body=OLD, headers={"ETag": '"1"'}))
    first = ask(f"{server.endpoint}/a")
    assert (first.bytes, ask(f"{server.endpoint}/a", first).bytes) == (len(OLD), len(OLD))


def test_a_length_of_nothing_is_none(serve: Serve, ask: Looker) -> None:
    """Some servers answer HEAD so, whatever they answer GET."""
    server = serve(lambda request: Answer(body=b"" if request.command == "HEAD" else OLD, headers={"ETag": '"1"'}))
    first = ask(f"{server.endpoint}/a")
    assert (first.bytes, ask(f"{server.endpoint}/a", first).bytes) == (len(OLD), None)


@pytest.fixture
def ask(authority: Authority, work: Path) -> Looker:
    return Looker(Sources({"https": Web(None, authority.pem, patience=QUICK)}), work)


def test_a_page_with_a_strong_tag_is_read_once(serve: Serve, ask: Looker) -> None:
    now = [Answer(body=OLD, headers={"ETag": '"1"'})]
    server = serve(lambda _: now[0])
    uri = f"{server.endpoint}/model.onnx?token=s3cret"
    first = ask(uri)
    assert (first.sha256, first.validator) == (sha256(OLD), '"1"')
    assert ask(uri, first) == first
    assert methods(server) == ["HEAD", "GET", "HEAD"]
    now[0] = Answer(body=NEW, headers={"ETag": '"2"'})
    assert ask(uri, first).sha256 == sha256(NEW)


def ago(seconds: float) -> str:
    """A date as HTTP has it; the played server says the present one with each answer."""
    return formatdate(time.time() - seconds, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "reads"),
    [
        ({}, 2),
        ({"ETag": 'W/"1"'}, 2),
        ({"Last-Modified": ago(3600)}, 2),
        ({"ETag": 'W/"1"', "Last-Modified": ago(-86_400)}, 2),
        ({"ETag": 'W/"1"', "Last-Modified": "a while ago"}, 2),
        ({"ETag": 'W/"1"', "Last-Modified": ago(3600).replace("GMT", "+99999999999999999")}, 2),
        ({"ETag": 'W/"1"', "Last-Modified": ago(3600).replace("GMT", "-0000")}, 1),
        ({"ETag": 'W/"1"', "Last-Modified": ago(3600)}, 1),
    ],
    ids=[
        "nothing",
        "weak",
        "date",
        "weak and just written",
        "weak and no date",
        "absurd zone",
        "no zone",
        "weak and old",
    ],
)
def test_without_a_word_that_means_the_same_bytes_a_page_is_read_each_time(
    serve: Serve, ask: Looker, headers: dict[str, str], reads: int
) -> None:
    server = serve(lambda _: Answer(body=OLD, headers=headers))
    first = ask(f"{server.endpoint}/a")
    assert ask(f"{server.endpoint}/a", first).sha256 == sha256(OLD)
    assert methods(server).count("GET") == reads


@pytest.mark.parametrize(("seconds", "settled"), [(59, False), (60, True)])
def test_a_date_says_something_after_a_minute(seconds: int, settled: bool) -> None:  # noqa: FBT001 - a column of the table
    headers = {"ETag": 'W/"1"', "Last-Modified": formatdate(1000), "Date": formatdate(1000 + seconds)}
    assert (validator_of(headers) is not None) == settled


@pytest.mark.parametrize("status", [403, 405, 501])
def test_a_server_that_does_not_answer_head_is_read(serve: Serve, ask: Looker, status: int) -> None:
    tag = {"ETag": '"1"'}
    server = serve(
        lambda request: Answer(status, headers=tag) if request.command == "HEAD" else Answer(body=OLD, headers=tag)
    )
    first = ask(f"{server.endpoint}/a")
    assert (first.sha256, first.validator) == (sha256(OLD), '"1"')
    ask(f"{server.endpoint}/a", first)
    assert methods(server).count("GET") == 2


def test_the_validator_is_of_the_answer_that_was_read(serve: Serve, ask: Looker) -> None:
    """Changed between the two requests: the next look must not take the old tag's file for what it had."""
    answers = {"HEAD": Answer(headers={"ETag": '"1"'}), "GET": Answer(body=NEW, headers={"ETag": '"2"'})}
    server = serve(lambda request: answers[request.command])
    found = ask(f"{server.endpoint}/a")
    assert (found.sha256, found.validator) == (sha256(NEW), '"2"')


def test_a_redirect_is_followed_and_the_file_behind_it_counts(serve: Serve, ask: Looker) -> None:
    lies = ["/1"]

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        if request.path == "/latest":
            return Answer(302, headers={"Location": lies[0]})
        return Answer(body={"/1": OLD, "/2": NEW}[request.path], headers={"ETag": f'"{request.path}"'})

    uri = f"{serve(answer).endpoint}/latest"
    first = ask(uri)
    lies[0] = "/2"
    assert [first.sha256, ask(uri, first).sha256] == [sha256(OLD), sha256(NEW)]


def test_a_redirect_without_tls_is_refused(serve: Serve, ask: Looker) -> None:
    server = serve(lambda _: Answer(302, headers={"Location": "http://127.0.0.1/a"}))
    with pytest.raises(RequestInvalid, match="an https address was expected"):
        ask(f"{server.endpoint}/a")


@pytest.mark.parametrize(
    ("field", "size", "error"),
    [
        ("source", MODEL, ModelInvalid),
        ("compiled[EdgeTPU]", MODEL, ModelInvalid),
        ("evaluation", DATASET, DatasetInvalid),
    ],
)
def test_a_file_that_is_too_large_is_not_read(
    serve: Serve, ask: Looker, field: str, size: int, error: type[Exception]
) -> None:
    server = serve(lambda _: Answer(body=b"", headers={"Content-Length": str(size + 1), "ETag": '"1"'}))
    with pytest.raises(error, match="is larger than"):
        ask(f"{server.endpoint}/a", field=field)
    assert methods(server) == ["HEAD"]


@pytest.mark.parametrize(("status", "error"), [(404, SourceNotFound), (403, SourceForbidden), (503, SourceUnreachable)])
def test_a_server_that_has_no_file_for_us(serve: Serve, ask: Looker, status: int, error: type[Exception]) -> None:
    server = serve(lambda _: Answer(status))
    with pytest.raises(error, match=r"spec\.compiled\[EdgeTPU\]\.uri"):
        ask(f"{server.endpoint}/a", field="compiled[EdgeTPU]")


def test_a_web_server_that_is_down_is_said_so(ask: Looker) -> None:
    with pytest.raises(SourceUnreachable, match="gives no whole answer"):
        ask("https://127.0.0.1:9/a")


def test_a_long_tag_is_kept_short_and_known_again(serve: Serve, ask: Looker) -> None:
    server = serve(lambda _: Answer(body=OLD, headers={"ETag": f'"{"x" * 500}"'}))
    first = ask(f"{server.endpoint}/a")
    assert len(first.validator or "") == VALIDATOR_LIMIT
    assert ask(f"{server.endpoint}/a", first) == first
    assert methods(server).count("GET") == 1
