"""Values: each is described three times and cannot be misspelt."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from chart_rendering import CHART, DIGEST, REQUIRED, ROOT, Object, load, merge, nested, run_helm, template
from yaml_files import documents

VALUES = load(CHART / "values.yaml")
SCHEMA: Object = json.loads((CHART / "values.schema.json").read_text())

LEAVES = {
    "builder.nodeSelector",
    "builder.resources",
    "profiles.overrides",
    "operator.nodeSelector",
    "operator.resources",
    "operator.affinity",
    "devicePlugins.generic.nodeSelector",
    "devicePlugins.generic.resources",
    "monitoring.serviceMonitor.labels",
    "monitoring.rules.labels",
    "monitoring.dashboard.labels",
}
"""Values that are objects of Kubernetes' own."""


def leaves(values: Object, prefix: str = "") -> Iterator[str]:
    """Every value's dotted path."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and path not in LEAVES:
            yield from leaves(value, f"{path}.")
        else:
            yield path


def schema_leaves(schema: Object, prefix: str = "") -> Iterator[tuple[str, Object]]:
    """Every value's dotted path and schema."""
    for key, part in schema["properties"].items():
        path = f"{prefix}{key}"
        if "properties" in part and path not in LEAVES:
            yield from schema_leaves(part, f"{path}.")
        elif path != "global":
            yield path, part


