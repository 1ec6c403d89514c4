"""How much time has passed, whatever the wall clock says: a device may boot in the wrong year."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Instant", "elapsed", "instant"]

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_LONGEST: Final = 36


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment of one boot of the machine.

    Attributes:
        boot: Which boot.
        seconds: Since that boot, sleep included.
    """

    boot: str
    seconds: float


def instant() -> Instant:
    """Now."""
    try:
        boot = _BOOT.read_text(encoding="ascii")[:_LONGEST].strip()
    except (OSError, UnicodeDecodeError):
        boot = ""
    return Instant(boot, time.clock_gettime(time.CLOCK_BOOTTIME))


def elapsed(since: Instant, now: Instant) -> float:
    """The seconds between two moments that have surely passed: those of another boot cannot be told, and are 0."""
    return max(0.0, now.seconds - since.seconds) if now.boot == since.boot else 0.0
