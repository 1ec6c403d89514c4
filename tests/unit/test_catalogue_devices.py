"""Where a Coral is missing: what nodes of the catalogue's own profiles serve, and what their pods ask for."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from clusters import Cluster, labels
from snapshots import SETTINGS, model

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.decide.refusals import refusal
from edgesmith.decide.serving import serving
from edgesmith.decide.snapshot import Node
from edgesmith_stage.shell import ROOT

STICK = "squat.ai/edgetpu"
NONE: dict[str, Any] = {"resources": {"limits": {STICK: 0}}}
"""What a class or an EdgeModel says that goes without."""
CORALS = ("coral-dev-board", "coral-m2", "coral-usb")


def catalogues(name: str, **runtime: Any) -> DeviceProfile:
    """A profile of the chart, with what a site lays over `spec.runtime` of it, the engine's base image among it."""
    raw = yaml.safe_load((ROOT / f"charts/edgesmith/profiles/{name}.yaml").read_text())
    for part, said in runtime.get("resources", {}).items():
        raw["spec"]["runtime"]["resources"][part] |= said
    raw["spec"]["runtime"]["baseImage"] = f"registry:5000/edgesmith/runtime-litert@sha256:{'3' * 64}"
    return DeviceProfile.model_validate(raw)


def world(*profiles: DeviceProfile, **spec: Any) -> Cluster:
    """An EdgeModel of a TensorFlow Lite file over some profiles, and a node without any device for each."""
    of = model(
        source={"uri": "s3://models/parts.tflite", "sha256": "a" * 64},
        compiled=[{"toolchain": "EdgeTPU", "uri": "s3://models/parts_edgetpu.tflite", "sha256": "c" * 64}],
        deviceProfiles={"names": [one.metadata.name for one in profiles]},
        **spec,
    )
    nodes = {one.metadata.name: Node(one.metadata.name, dict(one.spec.node_selector), True) for one in profiles}
    return Cluster(edge_model=of, profiles=profiles, nodes=nodes)


@pytest.mark.parametrize("name", CORALS)
def test_without_its_device_a_node_of_the_catalogue_gets_no_pod_as_its_notes_say(name: str) -> None:
    cluster = world(catalogues(name))
    plan = cluster.run(15)
    assert labels(cluster) == {name: None}
    assert [(one.name, one.reason) for one in plan.status.pending] == [(name, "DeviceMissing")]
    assert "without the device a node gets no pod" in catalogues(name).metadata.annotations["edgesmith.dev/notes"]


@pytest.mark.parametrize("name", CORALS)
@pytest.mark.parametrize("whose", ["the profile's", "the EdgeModel's"])
def test_a_limit_of_none_lets_such_a_node_serve_and_its_pods_ask_for_nothing(name: str, whose: str) -> None:
    profile = catalogues(name, **(NONE if whose == "the profile's" else {}))
    cluster = world(profile, **({"serving": NONE} if whose == "the EdgeModel's" else {}))
    plan = cluster.run(25)
    assert labels(cluster)[name]
    assert plan.status.variants[0].state == "Complete"
    pods = serving(cluster.edge_model, profile, "r@sha256:0", SETTINGS)
    assert STICK not in pods.resources["limits"], "a kubelet may refuse a pod that names a device it has none of"
    assert pods.resources["limits"]["memory"] == "512Mi", "the rest stays"
    assert (
        pods.revision != serving(world(catalogues(name)).edge_model, catalogues(name), "r@sha256:0", SETTINGS).revision
    )


@pytest.mark.parametrize(("coral", "processor"), [("coral-usb", "litert-arm64"), ("coral-m2", "litert-amd64")])
def test_one_edge_model_serves_on_the_sticks_and_on_processors_beside_them(coral: str, processor: str) -> None:
    cluster = world(catalogues(coral), catalogues(processor))
    with_stick = Node("stick", dict(cluster.nodes[coral].labels), True, offers={STICK: 1})
    cluster.nodes["stick"] = with_stick
    for one in cluster.profiles:
        assert refusal(cluster.edge_model, one, SETTINGS) is None, one.metadata.name
    cluster.run(40)
    given = labels(cluster)
    assert given[coral] is None, "that one has to be labelled as the other class first"
    assert None not in (given["stick"], given[processor])
    assert given["stick"] != given[processor]
    (relabelled,) = (one for one in cluster.profiles if one.metadata.name == processor)
    cluster.nodes[coral] = Node(coral, dict(relabelled.spec.node_selector), True)
    cluster.run(15)
    assert labels(cluster)[coral] == given[processor]
