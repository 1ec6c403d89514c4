"""NetworkPolicies: who reaches whom, and nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from chart_rendering import Object, pick, render

from edgesmith.api.names import (
    BUILDER,
    COMPONENT_LABEL,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    REPORTER,
    REPORTS_LABEL,
    REVISION_LABEL,
    SERVER,
    TRIAL,
    TRIAL_LABEL,
    UPLINK_LABEL,
)

DNS = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
PLANT = {"networkPolicies": {"modelNamespaces": ["plant-7"]}}


def ports(rules: list[Object]) -> list[set[int]]:
    """The ports of each rule."""
    return [{entry["port"] for entry in rule["ports"]} for rule in rules]


def policy(values: Object, name: str) -> Object:
    """The spec of one policy."""
    found: Object = pick(render(values), "NetworkPolicy", name)["spec"]
    return found


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector, as far as ours go, matches labels."""
    tests: dict[str, Any] = {"Exists": lambda key: key in labels, "DoesNotExist": lambda key: key not in labels}
    return selector["matchLabels"].items() <= labels.items() and all(
        tests[entry["operator"]](entry["key"]) for entry in selector.get("matchExpressions", ())
    )


def test_the_operator_reaches_names_the_api_server_and_the_registry() -> None:
    spec = policy({}, "edgesmith")
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert ports(spec["ingress"]) == [{8080}]
    assert spec["egress"][0]["ports"] == DNS
    assert ports(spec["egress"][1:]) == [{443, 6443}, {5000}]


def test_address_ranges_narrow_the_rules() -> None:
    narrow = {"networkPolicies": {"apiServer": {"cidrs": ["10.0.0.1/32"]}, "registry": {"cidrs": ["10.0.0.2/32"]}}}
    egress = policy(narrow, "edgesmith")["egress"]
    assert [rule["to"] for rule in egress[1:]] == [
        [{"ipBlock": {"cidr": "10.0.0.1/32"}}],
        [{"ipBlock": {"cidr": "10.0.0.2/32"}}],
    ]


@pytest.mark.parametrize(
    ("values", "registry", "bucket"),
    [
        ({"registry": {"repository": "registry.example/models"}}, {443}, {443, 9000}),
        ({"registry": {"repository": "registry.example/models", "plainHTTP": True}}, {80}, {443, 9000}),
        ({"registry": {"repository": "registry.example:5000/models"}}, {5000}, {443, 9000}),
        ({"bucket": {"endpoint": "https://s3.example"}}, {5000}, {443}),
        ({"bucket": {"endpoint": "http://s3.example"}}, {5000}, {80}),
        ({"bucket": {"endpoint": "http://minio.example:9000"}}, {5000}, {9000}),
        (
            {
                "networkPolicies": {
                    "modelNamespaces": ["plant-7"],
                    "registry": {"ports": [8443]},
                    "bucket": {"ports": [1]},
                }
            },
            {8443},
            {1},
        ),
    ],
)
def test_a_build_reaches_the_ports_that_the_values_name(values: Object, registry: set[int], bucket: set[int]) -> None:
    spec = policy({**PLANT, **values}, "edgesmith-build")
    assert spec["ingress"] == []
    assert spec["egress"][0]["ports"] == DNS
    assert ports(spec["egress"][1:]) == [bucket, registry, {443}]


def test_a_build_reaches_other_sources_where_the_values_say_so() -> None:
    def egress(**sources: Any) -> list[Object]:
        values = {"networkPolicies": {"modelNamespaces": ["plant-7"], "sources": sources}}
        rules: list[Object] = policy(values, "edgesmith-build")["egress"]
        return rules[3:]

    assert "to" not in egress()[0]
    (narrow,) = egress(cidrs=["10.0.0.3/32"], ports=[8443, 5001])
    assert ports([narrow]) == [{8443, 5001}]
    assert narrow["to"] == [{"ipBlock": {"cidr": "10.0.0.3/32"}}]
    assert egress(ports=[]) == []


