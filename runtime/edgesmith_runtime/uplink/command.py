"""``uplink``: sends what waits in a spool until it is told to end. Nothing but that ends it."""

from __future__ import annotations

import logging
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.spool.disk import RealDisk
from edgesmith_runtime.spool.spool import Waiting
from edgesmith_runtime.uplink.answers import Outcome
from edgesmith_runtime.uplink.bucket import Bucket, Target
from edgesmith_runtime.uplink.clock import BucketClock
from edgesmith_runtime.uplink.credentials import CredentialsInvalid, read_login
from edgesmith_runtime.uplink.ending import Ending, OutOfTime
from edgesmith_runtime.uplink.left import Left
from edgesmith_runtime.uplink.rate import Rate
from edgesmith_runtime.uplink.sending import Sending
from edgesmith_runtime.uplink.standing import FILE, OBJECTS, Standing
from edgesmith_runtime.uplink.told import Told
from edgesmith_runtime.version import WRITTEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesmith_runtime.spool.kept import Kept

__all__ = ["Uplink", "UplinkSettings", "run_uplink"]

_log: Final = logging.getLogger(__name__)
_LOOK: Final = 2.0
"""Seconds between two looks at an empty spool."""
_FAILED: Final = 30.0
"""Seconds until it is tried again after a mistake of its own."""


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    """How to send.

    Attributes:
        spool: The spool's folder.
        place: The bucket and what keys begin with: `BUCKET`, `PREFIX`.
        owner: What keys have behind the node: `NAMESPACE/MODEL`.
        node: The node's name.
        credentials: The folder that the Secret is mounted at.
        endpoint: Where the bucket is unless the Secret says it; empty for Amazon's.
        rate: Bytes a second at most.
        authority: Certificates in PEM to trust besides the public ones.
        drain_seconds: How long to go on sending after SIGTERM, no faster than before.
        termination_log: Where what was last said is left at the end, where that file exists.
    """

    spool: Path
    place: tuple[str, str]
    owner: str
    node: str
    credentials: Path
    endpoint: str
    rate: int
    authority: Path | None
    drain_seconds: float
    termination_log: Path


class Uplink:
    """Sends.

    Args:
        settings: How.
        ending: Set once it is told to end.
    """

    def __init__(self, settings: UplinkSettings, ending: Told) -> None:
        self._settings = settings
        self._ending = Ending(ending, settings.drain_seconds)
        self._waiting = Waiting(RealDisk(), settings.spool / OBJECTS)
        self._sending = Sending()
        self._left = Left(self._waiting)
        self._standing = Standing.read(settings.spool / FILE)
        bucket_name, prefix = settings.place
        parts = [*([prefix] if prefix else []), settings.node, settings.owner]
        target = Target(bucket_name, "/".join(parts), settings.authority)
        self._clock = BucketClock(earliest=max(WRITTEN, self._standing.earliest))
        self._bucket = Bucket(target, self._clock, Rate(settings.rate, self._ending.hold))

    def run(self) -> None:
        """Send until it is told to end, and then what still waits, for as long as that may take."""
        while not self._ending.told:
            self._ending.rest(self._guarded(self._step))
        while self._ending.left > 0 and not self._guarded(self._step):
            continue
        self._bucket.close()

    def _step(self) -> float:
        """Send one object; returns how long to pause, 0 where the next may go at once."""
        try:
            kept = self._left.now()
        except OSError as error:
            self._say(_unread("the samples", error))
            return _LOOK
        most = self._settings.rate * self._ending.left  # what cannot go whole is not begun
        one = self._sending.next(kept, most)
        if one is None:
            return _LOOK
        try:
            data = self._waiting.read(one)
        except OSError as error:
            return self._after(one, _unread("a sample", error))
        if data is None:
            self._left.gone(one)
            return 0.0
        try:
            login = read_login(self._settings.credentials, self._settings.node, self._settings.endpoint)
            outcome = self._bucket.put(login, one.digest, data)
        except CredentialsInvalid as error:
            outcome = Outcome("NoCredentials", str(error))
        return self._after(one, outcome)

    def _after(self, one: Kept, outcome: Outcome) -> float:
        if outcome.stored:
            self._left.stored(one)
        self._say(outcome)
        return self._sending.after(one, outcome)

    def _say(self, outcome: Outcome) -> None:
        if self._standing.take(outcome):
            if outcome.stored:
                _log.info("samples are sent")
            else:
                _log.warning("samples wait: %s", outcome.message, extra={"reason": outcome.reason})
        self._standing.earliest = self._clock.earliest
        self._standing.write(self._settings.spool / FILE)

    def _guarded(self, step: Callable[[], float]) -> float:
        """A mistake of its own must not end it: a pod whose container is down is not ready."""
        try:
            return step()
        except OutOfTime:
            return _FAILED
        except Exception:  # noqa: BLE001 - see above
            _log.exception("sending failed")
            return _FAILED

    @property
    def last_words(self) -> str:
        """What was last said."""
        return self._standing.message or "Nothing was refused."


def _unread(what: str, error: OSError) -> Outcome:
    return Outcome("DiskFailed", f"{what} cannot be read from the node's disk: {error.strerror}")


def run_uplink(settings: UplinkSettings) -> int:
    """Send until SIGTERM; returns the exit status, which is 0."""
    ending = Told()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    uplink = Uplink(settings, ending)
    uplink.run()
    if settings.termination_log.exists():
        try:
            settings.termination_log.write_text(uplink.last_words, encoding="utf-8")
        except OSError:
            _log.info(uplink.last_words)
    return 0
