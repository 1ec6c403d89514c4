"""Servers that pass their golden samples and do badly with real requests: they end and say why. Good ones go on."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgesmith_runtime.judging.notes import Notes
from tests.patience import PATIENCE
from tests.runtime.judged import Client, products, reader, sharp, table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.runtime.conftest import Server, StartServer

SCORES = np.array([[2.0, 0.5, 0.1, -1.0]], np.float32)
LOOKING = """
import logging, sys
from edgesmith_runtime.judging.judge import Judge
look, log = Judge._look, logging.getLogger("edgesmith_runtime")
def looked(self, age):
    found = look(self, age)
    log.info("looked")
    return found
Judge._look = looked
from edgesmith_runtime.cli import main
sys.exit(main())
"""
"""A server that says each time that it has judged its requests."""
ALERT = LOOKING.replace(
    "from edgesmith_runtime.cli",
    """
import time, types
from edgesmith_runtime import service
from edgesmith_runtime.judging import judge
judge._SETTLE = 0.0
service.time = types.SimpleNamespace(monotonic=time.monotonic, perf_counter=time.thread_time)
from edgesmith_runtime.cli""",
)
"""A server that judges times from its first request on: those of its processor, which others do not make longer."""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A termination log."""
    path = tmp_path / "log"
    path.touch()
    return path


def ended(server: Server, log: Path) -> dict[str, Any]:
    """What a server left that ends by itself."""
    server.wait_for("cannot serve")
    assert server.process.wait(PATIENCE) == 1
    found: dict[str, Any] = json.loads(log.read_text())
    assert found["verdict"] == "Failed"
    return found


def judged(server: Server) -> None:
    """Wait until a server that says so has judged all that it has been asked so far."""
    asked = datetime.now(UTC)
    for _ in range(2):  # the first of them may have begun before
        while datetime.fromisoformat(server.wait_for("looked")["time"]) <= asked:
            pass


def goes_on(server: Server, log: Path) -> None:
    """A server that nothing is found against still serves, and ends well."""
    judged(server)
    assert Client(server.http, "").get("/v2/health/ready")[0] == 200
    assert server.stop() == 0
    assert log.read_text() == ""
    assert not any(line["message"].startswith("cannot serve") for line in server.lines)


