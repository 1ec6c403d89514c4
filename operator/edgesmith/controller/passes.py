"""One pass: gather, decide, apply. It never fails: what went wrong becomes an `Outcome`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime

from edgesmith.api.names import parse_node_label
from edgesmith.cluster.apply import Applier
from edgesmith.cluster.build_slots import BuildSlots
from edgesmith.cluster.client import Client
from edgesmith.cluster.done import Done
from edgesmith.cluster.errors import ClusterError, Stalled, Transient, Waiting
from edgesmith.cluster.gather import Gatherer
from edgesmith.cluster.kinds import EDGE_MODEL
from edgesmith.cluster.node_turns import NodeTurns
from edgesmith.cluster.report import report_unreadable
from edgesmith.cluster.unreadable import Unreadable
from edgesmith.controller import metrics
from edgesmith.controller.logs import fields
from edgesmith.controller.metrics import Numbers
from edgesmith.controller.queue import Key, Outcome
from edgesmith.decide import decide, sweep

log = logging.getLogger(__name__)

PASS_SECONDS = 90.0
"""After how long a pass is given up and tried again."""
STALLED_SECONDS = 60.0
"""After how long a refused pass is tried again without any change seen: a quota may have been raised."""
CHANGED_SECONDS = 0.5
STARTING_SECONDS = 3.0


class Passes:
    """Runs passes."""

    def __init__(
        self,
        gatherer: Gatherer,
        applier: Applier,
        numbers: Numbers,
        *,
        client: Client,
        slots: BuildSlots,
        turns: NodeTurns,
        ask: Callable[[Key], None],
        rest: Callable[[float], None],
        clock: Callable[[], float],
        now: Callable[[], datetime],
        namespaces: Collection[str] = (),
    ) -> None:
        """Make it.

        Args:
            gatherer: Reads.
            applier: Writes.
            numbers: Counted into.
            client: For the status of EdgeModels that cannot be read.
            slots: The bound on Jobs of the builder at once.
            turns: Which nodes are being moved.
            ask: Asks for a pass.
            rest: Told how many seconds a plan took.
            clock: Seconds that only grow.
            now: The time of day, with its zone.
            namespaces: Where to work; empty for every namespace.
        """
        self._gatherer = gatherer
        self._applier = applier
        self._numbers = numbers
        self._client = client
        self._slots = slots
        self._turns = turns
        self._ask = ask
        self._rest = rest
        self._clock = clock
        self._now = now
        self._namespaces = frozenset(namespaces)

    async def run(self, key: Key) -> Outcome:
        """Look at one EdgeModel; one of another namespace, whose label a node carries, is not ours to look at."""
        if self._namespaces and key[0] not in self._namespaces:
            return Outcome()
        started = self._clock()
        result, outcome = await self._guarded(key)
        self._numbers.count(metrics.PASSES, label=result)
        self._numbers.observe(metrics.PASS_SECONDS, self._clock() - started)
        return outcome

    async def _guarded(self, key: Key) -> tuple[str, Outcome]:
        """A pass, with what went wrong as an outcome."""
        about = fields(namespace=key[0], edgemodel=key[1])
        try:
            async with asyncio.timeout(PASS_SECONDS):
                return await self._pass(key)
        except Stalled as error:
            log.warning("%s", error, extra=about)
            return "stalled", Outcome(again=STALLED_SECONDS)
        except Waiting as error:
            log.info("%s", error, extra=about)
            return "waiting", Outcome(again=error.seconds)
        except Transient as error:
            log.warning("%s", error, extra=about)
        except TimeoutError:
            log.warning("the pass took longer than %g s and is tried again", PASS_SECONDS, extra=about)
        except Exception:
            # A mistake of ours that one EdgeModel brings out must not stop the others.
            log.exception("the pass failed", extra=about)
        return "failed", Outcome(failed=True)

    async def _pass(self, key: Key) -> tuple[str, Outcome]:
        objects = self._gatherer.objects
        if found := objects.unreadable(EDGE_MODEL).get(key):
            return await self._report(found)
        if not objects.complete(EDGE_MODEL):
            # An EdgeModel that has not been listed yet is not one that is gone.
            raise Waiting(f"EdgeModel {key[0]}/{key[1]} is looked at once every EdgeModel has been listed")
        snapshot = await self._gatherer.snapshot(*key)
        if snapshot is None:
            for waiting in (*self._slots.settle(key, builds=False), *self._turns.settle(key)):
                self._ask(waiting)
            await self._sweep(key)
            return "gone", Outcome()
        now = self._now()
        # From here to the reservation there is no await: two passes must not see the same slot or node free.
        waiting_builds = self._slots.builds_waiting(key)
        snapshot = replace(
            snapshot,
            builds_running=self._slots.running(),
            builds_waiting=waiting_builds,
            claimed=self._turns.claimed(key),
        )
        started = self._clock()
        plan = decide(snapshot, now)
        self._rest(self._clock() - started)
        with self._slots.reserved(snapshot.model, plan), self._turns.held(key, plan):
            done = await self._applier.apply(plan, snapshot, now)
        waiters = self._slots.settle(key, builds=plan.builds_wait, look=plan.look_waits)
        for waiting in (*waiters, *self._turns.settle(key, plan)):
            self._ask(waiting)
        self._count(done)
        waits = [plan.look_again] if plan.look_again is not None else []
        if done:
            log.info("changed: %s", _words(done), extra=fields(namespace=key[0], edgemodel=key[1]))
            waits.append(0.0 if done.left and not done.refusals else CHANGED_SECONDS)
        if self._gatherer.starting(snapshot.model):
            waits.append(STARTING_SECONDS)
        if done.refusals:
            return self._refused(key, done, waits)
        return ("changed" if done else "unchanged"), Outcome(again=min(waits, default=None))

    def _refused(self, key: Key, done: Done, waits: list[float]) -> tuple[str, Outcome]:
        """Say what the API server did not do; what the plan waits for is looked at again all the same."""
        result = "waiting"
        for refusal in done.refusals:
            error = refusal.error
            if isinstance(error, Waiting):
                waits.append(error.seconds)
            elif isinstance(error, Stalled):
                waits.append(STALLED_SECONDS)
                result = "stalled" if result == "waiting" else result
            else:
                result = "failed"
            level = logging.INFO if isinstance(error, Waiting) else logging.WARNING
            log.log(level, "%s", error, extra=fields(namespace=key[0], edgemodel=key[1]))
        return result, Outcome(failed=result == "failed", again=min(waits, default=None))

    async def _report(self, found: Unreadable) -> tuple[str, Outcome]:
        """Say that an EdgeModel cannot be read, in the log and in its status, and leave all else as it is."""
        log.warning("%s", found.message, extra=fields(namespace=found.namespace, edgemodel=found.name))
        written = await report_unreadable(self._client, found, self._now())
        self._numbers.count(metrics.WRITES, float(written))
        return "stalled", Outcome()

    async def _sweep(self, key: Key) -> None:
        """Take the labels of an EdgeModel that is gone, or on its way out, off all nodes.

        Raises:
            ClusterError: What the first node said against it, after all others.
        """
        objects = self._gatherer.objects
        models = objects.models.all()
        living = [(m.metadata.namespace, m.metadata.name) for m in models if not m.metadata.deletion_timestamp]
        refused: list[ClusterError] = []
        for node, label in sweep(objects.nodes.all(), living):
            if parse_node_label(label) != key:
                continue
            try:
                await self._applier.remove_marks(node, label)
            except ClusterError as error:
                refused.append(error)
                continue
            self._numbers.count(metrics.SWEPT)
            log.info("removed the label %s from %s: its EdgeModel is gone", label, node)
        if refused:
            raise refused[0]
        self._applier.forget(*key)

    def _count(self, done: Done) -> None:
        self._numbers.count(metrics.BUILDS, done.builds)
        self._numbers.count(metrics.LOOKS, done.looks)
        self._numbers.count(metrics.TRIALS, done.trials)
        self._numbers.count(metrics.MOVES, done.moves)
        self._numbers.count(metrics.WRITES, float(done.status))


def _words(done: Done) -> str:
    """What changed, in one line; the status alone is worth one too, so that the log tells the whole story."""
    shown = done.names[:10] + ([f"{len(done.names) - 10} more"] if len(done.names) > 10 else [])  # noqa: PLR2004
    return ", ".join([*shown, *(["status"] if done.status else [])])
