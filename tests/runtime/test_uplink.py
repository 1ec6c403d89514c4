"""One object to a played bucket: signatures, refusals and clocks."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self

import pytest
from authority import Authority
from minio.credentials.credentials import Credentials
from minio.signer import sign_v4_s3
from played import Answer, Played, refused

from edgesmith_runtime.uplink.answers import REASONS, Outcome
from edgesmith_runtime.uplink.bucket import Bucket, Target
from edgesmith_runtime.uplink.clock import BucketClock
from edgesmith_runtime.uplink.credentials import Login
from edgesmith_runtime.uplink.rate import Rate
from edgesmith_runtime.uplink.signing import Keys, path_of, signed

DATA = b"a sample" * 100
DIGEST = hashlib.sha256(DATA).hexdigest()
KEYS = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


def test_the_signature_is_that_of_amazons_example() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "Example: PUT Object"."""
    headers = {
        "Host": "examplebucket.s3.amazonaws.com",
        "Date": "Fri, 24 May 2013 00:00:00 GMT",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
    }
    digest = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()
    found = signed(KEYS, "/test%24file.text", headers, digest, 1369353600.0)["Authorization"]
    assert found.endswith("Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")


def test_a_path_is_encoded_as_it_is_signed() -> None:
    assert path_of("models", "a b/ü+$~.npz") == "/models/a%20b/%C3%BC%2B%24~.npz"


def answering(*answers: Answer | Callable[[BaseHTTPRequestHandler], Answer]) -> Any:
    """One answer after the other, the last of them for ever; bodies are read."""
    left = list(answers)

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        request.rfile.read(int(request.headers.get("Content-Length", 0)))
        one = left.pop(0) if len(left) > 1 else left[0]
        return one(request) if callable(one) else one

    return answer


MADE = list[Bucket]()


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().close()


def bucket(clock: BucketClock | None = None, rate: Rate | None = None, authority: Path | None = None) -> Bucket:
    MADE.append(Bucket(Target("samples", "edge/n1/plant/m", authority), clock or BucketClock(), rate or Rate(10**9)))
    return MADE[-1]


def login(store: Played) -> Login:
    return Login(KEYS, f"127.0.0.1:{store.port}", store.certificate is not None)


def put(store: Played, to: Bucket | None = None) -> Outcome:
    return (to or bucket()).put(login(store), DIGEST, DATA)


def test_a_put_is_of_the_digest_under_the_nodes_prefix_where_none_is() -> None:
    with Played(answering(Answer())) as store:
        assert put(store) == Outcome("Sent", sent=len(DATA))
    assert store.asked == [f"PUT /samples/edge/n1/plant/m/{DIGEST}.npz"]
    sent = {name.lower(): value for name, value in store.headers[0].items()}
    assert (sent["if-none-match"], sent["content-length"]) == ("*", str(len(DATA)))
    assert sent["x-amz-content-sha256"] == DIGEST
    assert "transfer-encoding" not in sent


def test_a_session_token_is_signed_as_another_client_signs_it() -> None:
    keys = Keys("AK", "secret", "to ken", "eu-west-1")
    headers = {"Host": "h:9000", "Content-Length": "5"}
    at = 1.7e9
    ours = signed(keys, "/b/k", headers, DIGEST, at)
    from datetime import UTC, datetime  # noqa: PLC0415
    from urllib.parse import urlsplit  # noqa: PLC0415

    theirs = sign_v4_s3(
        method="PUT", url=urlsplit("http://h:9000/b/k"), region="eu-west-1",
        headers={key: value for key, value in ours.items() if key != "Authorization"},
        credentials=Credentials("AK", "secret", "to ken"), content_sha256=DIGEST, date=datetime.fromtimestamp(at, UTC),
    )  # fmt: skip
    assert ours["Authorization"].rpartition("=")[2] == str(theirs["Authorization"]).rpartition("=")[2]


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (refused(412, "PreconditionFailed"), "AlreadyThere", ""),
        (refused(403, "AccessDenied"), "Forbidden", "keys that may put"),
        (refused(403, "SignatureDoesNotMatch"), "Forbidden", "keys that may put"),
        (refused(404, "NoSuchBucket"), "NoBucket", "a bucket of this name"),
        (refused(301, "PermanentRedirect", Location="http://elsewhere/"), "Elsewhere", "AWS_REGION"),
        (refused(400, "AuthorizationHeaderMalformed"), "Elsewhere", "AWS_REGION"),
        (refused(503, "SlowDown"), "SlowDown", "later"),
        (refused(429, ""), "SlowDown", "later"),
        (refused(507, "XMinioStorageFull"), "Full", "room"),
        (refused(409, "ConditionalRequestConflict"), "Conflict", "asked again"),
        (refused(500, "InternalError"), "Failed", "500 InternalError"),
        (Answer(200, b"<Error/>"), "Sent", ""),
        (Answer(418, b"\xff\xfe<Code>" + b"A" * 100), "Failed", "418"),
    ],
)
def test_each_refusal_has_its_reason_and_its_sentence(answer: Answer, reason: str, words: str) -> None:
    with Played(answering(answer)) as store:
        found = put(store)
    assert found.reason == reason
    assert found.reason in REASONS
    assert words in found.message
    assert "Not you" not in found.message


