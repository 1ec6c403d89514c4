"""`edgesmith status` and `plan` where an EdgeModel cannot be read, a node lacks a device or a file has no digest."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from snapshots import NOW, key_of, model, profile, rebased, snapshot

from edgesmith.cli import asking
from edgesmith.cli import plan as planning
from edgesmith.cli import status as showing
from edgesmith.cli.seen import Seen
from edgesmith.cluster.errors import Invalid, Missing
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL, NODE
from edgesmith.cluster.objects import Objects
from edgesmith.decide import decide
from edgesmith.decide.plan import HoldImage
from edgesmith.decide.snapshot import HoldingSet

ORIGIN = f"sha256:{'e' * 64}"


def _raw(name: str, **spec: Any) -> dict[str, Any]:
    good = model().model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "metadata": {"name": name, "namespace": "plant", "uid": name, "resourceVersion": "1", "generation": 1},
        "spec": good["spec"] | spec,
    }


@pytest.fixture
def objects() -> Objects:
    found = Objects()
    found.put(EDGE_MODEL, _raw("good"))
    found.put(EDGE_MODEL, _raw("newer", rollout={"maxFailed": "a few"}))
    return found


def test_one_that_cannot_be_read_has_its_line(objects: Objects) -> None:
    models = asking.choose(objects, None, "plant")
    assert [one.metadata.name for one in models] == ["good"]
    shown = showing.overview(models, "", asking.unreadable(objects))
    line = next(line for line in shown.splitlines() if "newer" in line)
    assert "Unreadable" in line
    assert "spec.rollout.maxFailed" in line
    assert line.startswith("plant")


def test_asked_for_by_name_it_is_not_said_to_be_absent(objects: Objects) -> None:
    with pytest.raises(Invalid, match=r"spec\.rollout\.maxFailed"):
        asking.choose(objects, "newer", "plant")
    with pytest.raises(Missing, match="in namespace 'plant'"):
        asking.choose(objects, "nobody", "plant")


@pytest.mark.parametrize(
    ("origin", "words"),
    [(None, ""), (ORIGIN, f" It was not compiled: its layers are those of {ORIGIN}, over another base image.")],
)
def test_a_variant_says_whose_layers_it_has_before_its_warnings(
    objects: Objects, origin: str | None, words: str
) -> None:
    status = decide(snapshot(images={key_of(model()): rebased(model(), origin)}), NOW).status
    one = model().model_copy(update={"status": status.model_dump(mode="json", by_alias=True)})
    (row,) = showing.describe(Seen(objects), one)["variants"]
    assert row["message"] == f"{status.variants[0].message}{words} Warning: the drop is hardly known."


def test_a_node_that_lacks_a_device_says_so(objects: Objects) -> None:
    asks = profile(runtime={"resources": {"limits": {"squat.ai/edgetpu": 1}}})
    metadata = {"name": asks.metadata.name, "uid": "p", "resourceVersion": "1"}
    spec = asks.model_dump(mode="json", by_alias=True, exclude_none=True)["spec"]
    objects.put(DEVICE_PROFILE, {"metadata": metadata, "spec": spec})
    for name, count in (("with", "1"), ("without", "0")):
        status = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"squat.ai/edgetpu": count}}
        labels = {"device": asks.metadata.name}
        objects.put(NODE, {"metadata": {"name": name, "resourceVersion": "1", "labels": labels}, "status": status})
    (one,) = asking.choose(objects, "good", "plant")
    found = showing.describe(Seen(objects), one)["nodes"]
    assert {node["node"]: node["state"] for node in found} == {"with": "Idle", "without": "DeviceMissing"}


def test_files_without_a_digest_are_shown_with_what_was_found(objects: Objects) -> None:
    found = _raw("loose", source={"uri": "s3://models/a"}, evaluation={"uri": "https://h/e"})
    at = "2026-11-28T05:00:00Z"
    source = {"field": "source", "uri": "s3://models/a", "sha256": "a" * 64, "bytes": 1_310_720, "resolvedAt": at}
    objects.put(EDGE_MODEL, found | {"status": {"sources": [source]}})
    (one,) = asking.choose(objects, "loose", "plant")
    lines = showing.detail(Seen(objects), one).splitlines()
    header = next(number for number, line in enumerate(lines) if line.startswith("SOURCE "))
    assert lines[header + 1].split() == ["source", "a" * 64, "1.3", "MB", at, "s3://models/a"]
    assert lines[header + 2].split() == ["evaluation", "-", "-", "-", "https://h/e"]
    (plain,) = asking.choose(objects, "good", "plant")
    assert "SOURCE" not in showing.detail(Seen(objects), plain)


@pytest.mark.parametrize(
    ("given", "entries", "shown"),
    [
        ({"bytes": 2 * 10**9}, [], [["source", "2.0 GB", ""]]),
        ({}, [{"bytes": 5_000}], [["source", "5.0 kB", "2026-11-28T05:00:00Z"]]),
        ({}, [{}], [["source", "", "2026-11-28T05:00:00Z"]]),
        ({}, [{"bytes": 5_000, "sha256": "b" * 64}], []),
        ({}, [], []),
    ],
    ids=["the spec says it", "a look found it", "nobody could say", "of another file", "nobody asked"],
)
def test_the_size_of_a_model_is_shown_where_it_is_known(
    given: dict[str, Any], entries: list[dict[str, Any]], shown: list[list[str]]
) -> None:
    file = {"uri": "s3://models/a", "sha256": "a" * 64}
    common = {"field": "source", "resolvedAt": "2026-11-28T05:00:00Z", **file}
    of = model(source=file | given).model_copy(update={"status": {"sources": [common | one for one in entries]}})
    rows = showing.describe(Seen(Objects()), of)["sources"]
    assert [[row["field"], row["size"], row["resolvedAt"]] for row in rows] == shown
    assert all((row["sha256"], row["uri"]) == ("a" * 64, "s3://models/a") for row in rows)


def test_a_plan_names_the_files_that_it_would_look_at() -> None:
    seen = replace(snapshot(), model=model(source={"uri": "s3://models/a"}))
    planned = [planning.Planned(seen, decide(seen, NOW), None)]
    assert "  look      at spec.source s3://models/a: the digest of spec.source is not known" in planning.as_text(
        planned
    )
    (entry,) = json.loads(planning.as_json(planned))
    assert entry["look"]["files"] == [{"field": "source", "uri": "s3://models/a"}]
    plain = [planning.Planned(snapshot(), decide(snapshot(), NOW), None)]
    assert "  look " not in planning.as_text(plain)
    assert json.loads(planning.as_json(plain))[0]["look"] is None


def test_a_plan_says_which_image_it_would_hold() -> None:
    seen = snapshot()
    hold = HoldImage(profile(), "864d066ceb", f"registry/models@sha256:{'3' * 64}", ("419fc52057",))
    made = replace(decide(seen, NOW), holds=(hold,))
    line = "  hold      image of revision 864d066ceb on nodes of amd64 that run another one"
    assert line in planning.as_text([planning.Planned(seen, made, None)]).splitlines()
    held = replace(seen, holding=(HoldingSet("864d066ceb", "amd64"),))
    assert "  hold " not in planning.as_text([planning.Planned(held, made, None)])
    (entry,) = json.loads(planning.as_json([planning.Planned(held, made, None)]))
    assert entry["holds"] == [{"profile": "amd64", "revision": "864d066ceb", "image": hold.image}]


def test_what_became_of_each_request_has_its_table(objects: Objects) -> None:
    request = {"request": "promote[419fc52057]", "state": "Obsolete", "message": "It can be removed."}
    asked = _raw("good") | {"status": {"requests": [request]}}
    asked["metadata"]["resourceVersion"] = "2"
    objects.put(EDGE_MODEL, asked)
    (found,) = asking.choose(objects, "good", "plant")
    assert "REQUEST" not in showing.detail(Seen(Objects()), model())
    lines = showing.detail(Seen(objects), found).splitlines()
    assert "promote[419fc52057]   Obsolete   It can be removed." in lines
