"""The uplink against a played bucket: signatures, refusals, clocks, rates, and what is tried next."""

from __future__ import annotations

import hashlib
import threading
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
from played import Answer, Played

from edgesmith_runtime.spool.disk import RealDisk
from edgesmith_runtime.spool.spool import Kept, Spool
from edgesmith_runtime.uplink.answers import REASONS, Outcome
from edgesmith_runtime.uplink.bucket import Bucket, Target
from edgesmith_runtime.uplink.clock import BucketClock
from edgesmith_runtime.uplink.command import Uplink, UplinkSettings
from edgesmith_runtime.uplink.credentials import CredentialsInvalid, Login, read_login
from edgesmith_runtime.uplink.rate import Rate
from edgesmith_runtime.uplink.signing import Keys, path_of, signed
from edgesmith_runtime.uplink.standing import Standing

PAIR = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
PIECE = 16_384
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


def refused(status: int, code: str, **headers: str) -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code><Message>Not you.</Message></Error>".encode(), headers)


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


# Credentials ----------------------------------------------------------------------------------------------------------


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_each_node_has_keys_of_its_own_in_the_secret(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        AWS_ENDPOINT_URL="https://minio.example:9000",
        AWS_REGION="eu-1\n",
        **{"edge-1": "AWS_ACCESS_KEY_ID=one\nAWS_SECRET_ACCESS_KEY = 1=1\n# a line\nOTHER=x\n"},
    )
    found = read_login(folder, "edge-1")
    assert (found.keys.access, found.keys.secret, found.keys.region) == ("one", "1=1", "eu-1")
    assert (found.host, found.secure) == ("minio.example:9000", True)
    assert "1=1" not in repr(found)
    for node in ("edge-2", "", "../edge-1", "."):
        with pytest.raises(CredentialsInvalid, match="no keys for this node"):
            read_login(folder, node)


def test_keys_of_all_nodes_are_taken_where_a_node_has_none_and_never_mixed(tmp_path: Path) -> None:
    folder = write(tmp_path, **{PAIR[0]: "all\n", PAIR[1]: "s\n", "half": "AWS_ACCESS_KEY_ID=h"})
    found = read_login(folder, "edge-1", "http://h:1")
    assert (found.keys.access, found.host, found.secure) == ("all", "h:1", False)
    assert read_login(folder, "edge-1").host == "s3.us-east-1.amazonaws.com"
    with pytest.raises(CredentialsInvalid):
        read_login(folder, "half")
    with pytest.raises(CredentialsInvalid, match="AWS_ENDPOINT_URL is no address"):
        read_login(write(folder, AWS_ENDPOINT_URL="http://user:pass@h/"), "edge-1")


# The whole of it ------------------------------------------------------------------------------------------------------


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    (tmp_path / "spool" / "objects").mkdir(parents=True)
    return Spool(RealDisk(), tmp_path / "spool" / "objects", 1 << 20)


def uplink(tmp_path: Path, endpoint: str, ending: threading.Event, drain: float = 5.0, rate: int = 10**9) -> Uplink:
    settings = UplinkSettings(
        tmp_path / "spool", ("samples", "edge"), "plant/m", "n1", tmp_path / "keys", endpoint, rate, None, drain,
        tmp_path / "log",
    )  # fmt: skip
    return Uplink(settings, ending)


