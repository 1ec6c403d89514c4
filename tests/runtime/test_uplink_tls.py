"""The uplink and a bucket over TLS where the node's clock is wrong by years: what is sent, and who is refused.

The clock of this machine is the node's, so the bucket lives in other years: its certificates and its `Date` do.
"""

from __future__ import annotations

import ctypes
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from http.client import NotConnected
from pathlib import Path
from typing import Any

import pytest
from dated_certificates import Holder, Span, authority, server
from played import Answer, Played

from edgesmith_runtime.spool.disk import RealDisk
from edgesmith_runtime.spool.spool import Spool
from edgesmith_runtime.uplink.answers import Outcome
from edgesmith_runtime.uplink.bucket import Bucket, Target
from edgesmith_runtime.uplink.certificates import Good, good_of, leave_out_time, trusting
from edgesmith_runtime.uplink.clock import BucketClock, kept_by_kernel
from edgesmith_runtime.uplink.command import Uplink, UplinkSettings
from edgesmith_runtime.uplink.connecting import connect
from edgesmith_runtime.uplink.credentials import Login
from edgesmith_runtime.uplink.rate import Rate
from edgesmith_runtime.uplink.standing import FILE, OBJECTS, Standing
from edgesmith_runtime.uplink.told import Told
from edgesmith_runtime.version import VERSION, WRITTEN
from tests.patience import PATIENCE
from tests.runtime.test_uplink import DATA, DIGEST, KEYS, Dated, answering, strict

YEAR = 365.25 * 86400.0
NOW = time.time()


def years(first: float, last: float) -> Span:
    """From so many years from now to so many."""
    return NOW + first * YEAR, NOW + last * YEAR


@dataclass
class Node:
    """A node that trusts one authority, and its uplink."""

    folder: Path
    clock: BucketClock
    made: list[Bucket]

    def put(self, store: Played, clock: BucketClock | None = None) -> Outcome:
        """Put an object, over a connection that is kept for the next."""
        if not self.made or clock is not None:
            target = Target("samples", "edge/n1/plant/m", self.folder / "ca.crt")
            self.made.append(Bucket(target, clock or self.clock, Rate(10**9)))
        return self.made[-1].put(Login(KEYS, f"127.0.0.1:{store.port}", secure=True), DIGEST, DATA)

    def trusts(self, root: Holder) -> None:
        (self.folder / "ca.crt").write_bytes(root.pem)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    found = Node(tmp_path, clock(), [])
    yield found
    for one in found.made:
        one.close()


def clock(earliest: float = 0.0, *, kept: bool = False) -> BucketClock:
    return BucketClock(earliest=earliest, kept=lambda: kept)


def store_of(node: Node, good: Span, date: float, *answers: Any) -> Dated:
    """A bucket at another time, whose certificates are good then, and that takes no other time's requests."""
    root = authority(good)
    node.trusts(root)
    found = Dated(answering(*(answers or (strict(date),))), server(node.folder, good, root))
    found.date = date
    return found


@pytest.mark.parametrize("away", [-30, -2, 2, 20])
def test_a_clock_that_is_wrong_by_years_is_set_over_tls_as_well(node: Node, away: float) -> None:
    true = NOW + away * YEAR
    with store_of(node, years(away - 1, away + 1), true) as store:
        assert node.put(store) == Outcome("Sent", sent=len(DATA))
        assert node.put(store).reason == "Sent"
        assert [one.split("/")[0] for one in store.asked] == ["HEAD ", "PUT ", "PUT "]
        assert abs(node.clock.now() - true) < 60
        node.made[-1].close()  # the line breaks: what was learnt is not asked again
        assert node.put(store).reason == "Sent"
    assert [one.split("/")[0] for one in store.asked] == ["HEAD ", "PUT ", "PUT ", "PUT "]
    asked = {name.lower() for name in store.headers[0]}
    assert not asked & {"authorization", "x-amz-date", "x-amz-security-token", "content-length"}, "nobody is known yet"


