"""The uplink against a real MinIO: keys that write under one prefix alone, and a line that is cut anywhere."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from line import Line
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import S3Error
from minio.versioningconfig import VersioningConfig
from services import STORE_PASSWORD, STORE_USER, start_minio

from edgesmith_runtime.bundle import Bundle
from edgesmith_runtime.spool.disk import RealDisk
from edgesmith_runtime.spool.spool import Spool
from edgesmith_runtime.uplink.bucket import Bucket, Target
from edgesmith_runtime.uplink.clock import BucketClock
from edgesmith_runtime.uplink.credentials import read_login
from edgesmith_runtime.uplink.rate import Rate
from tests.patience import PATIENCE
from tests.runtime.conftest import StartServer

BUCKET = "samples"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["s3:PutObject"],
            "Resource": [f"arn:aws:s3:::{BUCKET}/edge/${{aws:username}}/*"],
        }
    ],
}
"""What docs/samples.md tells to set up: users named as nodes are, who can put objects under their own name."""


class Store:
    """A MinIO with a user for each of two nodes."""

    def __init__(self, folder: Path) -> None:
        self._server = start_minio(folder / "minio")
        self.address = self._server.address
        self.root = Minio(endpoint=self.address, access_key=STORE_USER, secret_key=STORE_PASSWORD, secure=False)
        self.root.make_bucket(bucket_name=BUCKET)
        # What is written twice has two versions.
        self.root.set_bucket_versioning(bucket_name=BUCKET, config=VersioningConfig("Enabled"))
        admin = MinioAdmin(endpoint=self.address, credentials=StaticProvider(STORE_USER, STORE_PASSWORD), secure=False)
        (folder / "policy.json").write_text(json.dumps(POLICY))
        admin.policy_add("edge-nodes", str(folder / "policy.json"))
        self.secret = folder / "secret"
        self.secret.mkdir()
        (self.secret / "AWS_ENDPOINT_URL").write_text(f"http://{self.address}")
        for node in ("edge-1", "edge-2"):
            admin.user_add(node, f"secret-of-{node}")
            admin.policy_set("edge-nodes", user=node)
            (self.secret / node).write_text(f"AWS_ACCESS_KEY_ID={node}\nAWS_SECRET_ACCESS_KEY=secret-of-{node}\n")

    def stop(self) -> None:
        self._server.stop()

    def there(self, prefix: str = "") -> dict[str, bytes]:
        """Every object by its key; each was written once."""
        found = dict[str, bytes]()
        for one in self.root.list_objects(bucket_name=BUCKET, prefix=prefix, recursive=True, include_version=True):
            assert one.object_name is not None
            assert one.object_name not in found
            answer = self.root.get_object(bucket_name=BUCKET, object_name=one.object_name)
            found[one.object_name] = answer.read()
            answer.close()
            answer.release_conn()
        return found

    def through(self, address: str) -> None:
        """Have nodes reach it elsewhere."""
        (self.secret / "AWS_ENDPOINT_URL").write_text(f"http://{address}")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = Store(tmp_path_factory.mktemp("store"))
    yield made
    made.stop()


def put(store: Store, node: str, prefix: str, data: bytes) -> str:
    bucket = Bucket(Target(BUCKET, prefix), BucketClock(), Rate(10**9))
    try:
        return bucket.put(read_login(store.secret, node), hashlib.sha256(data).hexdigest(), data).reason
    finally:
        bucket.close()


def test_keys_of_a_node_write_under_its_prefix_and_nowhere_else_and_read_nothing(store: Store) -> None:
    assert put(store, "edge-1", "edge/edge-1/plant/m", b"mine") == "Sent"
    assert put(store, "edge-1", "edge/edge-1/plant/m", b"mine") == "AlreadyThere"
    for prefix in ("edge/edge-2/plant/m", "edge", "other", "edge/edge-10"):
        assert put(store, "edge-1", prefix, b"not mine") == "Forbidden"
    node = Minio(endpoint=store.address, access_key="edge-1", secret_key="secret-of-edge-1", secure=False)  # noqa: S106 - of a server that ends with the test
    key = f"edge/edge-1/plant/m/{hashlib.sha256(b'mine').hexdigest()}.npz"
    refused: list[Callable[[], object]] = [
        lambda: node.get_object(bucket_name=BUCKET, object_name=key),
        lambda: node.stat_object(bucket_name=BUCKET, object_name=key),
        lambda: node.remove_object(bucket_name=BUCKET, object_name=key),
        lambda: list(node.list_objects(bucket_name=BUCKET)),
        node.list_buckets,
        lambda: node.put_object(bucket_name=BUCKET, object_name="edge/edge-2/x", data=io.BytesIO(b"x"), length=1),
    ]
    for one in refused:
        with pytest.raises(S3Error, match=r"Access ?Denied"):
            one()
    assert set(store.there()) == {key}


def test_a_clock_that_is_years_behind_is_set_by_the_bucket(store: Store) -> None:
    clock = BucketClock(lambda: 3e8)
    bucket = Bucket(Target(BUCKET, "edge/edge-2/clock"), clock, Rate(10**9))
    try:
        data = b"of 1979"
        login = read_login(store.secret, "edge-2")
        asked = time.time()
        assert bucket.put(login, hashlib.sha256(data).hexdigest(), data).reason == "Sent"
        told, now = clock.now(), time.time()
        # The bucket's seconds are whole ones, of some moment between the question and its answer.
        assert asked - 1.5 <= told <= now + 0.5
    finally:
        bucket.close()


def start(store: Store, spool: Path, log: Path, node: str = "edge-1") -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "edgesmith_runtime", "uplink", "--spool", str(spool), "--bucket", f"s3://{BUCKET}/edge",
        "--owner", "plant/line", "--node", node, "--credentials", str(store.secret), "--termination-log", str(log),
        "--bytes-per-second", "4000000",
    ]  # fmt: skip
    with (log.parent / "uplink.log").open("ab") as output:
        return subprocess.Popen(command, stderr=output, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_cuts_and_kills_anywhere_send_everything_once(store: Store, tmp_path: Path) -> None:
    """The line breaks in an object, then loses an answer, and the process is killed; all of it twice over."""
    objects, log = tmp_path / "objects", tmp_path / "termination"
    objects.mkdir()
    log.touch()
    spool = Spool(RealDisk(), objects, 1 << 30)
    wanted = {}
    for number in range(30):
        data = os.urandom(100_000) + bytes([number])
        wanted[f"edge/edge-1/plant/line/{hashlib.sha256(data).hexdigest()}.npz"] = data
        assert spool.put(data, value=number * 100, random=number % 7 == 0).kept
    with Line(store.address) as line:
        store.through(line.address)
        for left in (50_000, 350_000, 700_000):
            line.cut, line.left, line.deaf = False, left, False
            process = start(store, tmp_path, log)
            until(lambda: line.cut)
            process.send_signal(signal.SIGKILL)
            process.wait()
        line.cut, line.left, line.deaf = False, None, True  # it takes what comes, and nobody hears of it
        before = line.passed
        process = start(store, tmp_path, log)
        until(lambda: line.passed > before + 110_000)
        process.kill()
        process.wait()
        line.deaf = False
        process = start(store, tmp_path, log)
        until(lambda: not spool.kept())
        process.terminate()
        assert process.wait(PATIENCE) == 0
        store.through(store.address)
    assert store.there("edge/edge-1/plant/line/") == wanted
    assert log.read_text() == "Nothing was refused."
    said = json.loads((tmp_path / "uplink.json").read_text())
    assert said["counts"]["AlreadyThere"] >= 1
    assert said["sent"] >= sum(map(len, wanted.values()))
    assert b"secret-of" not in (tmp_path / "uplink.log").read_bytes()


def test_a_bucket_that_is_away_for_a_while_is_asked_again(store: Store, tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    spool, log = Spool(RealDisk(), tmp_path / "objects", 1 << 20), tmp_path / "termination"
    log.touch()
    spool.put(b"one that waits", value=1)
    with Line(store.address) as line:
        line.cut = True
        store.through(line.address)
        process = start(store, tmp_path, log, "edge-2")
        until((tmp_path / "uplink.json").exists)
        assert json.loads((tmp_path / "uplink.json").read_text())["reason"] == "Unreachable"
        line.cut = False
        until(lambda: not spool.kept())
        process.terminate()
        assert process.wait(PATIENCE) == 0
        store.through(store.address)
    assert list(store.there("edge/edge-2/plant/line/").values()) == [b"one that waits"]


def test_a_site_without_its_line_answers_all_and_sends_what_waits_once_it_is_back(
    store: Store, toy: Bundle, start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server under load, its uplink and a bucket; the line between the last two is cut and mended."""
    monkeypatch.setenv("EDGESMITH_NODE", "edge-2")
    log, samples = tmp_path / "termination", ("--sample-bytes-per-day", "200000000", "--spool-bytes", "10000000")
    log.touch()
    server = start_server(toy.folder, "--privacy", "Samples", "--spool", str(tmp_path), *samples)
    asking, answers = threading.Event(), list[int]()
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]})

    def ask() -> None:
        while not asking.is_set():
            with closing(HTTPConnection("127.0.0.1", server.http, timeout=PATIENCE)) as connection:
                connection.request("POST", "/v2/models/toy/infer", body)
                answers.append(connection.getresponse().status)

    client = threading.Thread(target=ask)
    client.start()
    spool = Spool(RealDisk(), tmp_path / "objects", 1 << 30)
    before = len(store.there("edge/edge-2/plant/line/"))
    with Line(store.address) as line:
        line.cut = True
        store.through(line.address)
        process = start(store, tmp_path, log, "edge-2")
        until(lambda: len(spool.kept()) >= 5)
        assert len(store.there("edge/edge-2/plant/line/")) == before
        line.cut = False
        waiting = {one.digest for one in spool.kept()}
        until(lambda: not waiting & {one.digest for one in spool.kept()})
        asking.set()
        client.join()
        assert server.stop() == 0
        until(lambda: not spool.kept())
        process.terminate()
        assert process.wait(PATIENCE) == 0
        store.through(store.address)
    there = store.there("edge/edge-2/plant/line/")  # which holds each once
    assert waiting <= {key.rpartition("/")[2].removesuffix(".npz") for key in there}
    assert set(answers) == {200}
    assert len(answers) > 20