def known_as_the_service(monkeypatch: pytest.MonkeyPatch, old: Server) -> None:
    """What Kubernetes tells a pod of the Service `parts`."""
    monkeypatch.setenv("PARTS_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("PARTS_SERVICE_PORT_HTTP", str(old.http))


BAD: dict[str, tuple[Callable[[Path], Path], NDArray[Any], NDArray[Any], int]] = {
    "no number": (lambda folder: sharp(folder, 3), SCORES, SCORES - 200, 500),
    "fails": (reader, np.array(["7"], dtype=object), np.array(["seven"], dtype=object), 500),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD.keys())
def test_a_server_whose_model_fails_on_real_inputs_is_not_ready_and_ends(
    case: tuple[Callable[[Path], Path], NDArray[Any], NDArray[Any], int],
    start_server: StartServer,
    tmp_path: Path,
    log: Path,
) -> None:
    make, good, bad, status = case
    options = ("--termination-log", str(log), "--accept-seconds", "3600", "--linger-seconds", "1")
    server = start_server(make(tmp_path / "parts"), *options)
    client = Client(server.http, "parts")
    assert client.ask(good, 30) == [200] * 30
    assert set(client.ask(bad, 60)) == {status}
    server.wait_for("draining")
    assert client.get("/v2/health/ready")[0] == 503, "clients are sent elsewhere before it ends"
    assert client.get("/v2/health/live")[0] == 200
    assert client.ask(good) == [200], "what still comes is answered"
    found = json.loads(log.read_text())
    assert (found["verdict"], found["reason"]) == ("Failed", "ErrorRateExceeded")
    assert found["message"].endswith("requests failed; expected at most 5% (gates.traffic.maxErrorRate is 5%)")


def test_the_same_traffic_that_the_model_can_answer_ends_nothing(
    start_server: StartServer, tmp_path: Path, log: Path
) -> None:
    server = start_server(sharp(tmp_path / "parts", 3), "--termination-log", str(log), program=LOOKING)
    client = Client(server.http, "parts")
    assert client.ask(SCORES, 90) == [200] * 90
    assert client.ask(np.array([["a"]], dtype=object), 200) == [400] * 200, "a client's mistakes are none of the model"
    nothing = np.full((1, 4), np.nan, np.float32)
    assert set(Client(server.http, "parts").ask(nothing, 2)) == {400}, "JSON has no such numbers"
    assert b'edgesmith_runs_total{outcome="answered"} 90\n' in client.get("/metrics")[1]
    goes_on(server, log)


def test_judging_can_be_switched_off(start_server: StartServer, tmp_path: Path, log: Path) -> None:
    options = ("--termination-log", str(log), "--judge-seconds", "0")
    server = start_server(sharp(tmp_path / "parts", 3), *options, program=LOOKING)
    client = Client(server.http, "parts")
    assert client.ask(SCORES - 200, 200) == [500] * 200
    assert client.get("/traffic")[0] == 503
    goes_on(server, log)


def test_after_its_period_a_server_is_judged_no_further(start_server: StartServer, tmp_path: Path, log: Path) -> None:
    options = ("--termination-log", str(log), "--judge-seconds", "0.5", "--notes", str(tmp_path))
    server = start_server(sharp(tmp_path / "parts", 3), *options, program=LOOKING)
    while not Notes.read(tmp_path).over:
        judged(server)
    client = Client(server.http, "parts")
    assert client.ask(SCORES - 200, 200) == [500] * 200
    assert json.loads(client.get("/traffic")[1])["failed"] == 200, "the next revision is told"
    goes_on(server, log)


@pytest.mark.long
def test_a_server_that_was_found_against_serves_on_unjudged_where_it_is_started_again(
    start_server: StartServer, tmp_path: Path, log: Path
) -> None:
    bundle = sharp(tmp_path / "parts", 3)
    options = ("--termination-log", str(log), "--notes", str(tmp_path))
    server = start_server(bundle, *options)
    Client(server.http, "parts").ask(SCORES - 200, 60)
    assert ended(server, log)["reason"] == "ErrorRateExceeded"
    log.write_text("")
    again = start_server(bundle, *options, program=LOOKING)
    assert Client(again.http, "parts").ask(SCORES - 200, 200) == [500] * 200
    goes_on(again, log)


@pytest.fixture
def old_table(start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The previous server, which knows 100 rows and was asked for 400 of them."""
    old = start_server(table(tmp_path / "old/parts", 100))
    assert Client(old.http, "parts").ask(np.array([70]), 400) == [200] * 400
    known_as_the_service(monkeypatch, old)
    return old


@pytest.mark.long
def test_inputs_that_the_previous_revision_took_may_not_be_refused(
    old_table: Server, start_server: StartServer, tmp_path: Path, log: Path
) -> None:
    server = start_server(table(tmp_path / "new/parts", 50), "--termination-log", str(log))
    assert server.wait_for("the previous server on this node answered")["compared"] is True
    client = Client(server.http, "parts")
    assert set(client.ask(np.array([70]), 60)) == {400}, "fewer than 60 where it is judged before the last one"
    found = ended(server, log)
    assert found["reason"] == "ErrorRateExceeded"
    assert "were refused by the model; expected at most 7.15%" in found["message"]
    assert "the previous revision on this node failed 0 of 400" in found["message"]
    assert Client(old_table.http, "parts").get("/v2/health/ready")[0] == 200


def test_without_a_previous_revision_refused_inputs_are_their_clients_mistake(
    start_server: StartServer, tmp_path: Path, log: Path
) -> None:
    server = start_server(table(tmp_path / "parts", 50), "--termination-log", str(log), program=LOOKING)
    assert Client(server.http, "parts").ask(np.array([70]), 200) == [400] * 200
    goes_on(server, log)


@pytest.mark.long
def test_on_the_way_back_nothing_is_held_against_the_revision_that_was_left(
    old_table: Server, start_server: StartServer, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer one knows more rows, and was left for another reason."""
    newer = start_server(table(tmp_path / "newer/parts", 200))
    newer.wait_for("the previous server on this node answered")
    assert Client(newer.http, "parts").ask(np.array([170]), 400) == [200] * 400
    known_as_the_service(monkeypatch, newer)
    again = start_server(table(tmp_path / "again/parts", 100), "--termination-log", str(log), program=LOOKING)
    assert again.wait_for("the previous server on this node answered")["compared"] is False
    assert Client(again.http, "parts").ask(np.array([170]), 200) == [400] * 200
    goes_on(again, log)
    assert old_table.process.poll() is None


def test_a_server_that_is_slower_than_the_one_before_it_ends(
    start_server: StartServer, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    square = np.ones((40, 40), np.float32) / 40
    wide = ("--threads", "1", "--max-batch", "64")
    old = start_server(products(tmp_path / "old/parts", 10), *wide, program=ALERT)
    assert Client(old.http, "parts").ask(square, 320) == [200] * 320
    known_as_the_service(monkeypatch, old)
    options = (*wide, "--termination-log", str(log), "--max-latency-ratio", "3")
    good = start_server(products(tmp_path / "good/parts", 9), *options, program=ALERT)
    bad = start_server(products(tmp_path / "bad/parts", 300), *options, program=ALERT)
    for server in (good, bad):
        server.wait_for("the previous server on this node answered")
        judged(server)
    Client(bad.http, "parts").ask(square, 100)
    found = ended(bad, log)
    assert found["reason"] == "LatencyRatioExceeded"
    assert "(gates.traffic.maxLatencyRatio is 3); the previous revision on this node" in found["message"]
    log.write_text("")
    assert Client(good.http, "parts").ask(square, 300) == [200] * 300
    goes_on(good, log)


@pytest.mark.long
def test_a_server_that_is_less_sure_than_the_one_before_it_ends(
    start_server: StartServer, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = start_server(sharp(tmp_path / "old/parts", 3))
    assert Client(old.http, "parts").ask(SCORES, 400) == [200] * 400
    known_as_the_service(monkeypatch, old)
    options = ("--termination-log", str(log), "--max-confidence-drop", "0.1")
    good, bad = (
        start_server(sharp(tmp_path / f"{factor}/parts", factor), *options, program=LOOKING) for factor in (2.8, 0.3)
    )
    for server in (good, bad):
        server.wait_for("the previous server on this node answered")
        Client(server.http, "parts").ask(SCORES, 150)
    found = ended(bad, log)
    assert found["reason"] == "ConfidenceDropExceeded"
    assert "gates.traffic.maxConfidenceDrop is 0.1" in found["message"]
    log.write_text("")
    page = Client(good.http, "parts").get("/metrics")[1]
    assert b"edgesmith_confident_answers_total 150\n" in page
    assert b"edgesmith_previous_known 1\n" in page
    goes_on(good, log)


SPOILT = """
import pathlib, sys
from edgesmith_runtime.engine import pair
told = pathlib.Path(sys.argv.pop())
infer = pair.PairedEngine.infer
def spoilt(self, inputs, outputs=None, *, busy=False):
    answers = infer(self, inputs, outputs, busy=busy)
    return {name: -array for name, array in answers.items()} if told.exists() else answers
pair.PairedEngine.infer = spoilt
from edgesmith_runtime.cli import main
sys.exit(main())
"""
"""A server whose accelerator goes bad once a file is there."""


def agreeing(client: Client) -> int:
    """How many golden samples agreed while the server served."""
    (count,) = re.findall(rb'edgesmith_golden_replays_total{result="agrees"} (\d+)\n', client.get("/metrics")[1])
    return int(count)


def test_an_accelerator_that_goes_bad_is_seen_without_a_request(
    start_server: StartServer, tmp_path: Path, log: Path
) -> None:
    told = tmp_path / "bad"
    options = ("--termination-log", str(log), "--replay-seconds", "0.2", str(told))
    server = start_server(sharp(tmp_path / "parts", 3), *options, program=SPOILT)
    client = Client(server.http, "parts")
    end = time.monotonic() + PATIENCE
    while (
        int(re.findall(rb'edgesmith_golden_replays_total{result="agrees"} (\d+)\n', client.get("/metrics")[1])[0]) < 5
    ):
        assert time.monotonic() < end, "the samples are asked for in turn"
        time.sleep(0.1)
    told.touch()
    found = ended(server, log)
    assert found["reason"] == "GoldenMismatch"
    assert found["message"].startswith("while serving, twice in a row, output 'y' of sample ")