@pytest.mark.parametrize(
    ("good", "date"),
    [
        pytest.param((-3, -1), 0.0, id="expired, and the clock is right"),
        pytest.param((1, 3), 0.0, id="not good yet, and the clock is right"),
        pytest.param((-3, -1), 5.0, id="good at neither time"),
    ],
)
def test_a_certificate_that_is_not_good_at_the_buckets_own_time_is_refused(node: Node, good: Span, date: float) -> None:
    with store_of(node, years(*good), NOW + date * YEAR, Answer()) as store:
        found = node.put(store)
        assert (found.reason, "nor at one that it says" in found.message) == ("Distrusted", True)
    assert not [one for one in store.asked if one.startswith("PUT")]
    assert abs(node.clock.now() - time.time()) < 60, "nor is its time believed"


def test_an_old_key_with_an_old_time_is_refused_where_a_later_time_is_known(node: Node) -> None:
    """Who has the key of a certificate that expired can say any time at which it was good."""
    with store_of(node, years(-3, -1), NOW - 2 * YEAR, Answer()) as store:
        assert node.put(store, clock(earliest=NOW - 1.5 * YEAR)).reason == "Distrusted"
        assert node.put(store, clock(kept=True)).reason == "Distrusted"
        assert node.put(store, BucketClock(kept=lambda: False)).reason == "Distrusted", "it is older than the program"
        assert [one for one in store.asked if one.startswith("PUT")] == []
        assert node.put(store, clock(earliest=NOW - 2.5 * YEAR)).reason == "Sent"


def test_what_was_learnt_of_one_bucket_holds_for_all_certificates(node: Node) -> None:
    with store_of(node, years(4, 6), NOW + 5 * YEAR) as store:
        assert node.put(store).reason == "Sent"
        node.made[-1].close()
    with store_of(node, years(-3, -1), NOW - 2 * YEAR, Answer()) as store:
        found = node.put(store)
        assert (found.reason, "the time that is known" in found.message) == ("Distrusted", True)
        assert store.asked == []


def test_one_that_is_not_trusted_is_asked_nothing_at_any_time(node: Node) -> None:
    with store_of(node, years(4, 6), NOW + 5 * YEAR, Answer()) as store:
        node.trusts(authority(years(-50, 50)))
        found = node.put(store)
        assert (found.reason, "not trusted" in found.message) == ("Distrusted", True)
        node.trusts(authority(years(4, 6)))
        assert node.put(store).reason == "Distrusted"
    assert store.asked == []


def test_a_clock_that_is_kept_says_nothing_of_one_that_is_not_trusted(node: Node) -> None:
    with store_of(node, years(4, 6), NOW + 5 * YEAR, Answer()) as store:
        node.trusts(authority(years(-50, 50)))
        assert "not trusted" in node.put(store, clock(kept=True)).message


@pytest.mark.parametrize(("address", "right"), [("127.0.0.1", True), ("localhost", False)])
def test_time_is_all_that_is_left_out(node: Node, address: str, right: bool) -> None:  # noqa: FBT001 - a table's column
    with store_of(node, years(4, 6), NOW + 5 * YEAR, Answer()) as store:
        for root, known in ((None, True), (authority(years(4, 6)), False)):
            if root is not None:
                node.trusts(root)
            trust = trusting(node.folder / "ca.crt")
            leave_out_time(trust)
            with socket.create_connection(("127.0.0.1", store.port), PATIENCE) as line:
                try:
                    with trust.wrap_socket(line, server_hostname=address) as secured:
                        found = good_of(secured)
                except ssl.SSLCertVerificationError:
                    found = None
            assert (found is not None) is (right and known)


def test_its_name_is_held_at_any_time(node: Node) -> None:
    with store_of(node, years(4, 6), NOW + 5 * YEAR, Answer()) as store:
        target = Target("samples", "edge/n1/plant/m", node.folder / "ca.crt")
        node.made.append(Bucket(target, node.clock, Rate(10**9)))
        found = node.made[-1].put(Login(KEYS, f"localhost:{store.port}", secure=True), DIGEST, DATA)
        assert (found.reason, "not trusted" in found.message) == ("Distrusted", True)
    assert store.asked == []


