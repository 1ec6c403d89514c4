"""An operator that is kept running, and what its processes take."""

from __future__ import annotations

import os
from pathlib import Path

from operator_process import Operator


class Kept:
    """An operator that is started again where it ends, as a kubelet does, and what its processes took in all."""

    def __init__(self, operator: Operator) -> None:
        self.operator, self.restarts, self.peak_megabytes = operator, 0, 0.0
        self._spent: dict[int, float] = {}
        operator.start()

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all processes so far, as of the last look."""
        return sum(self._spent.values())

    def look(self) -> None:
        """Read what the process has taken, or start another one."""
        process = self.operator.process
        if process is None or process.poll() is not None:
            self.restarts += 1
            self.operator.start()
            return
        try:
            self._spent[process.pid] = _cpu_seconds(process.pid)
            self.peak_megabytes = max(self.peak_megabytes, _peak(process.pid))
        except (OSError, StopIteration):  # it ends just now
            return


def pass_seconds(operator: Operator) -> dict[float, float]:
    """Passes so far, by the most seconds that they took."""
    found = {}
    for line in operator.ask("/metrics")[1].splitlines():
        if line.startswith("edgesmith_pass_seconds_bucket"):
            found[float(line.partition('le="')[2].partition('"')[0])] = float(line.split()[-1])
    return found


def p99(before: dict[float, float], after: dict[float, float]) -> float:
    """Seconds within which 99 of 100 passes ended: the bound of the histogram's bucket."""
    same = sum(after.values()) >= sum(before.values())  # a process that was started anew counts from 0
    counts = {bound: after[bound] - (before.get(bound, 0.0) if same else 0.0) for bound in sorted(after)}
    total = max(counts.values(), default=0.0)
    return next((bound for bound, count in counts.items() if count >= 0.99 * total), float("inf"))


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * 1024 / 1e6
