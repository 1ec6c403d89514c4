"""The Job that an episode of drift starts, as it is made."""

from __future__ import annotations

from dataclasses import replace

import pytest
from played_hub import Hub, plan

from edgesmith.api.drift_status import DriftStatus, EpisodeStatus
from edgesmith.api.names import retraining_name
from edgesmith.cluster.errors import Conflict
from edgesmith.cluster.kinds import EDGE_MODEL, JOB
from edgesmith.decide.plan import StartRetraining

EPISODE = EpisodeStatus(id="e1", of="a" * 64, began="2030-01-01T11:00:00Z")
NAME = retraining_name("parts", "e1", "job")
START = StartRetraining("job", DriftStatus(drifted=1, episode=EPISODE), "It drifts.", "s3://models/a.onnx")
WANTED = replace(plan(), retraining=(START,))


async def a_hub() -> Hub:
    """A hub whose EdgeModel is trained anew when it drifts, with its status written."""
    hub = Hub()
    raw = hub.client.objects["EdgeModel", "parts"]
    raw["spec"]["feedback"] = {
        "privacy": "Samples",
        "bucket": {"uri": "s3://samples/parts", "secretRef": {"name": "uplink"}},
        "retraining": {"job": {"image": f"registry.example/train@sha256:{'5' * 64}"}},
    }
    hub.objects.put(EDGE_MODEL, hub.client.put(EDGE_MODEL, raw | {"status": {}}))
    await hub.apply(plan())
    hub.asked()
    return hub


async def test_a_job_that_was_made_is_something_done() -> None:
    """The status says that it was made in the pass after: one that is deleted before would be made twice."""
    hub = await a_hub()
    done = await hub.apply(WANTED)
    assert hub.asked() == [f"create Job {NAME}"]
    assert (done.retraining, bool(done), done.names) == (1, True, [f"Job {NAME}"])


@pytest.mark.parametrize("known", [True, False])
async def test_a_job_that_is_there_is_taken_in_and_nothing_was_done(*, known: bool) -> None:
    hub = await a_hub()
    await hub.apply(WANTED)
    if not known:
        hub.objects.retraining_jobs.drop(("plant", NAME))
    hub.client.refuse[f"create Job {NAME}"] = Conflict("making the Job failed: it exists")
    done = await hub.apply(WANTED)
    assert (done.retraining, bool(done), done.refusals) == (0, False, [])
    assert hub.objects.retraining_jobs.keys() == (("plant", NAME),)
    assert hub.due == ["parts"] * (not known), "the status is to say so"
    assert hub.objects.put(JOB, hub.client.objects["Job", NAME]) is None, "a watch says nothing new of it"