@pytest.mark.parametrize(("middle", "reason"), [((-3, 6), "Sent"), ((-3, -1), "Distrusted")])
def test_every_certificate_of_the_chain_is_good_at_the_time_that_is_said(node: Node, middle: Span, reason: str) -> None:
    root = authority(years(-10, 10))
    node.trusts(root)
    between = authority(years(*middle), root)
    found = Dated(answering(Answer()), server(node.folder, years(-3, 6), between, between))
    found.date = NOW + (5 if middle[1] > 0 else 0) * YEAR
    with found as store:
        assert node.put(store).reason == reason


def test_a_bucket_with_a_good_certificate_says_what_time_is_over(node: Node) -> None:
    with store_of(node, years(-1, 1), NOW, Answer()) as store:
        assert node.put(store).reason == "Sent"
        assert abs(node.clock.earliest - NOW) < 60
    other = Node(node.folder, clock(), [])
    with store_of(node, years(-1, 1), NOW + 5 * YEAR, Answer()) as store:
        assert other.put(store).reason == "Sent"
        assert other.clock.earliest == 0.0, "a time at which its certificates are not good proves nothing"
    other.made[-1].close()


def test_a_bucket_without_tls_says_nothing_for_sure() -> None:
    one = clock()
    assert one.hear(formatdate(NOW + YEAR, usegmt=True))
    assert (one.known, one.earliest) == (None, 0.0)
    assert not one.learn(None, Good(0.0, NOW + YEAR))
    assert not one.learn("soon", Good(0.0, NOW + YEAR))


def test_what_has_no_chain_proves_nothing() -> None:
    assert good_of(None) is None
    assert good_of(object()) is None


KEPT = {0: True, 4: True, 5: False, -1: False}
"""What adjtimex(2) answers, and whether the clock is kept then."""


@pytest.mark.parametrize("state", KEPT)
def test_the_kernel_says_whether_its_clock_is_kept(monkeypatch: pytest.MonkeyPatch, state: int) -> None:
    assert kept_by_kernel() in (True, False)

    class Library:
        def __init__(self, _: None) -> None:
            pass

        def adjtimex(self, asked: Any) -> int:
            assert not any(asked.raw), "it is asked and not set"
            assert len(asked) >= 208
            return state

    monkeypatch.setattr(ctypes, "CDLL", Library)
    assert kept_by_kernel() is KEPT[state]


def test_a_time_is_over_as_soon_as_the_program_was_written_and_each_version_says_so_anew() -> None:
    """Where the version was raised, raise both; `version.py` says how."""
    assert (VERSION, WRITTEN) == ("0.1.0", 1_795_996_800)
    assert NOW > WRITTEN
    assert BucketClock().earliest == WRITTEN


def test_what_is_known_to_be_over_outlasts_the_uplink(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgesmith_runtime.uplink.command.BucketClock", partial(BucketClock, kept=lambda: False))
    (node.folder / OBJECTS).mkdir()
    spool = Spool(RealDisk(), node.folder / OBJECTS, 1 << 20)
    standing, ended, log = node.folder / FILE, Told(), node.folder / "log"
    ended.set()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        (node.folder / name).write_text("some")
    with store_of(node, years(4, 6), NOW + 5 * YEAR) as store:
        settings = UplinkSettings(
            node.folder, ("samples", "edge"), "plant/m", "n1", node.folder, store.endpoint, 10**9,
            node.folder / "ca.crt", 60.0, log,
        )  # fmt: skip
        spool.put(b"one", value=1)
        Uplink(settings, ended).run()
        assert Standing.read(standing).reason == "Sent"
        assert abs(Standing.read(standing).earliest - store.date) < 60
        store.date -= 0.5 * YEAR
        spool.put(b"two", value=1)
        Uplink(settings, ended).run()
        assert Standing.read(standing).reason == "Distrusted"
        assert len(spool.kept()) == 1


def test_a_connection_is_not_opened_anew_where_nobody_judges_its_certificate(node: Node) -> None:
    with store_of(node, years(4, 6), NOW + 5 * YEAR) as store:
        login = Login(KEYS, f"127.0.0.1:{store.port}", secure=True)
        connection, good = connect(login, node.folder / "ca.crt", node.clock)
        assert good is not None
        connection.close()
        with pytest.raises(NotConnected):
            connection.request("HEAD", "/")
