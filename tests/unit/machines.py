"""Machines of a simulated fleet, and what they run of each EdgeModel, whoever knows of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from snapshots import NOW

GRACE = timedelta(seconds=40)
"""After how long without a heartbeat the node controller says NotReady."""


@dataclass
class Beside:
    """What a machine makes ready beside a server."""

    revision: str
    staging: bool
    started: datetime
    restarts: int = 0
    ended: int = 0
    """Which start of it followed an end of its own, since its requests failed; 0 where there was none."""

    @property
    def told(self) -> bool:
        """Whether its kubelet still says so: it says it of the run before this one."""
        return bool(self.ended) and self.ended == self.restarts


@dataclass
class Server:
    """What a machine runs of one EdgeModel."""

    runs: str | None = None
    """The revision that its kubelet runs."""
    started: datetime = NOW
    restarts: int = 0
    address: int = 0
    """Where the device was when its pod was given it."""
    beside: Beside | None = None
    """What it runs beside that."""
    ended: int = 0
    """Which start of it followed an end of its own, since its requests failed; 0 where there was none."""

    @property
    def told(self) -> bool:
        """Whether its kubelet still says so: it says it of the run before this one."""
        return bool(self.ended) and self.ended == self.restarts

    def start_anew(self, now: datetime) -> None:
        """The machine was started."""
        self.started, self.restarts = now, self.restarts + 1
        if self.beside:
            self.beside = replace(self.beside, started=now, restarts=self.beside.restarts + 1)


@dataclass
class Device:
    """A machine."""

    broken: bool = False
    """Every server fails on it."""
    fragile: bool = False
    """Fragile revisions fail on it."""
    device: bool = True
    """Whether its kubelet offers what the model's servers ask for; where not, they fail."""
    link: bool = True
    power: bool = True
    stick: bool = False
    """Whether its device has another address after its first use since the machine has power."""
    unused: bool = False
    """Whether that is still to come."""
    address: int = 0
    """Where its device is now."""
    offered: bool = True
    """Whether the API server was told that it offers the device."""
    back: datetime | None = None
    """When the power comes back."""
    heard: datetime = NOW
    delay: float = 10.0
    """Seconds a server takes to become ready, or to fail."""
    asked: bool = True
    """Whether anybody asks its servers for anything."""
    boots: int = 0
    told: int = 0
    """Which start of the machine the API server knows of."""
    silent: int = 0
    """For how many ticks its kubelet has yet to say how its pods do: after a start it says first that it is there."""
