"""Statuses that somebody edited by hand, or that another version wrote: what is none costs itself and no more."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played_hub import MODEL, STATUS, Hub, plan
from snapshots import NOW, key_of, snapshot

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.status import EdgeModelStatus
from edgesmith.cli import asking
from edgesmith.cli import history as telling
from edgesmith.cli import report as reporting
from edgesmith.cli import status as showing
from edgesmith.cli.seen import Seen
from edgesmith.cluster.client import Client
from edgesmith.cluster.kinds import EDGE_MODEL
from edgesmith.cluster.objects import Objects
from edgesmith.cluster.parse import edge_model
from edgesmith.cluster.parse_status import readable
from edgesmith.cluster.status import status_manifest
from edgesmith.controller import concerns, fleet_metrics
from edgesmith.decide import decide

GOOD: dict[str, Any] = {
    "observedGeneration": 3,
    "variants": [
        {"profile": "amd64", "state": "Complete", "message": "Fine.", "transfer": {"each": 5, "nodes": 1}},
        {"profile": "arm64", "state": "Canary", "warnings": ["one", "two"]},
    ],
    "nodes": {"desired": 3, "ready": 2},
    "conditions": [],
}
RUBBISH = [3, None, "x", [], [3], {}, {"profile": 3}, [{"profile": "amd64"}], [None], True]
FIELDS = [field.alias or name for name, field in EdgeModelStatus.model_fields.items()]


def _raw(status: Any) -> dict[str, Any]:
    written = MODEL.model_dump(mode="json", by_alias=True, exclude_none=True)
    metadata = written["metadata"] | {"resourceVersion": "7"}
    return {"metadata": metadata, "spec": written["spec"], "status": status}


def _model(status: Any) -> EdgeModel:
    found = edge_model(_raw(status))
    assert isinstance(found, EdgeModel), "an EdgeModel is no worse for its status"
    return found


def _spoiled(*path: str | int, value: Any) -> dict[str, Any]:
    status: Any = copy.deepcopy(GOOD)
    here = status
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = value
    return status  # type: ignore[no-any-return]


def _without(*path: str | int) -> dict[str, Any]:
    status: Any = copy.deepcopy(GOOD)
    here = status
    for step in path[:-1]:
        here = here[step]
    del here[path[-1]]
    return status  # type: ignore[no-any-return]


def test_a_status_that_can_be_read_is_the_one_that_stands() -> None:
    status, unread = readable(GOOD)
    assert status is GOOD, "it is not copied for each change of a fleet"
    assert unread == ()
    assert readable(None) == ({}, ()), "one that nobody has written yet is nothing to speak of"


@pytest.mark.parametrize(
    ("spoiled", "left", "said"),
    [
        pytest.param(
            _spoiled("variants", 0, "message", value=7),
            _without("variants", 0, "message"),
            ["variants.0.message is 7; expected: a valid string"],
            id="a field that may be absent goes alone",
        ),
        pytest.param(
            _spoiled("variants", 0, "state", value=None),
            _without("variants", 0),
            ["variants.0.state is null; expected: a valid string"],
            id="one that is required takes its entry along, and is named once",
        ),
        pytest.param(
            _spoiled("variants", 0, "transfer", value={"each": 5}),
            _without("variants", 0, "transfer"),
            ["variants.0.transfer.nodes is absent; it is required"],
            id="what lacks something goes",
        ),
        pytest.param(
            _spoiled("variants", 1, "warnings", value=["one", 2]),
            _without("variants", 1, "warnings", 1),
            ["variants.1.warnings.1 is 2; expected: a valid string"],
            id="of a list the entry goes",
        ),
        pytest.param(
            _spoiled("variants", value={"amd64": "Complete"}),
            _without("variants"),
            ['variants is {"amd64": "Complete"}; expected: a valid tuple'],
            id="a list that is none goes",
        ),
        pytest.param(
            _spoiled("nodes", "ready", value="two"),
            _without("nodes", "ready"),
            ['nodes.ready is "two"; expected: a valid integer, unable to parse string as an integer'],
            id="a count",
        ),
        pytest.param([GOOD], {}, ["it is no object"], id="the whole of it"),
    ],
)
def test_what_cannot_be_read_goes_and_is_named(spoiled: Any, left: Any, said: list[str]) -> None:
    before = copy.deepcopy(spoiled)
    status, unread = readable(spoiled)
    assert (status, list(unread)) == (left, said)
    assert spoiled == before, "what was read is somebody else's"


def test_of_several_entries_each_goes_by_its_own_place() -> None:
    names = [{"profile": name, "state": "Complete"} for name in "abcde"]
    spoiled = [3, names[0], {"state": "Complete"}, names[1], None, names[2], "x", names[3], [], names[4]]
    status, unread = readable({"variants": spoiled})
    assert status == {"variants": names}
    assert list(unread[:2]) == [
        "variants.0 is 3; expected: a valid dictionary or instance of VariantStatus",
        "variants.2.profile is absent; it is required",
    ]
    assert unread[-1] == "2 more", "after an upgrade nobody reads a hundred sentences"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["profile", "state", "x"]), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(FIELDS), _JSON) | _JSON)
@settings(max_examples=100)
def test_whatever_stands_there_what_is_left_is_a_status(raw: Any) -> None:
    status, unread = readable(raw)
    EdgeModelStatus.model_validate(status)
    assert bool(unread) == (raw is not None and status != raw)


@pytest.mark.parametrize("field", [*FIELDS, "variants.builds", "variants.recompiled", "variants.refused"])
def test_no_reader_of_a_status_fails(field: str) -> None:
    outer, _, inner = field.partition(".")
    own = {"profile": "amd64", "state": "Complete", "buildKey": key_of(MODEL)}
    for rubbish in RUBBISH:
        _read_everywhere(_model({outer: [own | {inner: rubbish}] if inner else rubbish}))


def _read_everywhere(model: EdgeModel) -> None:
    seen = snapshot(model)
    decide(seen, NOW)
    decide(replace(seen, images={}), NOW)
    going = model.metadata.model_copy(update={"deletion_timestamp": "2030-01-01T00:00:00Z"})
    decide(replace(seen, model=model.model_copy(update={"metadata": going})), NOW)
    fleet_metrics.nodes([model])
    fleet_metrics.conditions([model])
    fleet_metrics.variants([model])
    concerns._builds(model, "key")
    showing.overview([model], model.metadata.namespace)
    showing.describe(Seen(Objects()), model)
    reporting.as_text(model)
    telling.as_text(model)


def test_the_operator_says_so_once_and_writes_the_status_anew() -> None:
    spoiled = _model({"variants": [3]})
    first, *_ = decide(snapshot(spoiled), NOW).events
    assert (first.type, first.reason) == ("Warning", "StatusUnreadable")
    assert first.message == (
        "The status has what cannot be read and was left out: "
        "variants.0 is 3; expected: a valid dictionary or instance of VariantStatus."
    )
    whole = decide(snapshot(_model({"variants": []})), NOW)
    assert all(event.reason != "StatusUnreadable" for event in whole.events)


async def test_what_cannot_be_read_is_written_over_once_though_the_rest_is_as_wanted() -> None:
    hub, wanted = Hub(), plan(status=STATUS)
    spoiled = _raw(status_manifest(STATUS) | {"pending": [3]})
    found = hub.objects.put(EDGE_MODEL, spoiled | {"metadata": spoiled["metadata"] | {"resourceVersion": "100"}})
    assert found is not None
    await hub.apply(wanted)
    assert len(hub.client.statuses) == 1
    await hub.apply(wanted)
    assert len(hub.client.statuses) == 1, "it is as it is to be"


class _OneModel:
    """An API server with one EdgeModel."""

    def __init__(self, status: Any) -> None:
        self.raw = _raw(status)

    async def list(self, *_: Any, **__: Any) -> AsyncIterator[dict[str, Any]]:
        yield self.raw


async def test_whoever_asks_for_one_is_told_what_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    spoiled = {"variants": [{"profile": "amd64", "state": 7}]}
    model = _model(spoiled)
    said = (
        "The status of EdgeModel parts has what this version cannot read, and it is left out: "
        "variants.0.state is 7; expected: a valid string"
    )
    assert f"\n{said}." in showing.detail(Seen(Objects()), model)
    assert showing.describe(Seen(Objects()), model)["unread"] == ["variants.0.state is 7; expected: a valid string"]
    assert "left out" not in showing.detail(Seen(Objects()), _model(GOOD))
    await asking.named(cast("Client", _OneModel(spoiled)), "parts", "plant")
    assert capsys.readouterr().err == f"edgesmith: {said}\n"
    await asking.named(cast("Client", _OneModel(GOOD)), "parts", "plant")
    assert capsys.readouterr().err == ""
