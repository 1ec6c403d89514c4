"""A Job's name rests before it is given again: Kubernetes' Job controller keeps what it waits for by that name."""

from __future__ import annotations

import pytest
from played_hub import AMD64, JOB, MODEL, Hub, plan
from snapshots import NOW, SETTINGS

from edgesmith.cluster import kinds
from edgesmith.cluster.errors import Waiting
from edgesmith.cluster.job_names import REST, JobNames
from edgesmith.cluster.table import ObjectChange
from edgesmith.decide.builds import build_for
from edgesmith.decide.plan import StartBuild
from edgesmith.resources import build_job

START = StartBuild(AMD64, build_for(MODEL, AMD64, SETTINGS), "", (), NOW, 1)


def gone(hub: Hub) -> str:
    """The Job of the plan was made and has gone; its name."""
    live = {**build_job(MODEL, START, SETTINGS), "status": {}}
    live["metadata"] |= {"uid": "j", "resourceVersion": "7"}
    hub.objects.put(kinds.JOB, live)
    change = hub.objects.remove(kinds.JOB, live)
    assert change
    hub.names.changed(change)
    return str(live["metadata"]["name"])


async def test_a_job_that_has_just_gone_is_made_again_only_once_its_name_has_rested() -> None:
    hub = Hub()
    name = gone(hub)
    hub.seconds = 4.0
    (error,) = await hub.refused(plan(builds=["amd64"]))
    assert isinstance(error, Waiting)
    assert error.seconds == REST - 4.0
    assert str(error) == (
        f"Job plant/{name} was deleted and is made again in 6 s, once Kubernetes has forgotten the one before"
    )
    assert JOB not in hub.asked()
    assert hub.said["Ready"] == ("False", "Canary"), "nothing is refused, so the status says what the plan says"
    hub.seconds = REST
    assert (await hub.apply(plan(builds=["amd64"]))).builds == 1
    assert JOB in hub.asked()


async def test_only_the_name_that_has_gone_rests() -> None:
    hub = Hub()
    gone(hub)
    done = await hub.apply(plan(builds=["amd64", "arm64"]))
    assert done.builds == 1
    assert [one.profile for one in done.refusals] == ["amd64"]


def test_a_job_that_changes_and_other_objects_that_go_let_no_name_rest() -> None:
    names = JobNames(lambda: 0.0)
    names.changed(ObjectChange(kinds.JOB, ("plant", "job"), "parts", "old", "new"))
    names.changed(ObjectChange(kinds.POD, ("plant", "job"), "parts", "old", None))
    names.check("plant", "job")


def test_a_name_of_another_namespace_is_another_name() -> None:
    names = JobNames(lambda: 0.0)
    names.changed(ObjectChange(kinds.JOB, ("plant", "job"), "parts", "old", None))
    names.check("other", "job")
    with pytest.raises(Waiting):
        names.check("plant", "job")


def test_names_that_have_rested_are_forgotten() -> None:
    seconds = 0.0
    names = JobNames(lambda: seconds)
    for number in range(5):
        seconds = number * REST
        names.changed(ObjectChange(kinds.JOB, ("plant", f"job-{number}"), "parts", "old", None))
    assert len(names._free_at) == 1
