"""The device plugin that the chart brings; those of vendors are `test_chart_devices.py`'s."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chart_rendering import CHART, DIGEST, PROFILES, REQUIRED, Object, load, merge, pick, render, resources, template

IMAGE = f"registry.example/squat/generic-device-plugin@{DIGEST}"
NAME = "edgesmith-generic-device-plugin"


def values(install: list[str], **generic: Any) -> Object:
    return {
        "profiles": {"install": install},
        "devicePlugins": {"generic": {"enabled": True, "image": IMAGE, **generic}},
    }


def pod(install: list[str], **generic: Any) -> Object:
    found: Object = pick(render(values(install, **generic)), "DaemonSet", NAME)["spec"]["template"]["spec"]
    return found


def test_there_is_none_unless_it_is_asked_for() -> None:
    assert [one for one in render({"profiles": {"install": list(PROFILES)}}) if one["kind"] == "DaemonSet"] == []


def test_it_offers_an_edge_tpu_at_pcie_and_at_usb_under_both_ids() -> None:
    (container,) = pod(["coral-usb"])["containers"]
    assert container["image"] == IMAGE
    flag, device, *others = container["args"]
    assert (others[0], json.loads(others[1])["name"]) == ("--device", "hexagon")
    assert (flag, json.loads(device)) == (
        "--device",
        {
            "name": "edgetpu",
            "groups": [
                {"paths": [{"path": "/dev/apex_0"}]},
                {"usb": [{"vendor": "1a6e", "product": "089a"}]},
                {"usb": [{"vendor": "18d1", "product": "9302"}]},
            ],
        },
    )


def test_what_it_offers_is_what_the_profiles_ask_for_and_tell_their_devices_by() -> None:
    asked = {name for profile in PROFILES.values() for name in resources(profile) if name.startswith("squat.ai/")}
    devices = load(CHART / "values.yaml")["devicePlugins"]["generic"]["devices"]
    assert {f"squat.ai/{one['name']}" for one in devices} == asked
    offered = [one for group in devices[0]["groups"] for one in group.get("usb", ())]
    assert offered == PROFILES["coral-usb"]["spec"]["hardware"]["detect"]["usb"]


def test_it_runs_where_profiles_ask_for_it() -> None:
    install = ["coral-usb", "coral-m2", "intel-gpu"]
    affinity = pod(install)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert affinity["nodeSelectorTerms"] == [
        {"matchExpressions": [{"key": "edgesmith.dev/device", "operator": "In", "values": ["coral-usb", "coral-m2"]}]}
    ]
    assert "nodeSelector" not in pod(install)


def test_it_runs_on_nodes_of_ones_own() -> None:
    found = pod(["generic-amd64"], nodeSelector={"plant.example/tpu": "true"})
    assert found["nodeSelector"] == {"plant.example/tpu": "true"}
    assert "affinity" not in found


@pytest.mark.parametrize(
    ("install", "generic", "says"),
    [
        (["coral-usb"], {"image": ""}, "devicePlugins.generic.image is empty: expected a reference"),
        (["generic-amd64"], {}, "profiles.install has no profile that asks for a resource of squat.ai"),
    ],
)
def test_what_is_lacking_is_named(install: list[str], generic: Object, says: str) -> None:
    done = template(merge(REQUIRED, values(install, **generic)))
    assert done.returncode != 0
    assert says in done.stderr


def test_the_folder_of_the_kubelet_is_the_nodes() -> None:
    found = pod(["coral-usb"], pluginFolder="/data/kubelet/device-plugins")
    (container,) = found["containers"]
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    folders = {one["name"]: one["hostPath"]["path"] for one in found["volumes"]}
    assert mounts == {"plugins": "/var/lib/kubelet/device-plugins", "dev": "/dev"}
    assert folders == {"plugins": "/data/kubelet/device-plugins", "dev": "/dev"}


def test_it_is_pulled_with_the_secrets_of_the_release() -> None:
    objects = render(values(["coral-usb"]) | {"image": {"pullSecrets": ["pull", "mirror"]}})
    found = pick(objects, "DaemonSet", NAME)["spec"]["template"]["spec"]
    assert found["imagePullSecrets"] == [{"name": "pull"}, {"name": "mirror"}]
    assert "imagePullSecrets" not in pod(["coral-usb"])


def test_its_pods_are_not_taken_for_the_operators() -> None:
    objects = render(values(["coral-usb"]))
    plugin = pick(objects, "DaemonSet", NAME)["spec"]
    labels = plugin["template"]["metadata"]["labels"]
    assert plugin["selector"]["matchLabels"].items() <= labels.items()
    selectors = [one["spec"]["podSelector"] for one in objects if one["kind"] == "NetworkPolicy"]
    selectors += [one["spec"]["selector"] for one in objects if one["kind"] == "Deployment"]
    assert selectors
    for selector in selectors:
        assert not selector["matchLabels"].items() <= labels.items()
    assert plugin["template"]["spec"]["automountServiceAccountToken"] is False


def test_the_chart_has_no_dependency_that_helm_would_have_to_fetch() -> None:
    assert "dependencies" not in load(CHART / "Chart.yaml")