def keys(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(exist_ok=True)
    write(tmp_path / "keys", **dict.fromkeys(PAIR, "some"))


def test_what_waits_is_sent_at_the_end_and_what_is_refused_stays(tmp_path: Path, spool: Spool) -> None:
    for number in range(5):
        spool.put(str(number).encode(), value=number)
    keys(tmp_path)
    ending = threading.Event()
    ending.set()
    taken = list[str]()

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        body = request.rfile.read(int(request.headers["Content-Length"])).decode()
        taken.append(body)
        return refused(403, "AccessDenied") if body == "2" else Answer()

    with Played(answer) as store:
        one = uplink(tmp_path, store.endpoint, ending)
        one.run()
        assert "keys that may put" in one.last_words
        assert taken == ["4", "3", "2"]  # the first refusal is the last try: the pod is to end
        uplink(tmp_path, store.endpoint, ending).run()
    assert [spool.read(kept) for kept in spool.kept()] == [b"0", b"1", b"2"]
    found = Standing.read(tmp_path / "spool" / "uplink.json")
    assert found.counts == {"Sent": 2, "Forbidden": 2}
    assert found.reason == "Forbidden"


def test_the_rate_holds_to_the_end_and_what_cannot_go_whole_is_not_begun(tmp_path: Path, spool: Spool) -> None:
    keys(tmp_path)
    spool.put(bytes(400_000), value=900)
    for number in range(100):
        spool.put(str(number).encode() * 10_000, value=number)
    ending = threading.Event()
    ending.set()
    taken = []

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        taken.append(int(request.headers["Content-Length"]))
        request.rfile.read(taken[-1])
        return Answer()

    with Played(answer) as store:
        start = time.monotonic()
        uplink(tmp_path, store.endpoint, ending, drain=1.5, rate=100_000).run()
        took = time.monotonic() - start
    assert 1.0 < took < 3.0
    assert 50_000 < sum(taken) <= 100_000 * took + PIECE, "the one of 400,000 would take four seconds"


def test_what_is_under_way_at_the_end_goes_no_faster_and_is_given_up_in_time(tmp_path: Path, spool: Spool) -> None:
    keys(tmp_path)
    spool.put(bytes(400_000), value=9)
    ending, begun = threading.Event(), threading.Event()
    got = [0]

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        while got[0] < 400_000 and (piece := request.rfile.read1(PIECE)):
            got[0] += len(piece)
            begun.set()
        return Answer()

    with Played(answer) as store:
        thread = threading.Thread(target=uplink(tmp_path, store.endpoint, ending, drain=0.5, rate=100_000).run)
        start = time.monotonic()
        thread.start()
        assert begun.wait(20)
        ending.set()
        thread.join(20)
        took = time.monotonic() - start
        assert not thread.is_alive()
    assert took < 2.0, "it would take four seconds"
    assert got[0] <= 100_000 * took + PIECE
    assert len(spool.kept()) == 1


def test_keys_may_come_later_and_a_mistake_of_its_own_ends_nothing(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.put(b"one", value=1)
    ending, sent = threading.Event(), threading.Event()
    for name, seconds in (("command._FAILED", 0.01), ("command._LOOK", 0.01), ("sending._FIRST", 0.001)):
        monkeypatch.setattr(f"edgesmith_runtime.uplink.{name}", seconds)
    failures: Iterator[Exception] = iter([ZeroDivisionError("of its own")])
    read = Spool.read

    def reading(self: Spool, one: Kept) -> bytes | None:
        for failure in failures:
            raise failure
        return read(self, one)

    monkeypatch.setattr("edgesmith_runtime.spool.spool.Waiting.read", reading)

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        request.rfile.read(int(request.headers["Content-Length"]))
        sent.set()
        return Answer()

    with Played(answer) as store:
        one = uplink(tmp_path, store.endpoint, ending)
        thread = threading.Thread(target=one.run)
        thread.start()
        keys(tmp_path)
        assert sent.wait(20)
        ending.set()
        thread.join()
    assert spool.kept() == []


def test_what_cannot_be_read_of_a_standing_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "uplink.json"
    for text in ("", "[]", '{"counts": 3}', '{"counts": {"Sent": "x"}, "sent": 0, "reason": "", "message": ""}'):
        path.write_text(text)
        assert Standing.read(path) == Standing()
    path.write_text('{"counts": {"Sent": 3, "Evil": 4}, "sent": 7, "reason": "Sent", "message": ""}')
    assert Standing.read(path) == Standing({"Sent": 3}, 7, "Sent", "")
