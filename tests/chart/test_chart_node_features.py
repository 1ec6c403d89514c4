"""The NodeFeatureRule labels what `edgesmith profile detect` would: both are made of the same facts.

Node Feature Discovery itself does not run here. Held against its documentation are the fields and operators of the
object (NodeFeatureRule of nfd.k8s-sigs.io/v1alpha1), the names of features, and which labels it may set; the object is
then evaluated as its customization guide says: all of matchFeatures, one of matchAny, later rules over earlier ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from chart_rendering import PROFILES, REQUIRED, Object, merge, pick, render, template
from device_trees import MACHINES, Machine

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.cli.profile.facts import read_facts
from edgesmith.decide.detect import Facts, fitting

DETECT: dict[str, Object] = {
    name: one["spec"].get("hardware", {}).get("detect") or {} for name, one in PROFILES.items()
}
TOLD = sorted(
    name for name, asked in DETECT.items() if (asked.get("pci") or asked.get("usb")) and "deviceTree" not in asked
)

OPERATORS = {"In", "InRegexp", "Exists"}
ATTRIBUTES = {
    "pci.device": {"vendor", "device", "class"},
    "usb.device": {"vendor", "device"},
    "cpu.cpuid": {"SSE2", "ASIMD"},
}


def rule_object(**profiles: Any) -> Object:
    values = {"nodeFeatureRules": {"enabled": True}, "profiles": {"install": list(PROFILES), **profiles}}
    return pick(render(values), "NodeFeatureRule", "edgesmith-devices")


def terms(rule: Object) -> Iterable[Object]:
    yield from rule["matchFeatures"]
    for one in rule["matchAny"]:
        yield from one["matchFeatures"]


def elements(facts: Facts, feature: str) -> list[dict[str, str]]:
    """What NFD's worker finds: of PCI classes it keeps four digits; a processor's flags are one element."""
    if feature == "pci.device":
        return [{"vendor": one.vendor, "device": one.device, "class": one.class_[:4]} for one in facts.pci]
    if feature == "usb.device":
        return [{"vendor": one.vendor, "device": one.product} for one in facts.usb]
    assert feature == "cpu.cpuid"
    return [{flag.upper(): "" for flag in facts.cpu_features}]


def matches(term: Object, facts: Facts) -> bool:
    """Whether one element has every attribute as it is asked for."""

    def agrees(element: dict[str, str], name: str, asked: Object) -> bool:
        if name not in element:
            return False
        if asked["op"] == "In":
            return element[name] in asked["value"]
        return asked["op"] == "Exists" or any(re.search(one, element[name]) for one in asked["value"])

    return any(
        all(agrees(element, name, asked) for name, asked in term["matchExpressions"].items())
        for element in elements(facts, term["feature"])
    )


def label_of(found: Object, facts: Facts, label: str = "edgesmith.dev/device") -> str | None:
    labels: dict[str, str] = {}
    for rule in found["spec"]["rules"]:
        all_of = all(matches(term, facts) for term in rule["matchFeatures"])
        if all_of and any(all(matches(term, facts) for term in one["matchFeatures"]) for one in rule["matchAny"]):
            labels |= rule["labels"]
    return labels.get(label)


def test_there_is_none_unless_it_is_asked_for() -> None:
    assert [one for one in render({"profiles": {"install": list(PROFILES)}}) if one["kind"] == "NodeFeatureRule"] == []


def test_the_object_is_as_nfds_crd_has_it() -> None:
    found = rule_object()
    assert (found["apiVersion"], set(found["spec"])) == ("nfd.k8s-sigs.io/v1alpha1", {"rules"})
    assert "namespace" not in found["metadata"], "it is of the cluster"
    for rule in found["spec"]["rules"]:
        assert set(rule) == {"name", "labels", "matchFeatures", "matchAny"}
        assert rule["matchFeatures"], "an empty list matches everything"
        assert rule["matchAny"]
        for one in rule["matchAny"]:
            assert set(one) == {"matchFeatures"}
        for term in terms(rule):
            assert set(term) == {"feature", "matchExpressions"}
            assert set(term["matchExpressions"]) <= ATTRIBUTES[term["feature"]]
            for asked in term["matchExpressions"].values():
                assert asked["op"] in OPERATORS
                assert ("value" in asked) == (asked["op"] != "Exists")
                assert all(isinstance(value, str) for value in asked.get("value", ()))


def test_it_has_the_profiles_that_nfd_can_tell_and_no_others() -> None:
    assert sorted(rule["name"] for rule in rule_object()["spec"]["rules"]) == TOLD
    assert {"coral-m2", "coral-usb", "intel-gpu", "intel-npu", "nvidia-gpu"} == set(TOLD)


@pytest.mark.parametrize("name", TOLD)
def test_a_profile_that_nfd_can_tell_asks_for_nothing_that_the_rule_leaves_out(name: str) -> None:
    assert len(set(DETECT[name])) == 1, "the template knows PCI or USB, one of the two"


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_it_labels_as_detect_would(name: str, tmp_path: Path) -> None:
    facts = read_facts(MACHINES[name].write(tmp_path)).facts
    told = [DeviceProfile.model_validate(PROFILES[one]) for one in TOLD]
    best = next((one.profile.metadata.name for one in fitting(told, facts)), None)
    assert label_of(rule_object(), facts) == best
    assert best == (name if name in TOLD else None) or name == "coral-dev-board"


@pytest.mark.parametrize(
    ("pci", "best"),
    [
        (("8086:7d55:030000", "8086:7d1d:120000", "10de:2684:030000"), "intel-npu"),
        (("8086:a780:030000", "10de:2684:030200"), "nvidia-gpu"),
        (("10de:0fb9:040300",), None),
        (("1ac1:089b:088000",), None),
    ],
)
def test_of_several_devices_the_one_that_tells_most_wins(
    pci: tuple[str, ...], best: str | None, tmp_path: Path
) -> None:
    facts = read_facts(Machine("x86_64", features="sse sse2", pci=pci).write(tmp_path)).facts
    assert label_of(rule_object(), facts) == best


def test_only_installed_profiles_are_labelled() -> None:
    assert [rule["name"] for rule in rule_object(install=["intel-gpu", "raspberry-pi-5"])["spec"]["rules"]] == [
        "intel-gpu"
    ]


def test_the_label_is_the_sites() -> None:
    found = rule_object(nodeLabel="plant.example/device")
    assert all(rule["labels"] == {"plant.example/device": rule["name"]} for rule in found["spec"]["rules"])


@pytest.mark.parametrize("label", ["edgesmith.dev.node-restriction.kubernetes.io/device", "kubernetes.io/device"])
def test_a_label_that_nfd_may_not_set_is_refused(label: str) -> None:
    profiles = {"nodeLabel": label, "install": ["coral-usb"]}
    done = template(merge(REQUIRED, {"nodeFeatureRules": {"enabled": True}, "profiles": profiles}))
    assert done.returncode != 0
    assert f'profiles.nodeLabel is "{label}": expected a label that Node Feature Discovery may set' in done.stderr


def test_without_a_profile_that_nfd_can_tell_the_value_is_refused() -> None:
    done = template(merge(REQUIRED, {"nodeFeatureRules": {"enabled": True}}))
    assert done.returncode != 0
    assert "profiles.install has no profile that is known by a device at PCI or USB alone" in done.stderr