def test_a_server_answers_its_namespace_and_asks_servers_alone() -> None:
    spec = policy(PLANT, "edgesmith-serving")
    (asked,) = spec["egress"]
    assert ports([asked]) == [{8000, 8001}]
    assert asked["to"] == [{"podSelector": {"matchLabels": {MANAGED_BY_LABEL: MANAGED_BY, COMPONENT_LABEL: SERVER}}}]
    (rule,) = spec["ingress"]
    assert rule["from"] == [{"podSelector": {}}]
    assert ports([rule]) == [{8000, 8001}]


def test_others_may_be_let_in_to_the_servers() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"team": "line-3"}}}
    more = {"networkPolicies": {"modelNamespaces": ["plant-7"], "serving": {"from": [peer], "ports": [9001]}}}
    (rule,) = policy(more, "edgesmith-serving")["ingress"]
    assert rule["from"] == [{"podSelector": {}}, peer]
    assert ports([rule]) == [{9001}]


def test_policies_select_the_pods_by_the_labels_that_the_operator_gives() -> None:
    names = ("build", "serving", "trial")
    build, serving, trial = (policy(PLANT, f"edgesmith-{name}")["podSelector"] for name in names)
    ours = {MANAGED_BY_LABEL: MANAGED_BY}
    building = ours | {COMPONENT_LABEL: BUILDER}
    answering = ours | {COMPONENT_LABEL: SERVER, REVISION_LABEL: "r"}
    assert (selects(build, building), selects(build, answering), selects(build, {})) == (True, False, False)
    assert (selects(serving, answering), selects(serving, building), selects(serving, {})) == (True, False, False)
    trying = ours | {COMPONENT_LABEL: TRIAL, TRIAL_LABEL: "t"}
    assert [selects(one, trying) for one in (build, serving, trial)] == [False, False, True]
    assert (selects(trial, building), selects(trial, answering)) == (False, False)


def test_a_trial_is_reached_by_nobody_and_asks_nobody() -> None:
    spec = policy(PLANT, "edgesmith-trial")
    assert (spec["policyTypes"], spec["ingress"], spec["egress"]) == (["Ingress", "Egress"], [], [])


def test_what_reports_drift_asks_servers_and_is_reached_by_nobody() -> None:
    spec = policy(PLANT, "edgesmith-report")
    reporter = {MANAGED_BY_LABEL: MANAGED_BY, COMPONENT_LABEL: REPORTER, REPORTS_LABEL: "1"}
    assert selects(spec["podSelector"], reporter)
    others = (policy(PLANT, f"edgesmith-{name}")["podSelector"] for name in ("serving", "trial", "build"))
    assert not any(selects(other, reporter) for other in others)
    assert spec["ingress"] == []
    (asked,) = spec["egress"]
    assert ports([asked]) == [{8000, 8001}]
    assert asked["to"] == [{"podSelector": {"matchLabels": {MANAGED_BY_LABEL: MANAGED_BY, COMPONENT_LABEL: SERVER}}}]


def test_every_named_namespace_gets_all_and_none_can_be_had() -> None:
    two = render({"networkPolicies": {"modelNamespaces": ["plant-7", "plant-8"]}})
    places = sorted(o["metadata"]["namespace"] for o in two if o["kind"] == "NetworkPolicy")
    assert places == ["edgesmith-system", *["plant-7"] * 5, *["plant-8"] * 5]
    none = render({"networkPolicies": {"enabled": False, "modelNamespaces": ["plant-7"]}})
    assert not [o for o in none if o["kind"] == "NetworkPolicy"]


def test_a_pod_that_sends_samples_reaches_names_and_the_bucket_besides() -> None:
    spec = policy({**PLANT, "bucket": {"endpoint": "http://minio.example:9000"}}, "edgesmith-uplink")
    server = {MANAGED_BY_LABEL: MANAGED_BY, COMPONENT_LABEL: SERVER, REVISION_LABEL: "1"}
    assert selects(spec["podSelector"], server | {UPLINK_LABEL: "bucket"})
    assert not selects(spec["podSelector"], server)
    assert spec["policyTypes"] == ["Egress"]
    assert spec["egress"][0]["ports"] == DNS
    assert ports(spec["egress"][1:]) == [{9000}]
