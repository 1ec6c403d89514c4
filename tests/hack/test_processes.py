"""A test run that is killed leaves no program behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from edgesmith_cluster import processes
from edgesmith_cluster.waiting import wait_until

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

        wait_until(lambda: bool(left()), what="the program to run", seconds=10)
        run.send_signal(signal.SIGKILL)
        assert run.wait(10) == -signal.SIGKILL
        wait_until(lambda: not left(), what="the program to end", seconds=10)