def objects_of(schema: Any) -> Iterator[Object]:
    """Every schema of an object with named fields."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
            yield schema
        for part in schema.values():
            yield from objects_of(part)


def test_lint_finds_nothing_but_that_there_is_no_icon() -> None:
    done = run_helm("lint", "--strict", str(CHART), values=REQUIRED)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^\[(?!INFO\] Chart.yaml: icon)", done.stdout, re.MULTILINE) == []


def test_lint_holds_without_any_value() -> None:
    assert run_helm("lint", "--strict", str(CHART)).returncode == 0


def test_the_chart_has_the_projects_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = load(CHART / "Chart.yaml")
    assert (chart["version"], chart["appVersion"]) == (project, project)


def test_every_value_is_in_the_schema_with_a_description_and_the_other_way_round() -> None:
    described = dict(schema_leaves(SCHEMA))
    assert sorted(described) == sorted(leaves(VALUES))
    assert [path for path, part in described.items() if not part.get("description")] == []


def test_every_object_of_the_schema_refuses_names_it_does_not_know() -> None:
    assert [schema for schema in objects_of(SCHEMA) if schema.get("additionalProperties") is not False] == []


def test_every_value_has_a_comment_above_it() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    keys = {path.rsplit(".", 1)[-1] for path in leaves(VALUES)}
    bare = []
    for number, line in enumerate(lines):
        key = re.match(r" *([A-Za-z]+):", line)
        inside = line.startswith(("    requests:", "    limits:"))
        if key and key[1] in keys and not inside and not lines[number - 1].lstrip().startswith("#"):
            bare.append(line)
    assert bare == []


def test_every_value_is_in_the_documentation() -> None:
    section = (ROOT / "docs/helm.md").read_text().partition("\n## Values\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([A-Za-z.]+)` \|", section, re.MULTILINE)
    assert sorted(rows) == sorted(leaves(VALUES))


def test_a_site_needs_no_builder_and_has_no_policy_for_builds() -> None:
    site = {"builder": {"enabled": False}, "networkPolicies": {"modelNamespaces": ["plant"]}}
    images = {name: image for name, image in REQUIRED["image"].items() if name != "builder"}
    done = template(merge({**REQUIRED, "image": images}, site))
    assert done.returncode == 0, done.stderr
    objects = {(one["kind"], one["metadata"]["name"]): one for one in documents(done.stdout)}
    settings = objects["ConfigMap", "edgesmith-settings"]["data"]
    assert settings["EDGESMITH_BUILDER_ENABLED"] == "false"
    assert "EDGESMITH_BUILDER_IMAGE" not in settings
    assert ("NetworkPolicy", "edgesmith-serving") in objects
    assert ("NetworkPolicy", "edgesmith-build") not in objects


@pytest.mark.parametrize(
    "path", ["image.operator", "image.builder", "image.runtime.onnxruntime", "registry.repository"]
)
def test_what_is_required_is_named_where_it_is_missing(path: str) -> None:
    done = template(merge(REQUIRED, nested(path, "")))
    assert done.returncode != 0
    assert f"{path} is empty: expected" in done.stderr


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("image.operator", "operator"),
        ("image.operator", "registry.example/edgesmith/operator"),
        ("image.builder", "registry.example/edgesmith/builder:0.1.0"),
        ("image.runtime.onnxruntime", "registry.example/edgesmith/runtime:0.1.0"),
        ("image.runtime.onnxruntime", "registry.example/edgesmith/runtime@sha256:12"),
        ("image.runtime.openvino", f"registry.example/edgesmith/runtime@{DIGEST.upper()}"),
        ("image.builders.qnn", "registry.example/edgesmith/builder-qnn:0.1.0"),
        ("image.builders.openvino", f"registry.example/edgesmith/builder@{DIGEST}"),
        ("image.runtime.tensorrt", f"registry.example/edgesmith/runtime@{DIGEST}"),
        ("image.runtime", f"registry.example/edgesmith/runtime@{DIGEST}"),
        ("image.pullPolicy", "Sometimes"),
        ("image.pullSecrets", [{"name": "pull"}]),
        ("registry.repository", "http://registry.example/models"),
        ("registry.repository", "registry.example"),
        ("registry.plainHTTP", "yes"),
        ("registry.pullSecret", "Pull Secret"),
        ("registry.pushSecret", "Push Secret"),
        ("registry.caBundle", "ca.pem"),
        ("signing.keySecret", "Signing Key"),
        ("signing.publicKey", "cosign.pub"),
        ("signing.policy", "require"),
        ("bucket.caBundle", "-----BEGIN CERTIFICATE-----"),
        ("builder.serviceAccount", "Builders"),
        ("bucket.endpoint", "minio.example:9000"),
        ("bucket.endpoint", "http://minio.example:9000/bucket"),
        ("builder.nodeSelector", {"edgesmith.dev/hub": True}),
        ("builder.resources", {"limits": {"memory": "2 GB"}}),
        ("builder.resources", {"limit": {}}),
        ("builder.deadlineSeconds", "1h"),
        ("builder.deadlineSeconds", 5),
        ("builder.maxConcurrent", 0),
        ("operator.resources", {"requests": {"cpu": -1}}),
        ("operator.nodeSelector", ["hub"]),
        ("operator.tolerations", [{"effect": "NoEntry"}]),
        ("operator.affinity", {"node": {}}),
        ("operator.priorityClassName", 7),
        ("operator.replicas", 2),
        ("operator.logLevel", "loud"),
        ("revisionHistoryLimit", 0),
        ("profiles.install", ["toaster"]),
        ("profiles.install", ["raspberry-pi-5", "raspberry-pi-5"]),
        ("profiles.nodeLabel", "device"),
        ("profiles.nodeLabel", "edgesmith.dev/device: x"),
        ("profiles.overrides", ["coral-usb"]),
        ("profiles.overrides.coral-usb", {}),
        ("profiles.overrides.coral-usb", {"nodeSelector": {"a": "b"}}),
        ("profiles.overrides.coral-usb.platform", {"architecture": "amd64"}),
        ("profiles.overrides.coral-usb.hardware.memory", "1 GB"),
        ("profiles.overrides.coral-usb.toolchain.name", "LiteRT"),
        ("profiles.overrides.coral-usb.toolchain.precisions", ["int4"]),
        ("profiles.overrides.coral-usb.toolchain.options", {"minRuntimeVersion": 13}),
        ("profiles.overrides.coral-usb.runtime.server", "Triton"),
        ("profiles.overrides.coral-usb.runtime.baseImage", "registry.example/edgesmith/runtime:0.1.0"),
        ("profiles.overrides.coral-usb.runtime.volumes", [{"name": "a", "hostPath": "/opt/a"}]),
        ("profiles.overrides.coral-usb.runtime.volumes", [{"name": "a", "hostPath": "../a", "mountPath": "/a"}]),
        ("profiles.overrides.coral-usb.runtime.volumes", [{"name": "a", "hostPath": "/a", "mountPath": "/model/a"}]),
        ("profiles.overrides.coral-usb.runtime.volumes", [{"name": "scratch", "hostPath": "/a", "mountPath": "/a"}]),
        ("nodeFeatureRules.enabled", "yes"),
        ("devicePlugins.nvidia", {"enabled": True}),
        ("devicePlugins.generic.enabled", "yes"),
        ("devicePlugins.generic.image", "generic-device-plugin"),
        ("devicePlugins.generic.devices", []),
        ("devicePlugins.generic.devices", [{"name": "edgetpu"}]),
        ("devicePlugins.generic.devices", [{"name": "tpu", "groups": [{"usb": [{"vendor": "18d1"}]}]}]),
        ("devicePlugins.generic.devices", [{"name": "tpu", "groups": [{"paths": [{"path": "/sys/x"}]}]}]),
        ("devicePlugins.generic.nodeSelector", ["edge"]),
        ("devicePlugins.generic.pluginFolder", "device-plugins"),
        ("devicePlugins.generic.resources", {"limits": {"memory": "64 MB"}}),
        ("monitoring.enabled", True),
        ("monitoring.serviceMonitor.enabled", "yes"),
        ("monitoring.serviceMonitor.interval", "30"),
        ("monitoring.rules.labels", {"release": 1}),
        ("monitoring.dashboard.labels", ["grafana_dashboard"]),
        ("crds.upgrade", "true"),
        ("rbac.aggregate", 1),
        ("rbac.readableProfiles", "no"),
        ("rbac.readableSettings", "no"),
        ("watchNamespaces", "plant-7"),
        ("watchNamespaces", ["*"]),
        ("watchNamespaces", ["plant-7", "plant-7"]),
        ("networkPolicies.enabled", "on"),
        ("networkPolicies.apiServer.cidrs", ["10.0.0.1"]),
        ("networkPolicies.apiServer.ports", []),
        ("networkPolicies.registry.ports", [70000]),
        ("networkPolicies.bucket.cidrs", "10.0.0.0/8"),
        ("networkPolicies.dns.cidrs", ["dns.example"]),
        ("networkPolicies.modelNamespaces", ["Plant 7"]),
        ("networkPolicies.serving.ports", ["http"]),
        ("networkPolicies.serving.ports", []),
        ("networkPolicies.serving.from", [{}]),
        ("registries", {"repository": "registry.example/models"}),
        ("imageRuntime", "x"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(path: str, value: Any) -> None:
    done = template(merge(REQUIRED, nested(path, value)))
    assert done.returncode != 0, f"{path}={value!r} was accepted"
    *parents, name = path.split(".")
    place = "/".join(["", *parents])
    assert f"at '{place}/{name}" in done.stderr or f"at '{place}': additional properties '{name}'" in done.stderr


@pytest.mark.parametrize("name", ["apiServer", "serving"])
def test_ports_without_which_all_would_be_open_cannot_be_taken_away(name: str) -> None:
    done = template(merge(REQUIRED, {"networkPolicies": {name: {"ports": None}, "modelNamespaces": ["plant"]}}))
    assert done.returncode != 0
    assert f"at '/networkPolicies/{name}': missing property 'ports'" in done.stderr


def ports_of(policy: Object) -> list[Any]:
    """The ports of each rule of a policy."""
    rules = [*policy["spec"].get("ingress", ()), *policy["spec"].get("egress", ())]
    return [rule.get("ports") for rule in rules]


@pytest.mark.parametrize("value", [[], None])
@pytest.mark.parametrize("name", ["registry", "bucket", "sources"])
def test_no_rule_is_without_ports_which_would_open_all(name: str, value: list[int] | None) -> None:
    values = {"networkPolicies": {name: {"ports": value}, "modelNamespaces": ["plant"]}}
    done = template(merge(REQUIRED, values))
    assert done.returncode == 0, done.stderr
    policies = [one for one in documents(done.stdout) if one["kind"] == "NetworkPolicy"]
    assert len(policies) > 4
    assert all(ports for policy in policies for ports in ports_of(policy))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("image.operator", "registry.example/edgesmith/operator:0.1.0"),
        ("image.operator", f"127.0.0.1:5000/edgesmith/operator@{DIGEST}"),
        ("registry.repository", "10.0.0.1:5000/models"),
        ("registry.repository", "registry.example/team/models"),
        ("bucket.endpoint", "https://s3.eu-central-1.example"),
        ("registry.caBundle", "# ours\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("builder.resources", {"requests": {"cpu": 2, "memory": "1.5Gi"}}),
        ("networkPolicies.apiServer.cidrs", ["fd00::1/128"]),
        ("networkPolicies.dns.cidrs", ["169.254.20.10/32"]),
        ("operator.tolerations", [{"operator": "Exists"}]),
        ("profiles.install", []),
        ("global", {"anything": True}),
    ],
)
def test_a_right_value_is_taken(path: str, value: Any) -> None:
    done = template(merge(REQUIRED, nested(path, value)))
    assert done.returncode == 0, done.stderr
