"""A test run that is killed leaves no program behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgesmith_cluster import processes, sandbox
from edgesmith_cluster.errors import ClusterError
from edgesmith_cluster.waiting import START_SECONDS, wait_until
from tests.patience import PATIENCE

RUN = """
import sys
from pathlib import Path
from processes import running_program
with running_program(["sleep", sys.argv[1]], Path(sys.argv[2])) as program:
    print(program.pid, flush=True)
    program.wait()
"""


def test_a_program_ends_with_the_run_that_started_it_even_by_sigkill(tmp_path: Path) -> None:
    services = Path(__file__).resolve().parents[1] / "services"
    line = [sys.executable, "-c", RUN, "600", str(tmp_path / "log")]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(services)}) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())

        def left() -> list[processes.Process]:
            return [one for one in processes.everything() if one.pid == pid and one.name == "sleep"]

        wait_until(lambda: bool(left()), what="the program to run", seconds=PATIENCE)
        run.send_signal(signal.SIGKILL)
        assert run.wait(PATIENCE) == -signal.SIGKILL
        wait_until(lambda: not left(), what="the program to end", seconds=PATIENCE)


def members(program: subprocess.Popen[bytes]) -> list[processes.Process]:
    """The process that was started, and under whichever name."""
    return [one for one in processes.everything() if one.pid == program.pid]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become tenths, but for the time in which a program may start."""
    monkeypatch.setattr(sandbox, "_GONE_SECONDS", 0.3)


@pytest.mark.usefixtures("hurried")
def test_a_program_that_is_slow_to_start_is_waited_for(tmp_path: Path) -> None:
    slow = "exec -a setsid bash -c 'sleep 1.5; exec -a containerd sleep 60'"
    with subprocess.Popen(["bash", "-c", slow]) as program:
        try:
            wait_until(
                lambda: any(one.name == "setsid" for one in members(program)), what="its start", seconds=PATIENCE
            )
            found = sandbox.started("containerd", lambda: members(program), where="edge-1", log=tmp_path / "log")
            assert (found.pid, found.name) == (program.pid, "containerd")
        finally:
            program.kill()


@pytest.mark.usefixtures("hurried")
def test_a_program_that_ends_at_once_is_not_waited_for_and_its_log_is_named(tmp_path: Path) -> None:
    log = tmp_path / "containerd.log"
    log.write_text("no such configuration\n")
    with pytest.raises(ClusterError, match=f"^containerd did not start on edge-1; its log is {log}$") as caught:
        sandbox.started("containerd", list, where="edge-1", log=log)
    assert "no such configuration" in caught.value.detail


@pytest.mark.usefixtures("hurried")
def test_a_program_that_does_not_come_is_given_up_with_the_name_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert START_SECONDS == 60
    monkeypatch.setattr("edgesmith_cluster.sandbox.START_SECONDS", 0.5)
    with subprocess.Popen(["bash", "-c", "exec -a setsid sleep 60"]) as program:
        try:
            wait_until(lambda: any(one.name == "setsid" for one in members(program)), what="it", seconds=PATIENCE)
            with pytest.raises(ClusterError, match=rf"containerd to start on edge-1 \(its log is {tmp_path / 'log'}\)"):
                sandbox.started("containerd", lambda: members(program), where="edge-1", log=tmp_path / "log")
        finally:
            program.kill()
