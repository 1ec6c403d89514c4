"""One operator at a time: a Lease (coordination.k8s.io/v1) held while we run.

The chart runs one replica with the strategy Recreate; the Lease is for the moments in which that is not enough: a node
that is cut off with its operator alive, a second installation, somebody's laptop. As in client-go's leaderelection,
another holder's clock is never compared with ours: its lease has run out when it has not changed for its whole duration
as we saw it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from edgesmith.cluster.client import Client, Object
from edgesmith.cluster.errors import ClusterError, Conflict, Forbidden, Missing
from edgesmith.cluster.fields import at, version_number
from edgesmith.cluster.kinds import LEASE

log = logging.getLogger(__name__)

NAME = "edgesmith-operator"
DURATION = 60.0
"""Seconds after which a lease that is not renewed may be taken over.

A site's server on a small board stands still for ten seconds and more when its disk is busy. Whoever gives up then
comes back and reads everything again, which is the last thing that such a server needs; and models are served without
us.
"""
RENEW = 5.0
"""Seconds between renewals."""
DEADLINE = 45.0
"""Seconds without a renewal after which the holder gives up; less than DURATION, so that two never run at once."""
ATTEMPT = 7.0
"""Seconds for one attempt: a connection that hangs is no reason to give up."""
_RETRY = 1.0


class LeaseLost(ClusterError):  # noqa: N818 - it says what happened
    """The lease could not be renewed in time, or somebody else has it."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long things take; tests shorten them."""

    duration: float = DURATION
    renew: float = RENEW
    deadline: float = DEADLINE
    attempt: float = ATTEMPT
    retry: float = _RETRY


class Lease:
    """A Lease that we want, hold or have lost."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        holder: str,
        clock: Callable[[], float],
        times: Times | None = None,
        *,
        restored: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Make it; nothing is sent yet.

        Args:
            client: The API server.
            namespace: Where the Lease is.
            holder: Our name: the pod's.
            clock: Seconds that only grow.
            times: How long things take.
            restored: Called with a sentence where the Lease's resourceVersion went down: etcd was restored
                from a backup.
        """
        self._client = client
        self._namespace = namespace
        self._holder = holder
        self._clock = clock
        self._times = times or Times()
        self._seen: tuple[str, str] | None = None
        self._seen_at = 0.0
        self._restored = restored
        self._version = 0
        self._renewed: float | None = None
        self.held = False
        """Whether it is ours, as far as we know."""

    @property
    def age(self) -> float | None:
        """Seconds since it was last renewed; None where it never was ours."""
        return None if self._renewed is None else self._clock() - self._renewed

    async def acquire(self) -> None:
        """Wait until it is ours.

        Raises:
            Forbidden: Our identity may not have it.
            Missing: The namespace is not there.
        """
        waiting_for = ""
        while True:
            try:
                other = await self._renew(self._times.deadline)
            except (Forbidden, Missing):
                raise
            except Conflict:
                # Somebody was quicker; the next attempt sees who.
                other = waiting_for
            except (ClusterError, TimeoutError) as error:
                log.warning("the lease is asked for again: %s", str(error) or "no answer in time")
                other = waiting_for
            if self.held:
                log.info("the lease %s/%s is ours", self._namespace, NAME)
                return
            if other != waiting_for:
                waiting_for = other
                log.info("waiting for the lease %s/%s, which %s holds", self._namespace, NAME, other or "nobody")
            await asyncio.sleep(self._times.retry)

    async def keep(self) -> None:
        """Renew it for ever.

        The deadline runs from before the last attempt that succeeded was sent: others count from when the API server
        took it, which is later. No attempt and no pause lasts longer than what is left of it.

        Raises:
            LeaseLost: It is not ours any more.
        """
        pause = self._times.renew
        while True:
            await asyncio.sleep(min(pause, max(self._left(), 0.0)))
            if self._left() <= 0:
                break
            try:
                other = await self._renew(self._left())
            except (ClusterError, TimeoutError) as error:
                log.warning("the lease could not be renewed: %s", str(error) or "no answer in time")
                pause = self._times.retry
            else:
                if not self.held:
                    raise LeaseLost(f"{other} has taken the lease {self._namespace}/{NAME}")
                pause = self._times.renew
        self.held = False
        raise LeaseLost(f"the lease {self._namespace}/{NAME} was not renewed for {self._times.deadline:g} s")

    def _left(self) -> float:
        """Seconds until it is to be taken for lost."""
        return self._times.deadline - (self.age or 0.0)

    async def _renew(self, seconds: float) -> str:
        """Take or renew it if that is allowed; says who holds it.

        Raises:
            TimeoutError: There was no answer within this many seconds.
            ClusterError: The API server could not be asked, or refuses.
        """
        asked = self._clock()
        async with asyncio.timeout(min(max(seconds, 0.0), self._times.attempt)):
            other = await self._attempt()
        if self.held:
            self._renewed = asked
        return other

    async def release(self) -> None:
        """Give it back, so that the next operator need not wait; without it, it runs out.

        Raises:
            TimeoutError: There was no answer in time.
            ClusterError: The API server could not be asked.
        """
        if not self.held:
            return
        self.held = False
        async with asyncio.timeout(self._times.attempt):
            found = await self._client.get(LEASE, self._namespace, NAME)
            if found and (found.get("spec") or {}).get("holderIdentity") == self._holder:
                found["spec"] |= {"holderIdentity": "", "renewTime": _now(), "leaseDurationSeconds": 1}
                await self._client.replace(LEASE, found)

    async def _attempt(self) -> str:
        """Take or renew it if that is allowed; says who holds it."""
        found = await self._client.get(LEASE, self._namespace, NAME)
        if found is None:
            self._look(await self._client.create(self._manifest(None), LEASE))
        else:
            self._look(found)
            spec = found.get("spec") or {}
            holder = str(spec.get("holderIdentity") or "")
            if holder not in ("", self._holder) and not self._ran_out(spec):
                self.held = False
                return holder
            self._look(await self._client.replace(LEASE, self._manifest(found)))
        self.held = True
        return self._holder

    def _look(self, found: Object) -> None:
        """Notice a resourceVersion that went down."""
        version, before = version_number(at(found, "metadata", "resourceVersion")), self._version
        self._version = version
        if 0 < version < before:
            self._restored(f"the Lease is of resourceVersion {version}, and {before} is known")

    def _ran_out(self, spec: Object) -> bool:
        record = (str(spec.get("holderIdentity")), str(spec.get("renewTime")))
        if record != self._seen:
            self._seen, self._seen_at = record, self._clock()
        seconds = spec.get("leaseDurationSeconds")
        duration = float(seconds) if isinstance(seconds, int) else self._times.duration
        return self._clock() - self._seen_at > duration

    def _manifest(self, found: Object | None) -> Object:
        spec = dict((found or {}).get("spec") or {})
        if spec.get("holderIdentity") != self._holder:
            transitions = spec.get("leaseTransitions")
            spec["acquireTime"] = _now()
            spec["leaseTransitions"] = transitions + 1 if isinstance(transitions, int) else 0
        spec |= {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": max(int(self._times.duration), 1),
            "renewTime": _now(),
        }
        metadata = (found or {}).get("metadata") or {"name": NAME, "namespace": self._namespace}
        return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
