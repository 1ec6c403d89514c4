"""The uplink as a whole: keys, rates, what is tried next, and how it ends."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from played import Answer, Played, refused

from edgesmith_runtime.spool.disk import RealDisk
from edgesmith_runtime.spool.kept import Kept
from edgesmith_runtime.spool.spool import Spool, Waiting
from edgesmith_runtime.uplink.command import Uplink, UplinkSettings
from edgesmith_runtime.uplink.credentials import CredentialsInvalid, read_login
from edgesmith_runtime.uplink.rate import Rate
from edgesmith_runtime.uplink.standing import Standing
from edgesmith_runtime.uplink.told import Told
from tests.patience import PATIENCE

PAIR = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
PIECE = 16_384

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


def uplink(tmp_path: Path, endpoint: str, ending: Told, drain: float = 5.0, rate: int = 10**9) -> Uplink:
    settings = UplinkSettings(
        tmp_path / "spool", ("samples", "edge"), "plant/m", "n1", tmp_path / "keys", endpoint, rate, None, drain,
        tmp_path / "log",
    )  # fmt: skip
    return Uplink(settings, ending)


class Clock(Told):
    """Seconds that pass where somebody waits, and nowhere else; it is set once so many have.

    Args:
        told: After how many.
    """

    def __init__(self, told: float, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.now = 0.0
        self._after = told
        monkeypatch.setattr("edgesmith_runtime.uplink.ending.time", self)
        monkeypatch.setattr("edgesmith_runtime.uplink.command.Rate", partial(Rate, now=self.monotonic))

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def is_set(self) -> bool:
        return self.now >= self._after

    def wait(self, seconds: float) -> bool:
        self.now = min(self.now + seconds, max(self.now, self._after))
        return self.is_set()


def keys(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(exist_ok=True)
    write(tmp_path / "keys", **dict.fromkeys(PAIR, "some"))


def test_what_waits_is_sent_at_the_end_and_what_is_refused_stays(tmp_path: Path, spool: Spool) -> None:
    for number in range(5):
        spool.put(str(number).encode(), value=number)
    keys(tmp_path)
    ending = Told()
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


def test_the_rate_holds_to_the_end_and_what_cannot_go_whole_is_not_begun(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys(tmp_path)
    spool.put(bytes(400_000), value=900)
    for number in range(100):
        spool.put(str(number).encode() * 10_000, value=number)
    ending = Clock(0.0, monkeypatch)
    taken = []

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        taken.append(int(request.headers["Content-Length"]))
        request.rfile.read(taken[-1])
        return Answer()

    with Played(answer) as store:
        uplink(tmp_path, store.endpoint, ending, drain=1.5, rate=100_000).run()
    assert 1.0 < ending.now <= 1.5
    assert 100_000 < sum(taken) <= 100_000 * ending.now + PIECE, "the one of 400,000 would take four seconds"


def test_what_is_under_way_at_the_end_goes_no_faster_and_is_given_up_in_time(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys(tmp_path)
    spool.put(bytes(400_000), value=9)
    ending, over = Clock(1.0, monkeypatch), threading.Event()
    got = [0]

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        while got[0] < 400_000 and (piece := request.rfile.read1(PIECE)):
            got[0] += len(piece)
        over.set()
        return Answer()

    with Played(answer) as store:
        uplink(tmp_path, store.endpoint, ending, drain=0.5, rate=100_000).run()
        assert over.wait(PATIENCE)
    assert 1.0 < ending.now <= 1.5, "it would take four seconds"
    assert 100_000 < got[0] <= 100_000 * ending.now + PIECE
    assert len(spool.kept()) == 1


def test_keys_may_come_later_and_a_mistake_of_its_own_ends_nothing(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.put(b"one", value=1)
    ending, sent = Told(), threading.Event()
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
        assert sent.wait(PATIENCE)
        ending.set()
        thread.join()
    assert spool.kept() == []


def test_what_cannot_be_read_of_a_standing_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "uplink.json"
    counts = (
        '{"counts": {"Sent": ' + count + '}, "sent": 0, "reason": "", "message": ""}' for count in ('"x"', "1e999")
    )
    for text in ("", "[]", '{"counts": 3}', *counts):
        path.write_text(text)
        assert Standing.read(path) == Standing()
    said = '{"counts": {"Sent": 3, "Evil": 4}, "sent": 7, "reason": "Sent", "message": ""'
    path.write_text(said + "}")
    assert Standing.read(path) == Standing({"Sent": 3}, 7, "Sent", "")
    for earliest, read in (("1.8e9", 1.8e9), ("NaN", 0.0), ("Infinity", 0.0)):
        path.write_text(f'{said}, "earliest": {earliest}}}')
        assert Standing.read(path).earliest == read


# Disks that fail ------------------------------------------------------------------------------------------------------


class Faulty(RealDisk):
    """Some files cannot be read, and as long as it is read-only none is removed."""

    def __init__(self, unreadable: bytes = b"") -> None:
        self.read_only = True
        self._unreadable = unreadable

    def read(self, path: Path) -> bytes:
        data = super().read(path)
        if data == self._unreadable:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return data

    def remove(self, path: Path) -> None:
        if self.read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        super().remove(path)


def sends(tmp_path: Path, disk: Faulty, looks: int) -> tuple[list[str], Uplink]:
    """What was asked of a bucket in so many looks."""
    keys(tmp_path)
    with Played(lambda request: (request.rfile.read(int(request.headers["Content-Length"])), Answer())[1]) as store:
        found = uplink(tmp_path, f"http://127.0.0.1:{store.port}", Told())
        found._waiting = found._left._waiting = Waiting(disk, tmp_path / "spool" / "objects")
        for _ in range(looks):
            found._step()
        found._bucket.close()
        return store.asked, found


def test_what_cannot_be_removed_is_sent_once_and_removed_when_it_can_be(tmp_path: Path, spool: Spool) -> None:
    for number in range(3):
        spool.put(str(number).encode(), value=number)
    disk = Faulty()
    asked, sending = sends(tmp_path, disk, 8)
    assert len(asked) == len(set(asked)) == len(spool.kept()) == 3
    disk.read_only = False
    sending._step()
    assert (spool.kept(), sending._left._stored) == ([], set())


def test_one_that_cannot_be_read_keeps_no_other_back(
    tmp_path: Path, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        spool.put(str(number).encode(), value=number)
    disk = Faulty(b"2")
    disk.read_only = False
    with caplog.at_level(logging.WARNING):
        asked, sending = sends(tmp_path, disk, 9)
    assert len(asked) == 2
    assert [one.digest for one in spool.kept()] == [hashlib.sha256(b"2").hexdigest()]
    assert sending._standing.counts["DiskFailed"] >= 2
    assert sending.last_words == "a sample cannot be read from the node's disk: Input/output error"
    assert len(caplog.records) <= 3


def test_a_folder_that_cannot_be_listed_is_said_once(
    tmp_path: Path, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    del spool
    sending = uplink(tmp_path, "http://127.0.0.1:1", Told())
    (tmp_path / "spool" / "objects").rmdir()
    assert sending._step() > 0
    (tmp_path / "spool" / "objects").write_bytes(b"a file in its place")
    with caplog.at_level(logging.INFO):
        assert all(sending._step() > 0 for _ in range(5))
    assert [record.message for record in caplog.records] == [
        "samples wait: the samples cannot be read from the node's disk: Not a directory"
    ]