def test_a_bucket_that_knows_no_condition_is_asked_without_from_then_on() -> None:
    with Played(answering(refused(501, "NotImplemented"), Answer(), Answer())) as store:
        one = bucket()
        assert put(store, one).reason == "Sent"
        assert put(store, one).reason == "Sent"
    assert [headers.get("If-None-Match") for headers in store.headers] == ["*", None, None]


def test_a_bucket_says_for_how_long_to_wait() -> None:
    with Played(answering(refused(503, "SlowDown", **{"Retry-After": "120"}))) as store:
        assert put(store).wait == 120
    with Played(answering(refused(503, "SlowDown", **{"Retry-After": "999999999"}))) as store:
        assert put(store).wait == 3600
    with Played(answering(refused(503, "SlowDown", **{"Retry-After": "soon"}))) as store:
        assert put(store).wait == 0


def test_nobody_there_is_unreachable_and_an_answer_that_is_cut_is_an_answer() -> None:
    found = bucket().put(Login(KEYS, "127.0.0.1:1", secure=False), DIGEST, DATA)
    assert found.reason == "Unreachable"
    with Played(answering(Answer(200, b"12345", {"Content-Length": "50"}, cut=2))) as store:
        assert put(store).reason == "Sent"


def test_a_connection_that_was_closed_meanwhile_is_opened_again_at_once() -> None:
    with Played(answering(Answer(), Answer(200, b"", cut=0), Answer())) as store:
        one = bucket()
        assert [put(store, one).reason for _ in range(4)] == ["Sent"] * 4


# Clocks ---------------------------------------------------------------------------------------------------------------


def strict(true: float, skew: float = 900) -> Callable[[BaseHTTPRequestHandler], Answer]:
    """A bucket with a clock of its own that takes no request of another time."""

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        from datetime import UTC, datetime  # noqa: PLC0415

        if "x-amz-date" not in request.headers:
            return refused(403, "AccessDenied")
        said = datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        day = request.headers["Authorization"].split("Credential=")[1].split("/")[1]
        right = abs(said - true) <= skew and day == datetime.fromtimestamp(said, UTC).strftime("%Y%m%d")
        return Answer() if right else refused(403, "RequestTimeTooSkewed")

    return answer


class Dated(Played):
    """A played bucket whose `Date` is what it is told: the base class of Python's server writes its own first."""

    date = 0.0

    def __enter__(self) -> Self:
        super().__enter__()
        handler: Any = self._server.RequestHandlerClass
        handler.date_time_string = lambda *_: formatdate(self.date, usegmt=True)
        return self


@pytest.mark.parametrize("years", [-50, -3, 3, 70])
def test_a_clock_that_is_wrong_by_years_is_set_by_the_bucket_at_once(years: float) -> None:
    true = 1.8e9
    wall = [true + years * 365.25 * 86400]
    running = [1000.0]
    clock = BucketClock(lambda: wall[0], lambda: running[0])
    with Dated(answering(strict(true))) as store:
        store.date = true
        one = bucket(clock)
        found = put(store, one)
        assert (found.reason, found.wait) == ("Sent", 0)
        assert len(store.asked) == 2
        running[0] += 60
        wall[0] = true + 60  # somebody set it right: what was learnt still holds
        assert put(store, one).reason == "Sent"
        assert len(store.asked) == 3


def test_a_date_that_is_none_changes_nothing() -> None:
    clock = BucketClock(lambda: 5e8, lambda: 1.0)
    for date in (None, "", "soon", "Mon, 99 Foo 2020", formatdate(5e8 + 30, usegmt=True)):
        assert not clock.hear(date)
    assert clock.now() == 5e8
    assert clock.hear(formatdate(6e8, usegmt=True))
    assert clock.now() == 6e8


def test_a_bucket_that_never_agrees_is_not_asked_on_and_on() -> None:
    with Dated(answering(refused(403, "RequestTimeTooSkewed"))) as store:
        store.date = time.time() + 1e8
        assert put(store).reason == "ClockWrong"
        assert len(store.asked) == 2


def test_a_certificate_is_asked_for_and_must_be_trusted(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    with Played(answering(Answer()), authority.sign("store")) as store:
        found = put(store)
        assert (found.reason, "not trusted" in found.message) == ("Distrusted", True)
        assert store.asked == []
        assert put(store, bucket(authority=authority.file)).reason == "Sent"
