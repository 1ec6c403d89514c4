"""A pass of which the API server refused something: the rest of the plan is not kept waiting for it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import pytest
from objects_of import model, profile
from snapshots import NOW

from edgesmith.cluster.apply import Applier
from edgesmith.cluster.build_slots import BuildSlots
from edgesmith.cluster.done import Done
from edgesmith.cluster.errors import ClusterError, Forbidden, Unreachable, Waiting
from edgesmith.cluster.gather import Gatherer
from edgesmith.cluster.images import Images
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL
from edgesmith.cluster.node_turns import NodeTurns
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.provenance import Wanted
from edgesmith.cluster.refusals import Refusal
from edgesmith.controller.metrics import Numbers
from edgesmith.controller.passes import CHANGED_SECONDS, STALLED_SECONDS, Passes
from edgesmith.controller.queue import Outcome
from edgesmith.decide.plan import Plan
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import RegistryProblem, Snapshot

DIGEST = "sha256:" + "0" * 64


class Refusing:
    """An applier whose calls all fail alike."""

    def __init__(self, errors: list[ClusterError], **done: Any) -> None:
        self.errors = errors
        self.done = done
        self.plan: Plan | None = None

    async def apply(self, plan: Plan, _snapshot: Snapshot, _now: datetime) -> Done:
        self.plan = plan
        return Done(refusals=[Refusal(error) for error in self.errors], **self.done)


class NoAnswer:
    """A registry that does not answer, so that the plan looks again soon."""

    async def layers(self, _references: object) -> dict[str, dict[str, int]]:
        return {}

    async def look_up(self, _repository: str, builds: list[Wanted], _fresh: object) -> dict[str, RegistryProblem]:
        problem = RegistryProblem("It does not answer.", forbidden=False)
        return dict.fromkeys((one.build.key for one in builds), problem)


async def run(*errors: ClusterError, **done: Any) -> tuple[Outcome, float]:
    """A pass in which these errors were met; its outcome, and when its plan wants to look again."""
    objects, applier = Objects(), Refusing(list(errors), **done)
    objects.put(EDGE_MODEL, model("m"))
    objects.put(DEVICE_PROFILE, profile("p"))
    objects.completed(EDGE_MODEL)
    settings = Settings({"onnxruntime": f"r:5000/runtime@{DIGEST}"}, f"r:5000/builder@{DIGEST}", "r:5000/models")
    client: Any = None
    passes = Passes(
        Gatherer(objects, cast("Images", NoAnswer()), settings, client),
        cast("Applier", applier),
        Numbers(),
        client=client,
        slots=BuildSlots(objects, 1),
        turns=NodeTurns(),
        ask=lambda _: None,
        rest=lambda _: None,
        clock=lambda: 0.0,
        now=lambda: NOW,
    )
    outcome = await passes.run(("ns", "m"))
    assert applier.plan is not None
    assert applier.plan.look_again is not None
    assert applier.plan.look_again < STALLED_SECONDS
    return outcome, applier.plan.look_again


@pytest.mark.parametrize(
    ("errors", "failed"),
    [
        ((Forbidden("No."),), False),
        ((Waiting("Later.", 30.0),), False),
        ((Unreachable("No answer."),), True),
        ((Forbidden("No."), Unreachable("No answer.")), True),
    ],
)
async def test_what_the_plan_waits_for_is_looked_at_in_time(errors: tuple[ClusterError, ...], *, failed: bool) -> None:
    outcome, soon = await run(*errors)
    assert outcome == Outcome(failed=failed, again=soon)


async def test_what_is_awaited_is_asked_for_when_it_says() -> None:
    outcome, soon = await run(Waiting("Later.", 1.0))
    assert outcome == Outcome(again=min(1.0, soon))


@pytest.mark.parametrize("error", [Forbidden("No."), Unreachable("No answer.")])
async def test_more_than_one_pass_does_is_gone_on_with_at_once_only_where_nothing_was_refused(
    error: ClusterError,
) -> None:
    outcome, _ = await run(error, left=True, moves=1)
    assert outcome.again == CHANGED_SECONDS
    outcome, _ = await run(left=True, moves=1)
    assert outcome == Outcome(again=0.0)
