"""Exactly these verbs: one more fails as one less does."""

from __future__ import annotations

import re

from chart_rendering import ROOT, Object, pick, render

from edgesmith.cluster.configuration import CONFIG_MAP_NAME, settings_from
from edgesmith.cluster.lease import NAME as LEASE

Rules = dict[tuple[str, str], set[str]]

READ = {"get", "list", "watch"}
WATCH = {"list", "watch"}
LEASES = ("coordination.k8s.io", "leases")
CLUSTER: Rules = {("edgesmith.dev", "deviceprofiles"): WATCH, ("", "nodes"): WATCH | {"patch"}}
NAMESPACED: Rules = {
    ("edgesmith.dev", "edgemodels"): WATCH,
    ("edgesmith.dev", "edgemodels/status"): {"patch"},
    ("", "pods"): WATCH | {"create", "delete"},
    ("batch", "jobs"): WATCH | {"create", "delete"},
    ("apps", "daemonsets"): WATCH | {"create", "patch", "delete"},
    ("", "services"): {"get", "create", "patch"},
    ("", "events"): {"list", "create"},
    LEASES: WATCH,
}
OPERATOR = CLUSTER | NAMESPACED
EXPECTED: dict[tuple[str, str], Rules] = {
    ("ClusterRole", "edgesmith"): OPERATOR,
    ("Role", "edgesmith"): {LEASES: {"create", "get", "update"}},
    ("ClusterRole", "edgesmith-view"): {
        ("edgesmith.dev", "edgemodels"): READ,
        ("edgesmith.dev", "edgemodels/status"): READ,
    },
    ("ClusterRole", "edgesmith-edit"): {
        ("edgesmith.dev", "edgemodels"): {"create", "update", "patch", "delete", "deletecollection"}
    },
    ("ClusterRole", "edgesmith-reader"): {("edgesmith.dev", "deviceprofiles"): READ, ("", "nodes"): READ},
    ("Role", "edgesmith-settings"): {("", "configmaps"): {"get"}},
    ("ClusterRole", "edgesmith-profiles"): {("edgesmith.dev", "deviceprofiles"): READ},
    ("ClusterRole", "edgesmith-crds"): {("apiextensions.k8s.io", "customresourcedefinitions"): {"get", "patch"}},
}
BINDINGS = {
    ("ClusterRoleBinding", "edgesmith"): ("ServiceAccount", "edgesmith"),
    ("RoleBinding", "edgesmith"): ("ServiceAccount", "edgesmith"),
    ("RoleBinding", "edgesmith-settings"): ("Group", "system:authenticated"),
    ("ClusterRoleBinding", "edgesmith-profiles"): ("Group", "system:authenticated"),
    ("ClusterRoleBinding", "edgesmith-crds"): ("ServiceAccount", "edgesmith-crds"),
}


def granted(role: Object) -> Rules:
    """A role's rules by group and resource."""
    rules: Rules = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                rules.setdefault((group, resource), set()).update(rule["verbs"])
    return rules


def test_every_role_grants_exactly_what_is_used() -> None:
    roles = {(o["kind"], o["metadata"]["name"]): granted(o) for o in render() if o["kind"] in {"Role", "ClusterRole"}}
    assert roles == EXPECTED


def test_the_documentation_lists_the_operators_verbs() -> None:
    section = (ROOT / "docs/helm.md").read_text().partition("\n## What it may do\n")[2].partition("\n## ")[0]
    listed: Rules = {}
    for group, resources, verbs in re.findall(r"^\| (core|`[a-z0-9.]+`) \| (`.+?`) \| (.+?) \|", section, re.MULTILINE):
        for resource in re.findall(r"`(.+?)`", resources):
            listed["" if group == "core" else group.strip("`"), resource] = set(verbs.split(", "))
    assert listed == OPERATOR


def test_every_binding_binds_one_role_to_one_subject() -> None:
    found = {}
    for o in render():
        if o["kind"] in {"RoleBinding", "ClusterRoleBinding"}:
            (subject,) = o["subjects"]
            found[o["kind"], o["metadata"]["name"]] = (subject["kind"], subject["name"])
            assert o["roleRef"]["name"] == o["metadata"]["name"]
    assert found == BINDINGS


def test_nobody_reads_secrets_and_no_rule_has_a_wildcard() -> None:
    for o in render():
        for rule in o.get("rules") or ():
            assert "secrets" not in rule["resources"]
            assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]


def test_the_operator_reaches_one_lease_by_name_and_may_only_make_others() -> None:
    objects = render()
    found = [
        (rule.get("resourceNames"), set(rule["verbs"]))
        for kind in ("ClusterRole", "Role")
        for rule in pick(objects, kind, "edgesmith")["rules"]
        if rule["resources"] == ["leases"]
    ]
    assert found == [([LEASE], WATCH), (None, {"create"}), ([LEASE], {"get", "update"})]


def test_the_crd_job_may_touch_our_two_crds_only() -> None:
    (rule,) = pick(render(), "ClusterRole", "edgesmith-crds")["rules"]
    assert rule["resourceNames"] == ["edgemodels.edgesmith.dev", "deviceprofiles.edgesmith.dev"]


def test_user_roles_aggregate_and_can_be_left_out() -> None:
    label = "rbac.authorization.k8s.io/aggregate-to-"
    objects = render()
    assert pick(objects, "ClusterRole", "edgesmith-view")["metadata"]["labels"][f"{label}view"] == "true"
    assert pick(objects, "ClusterRole", "edgesmith-edit")["metadata"]["labels"][f"{label}edit"] == "true"
    assert pick(objects, "ClusterRole", "edgesmith-reader")["metadata"]["labels"][f"{label}view"] == "true"
    without = render({"rbac": {"aggregate": False, "readableProfiles": False, "readableSettings": False}})
    names = {o["metadata"]["name"] for o in without if o["kind"] in {"Role", "ClusterRole"}}
    assert names == {"edgesmith", "edgesmith-crds"}


def test_users_read_the_settings_and_no_other_config_map() -> None:
    (rule,) = pick(render(), "Role", "edgesmith-settings")["rules"]
    assert rule["resourceNames"] == ["edgesmith-settings"]


def test_where_no_builds_are_made_the_operator_may_do_nothing_with_jobs() -> None:
    found = granted(pick(render({"builder": {"enabled": False}}), "ClusterRole", "edgesmith"))
    without = {resource: verbs for resource, verbs in OPERATOR.items() if resource != ("batch", "jobs")}
    assert found == without | {("", "events"): {"create"}}


def test_with_namespaces_the_operator_may_do_nothing_in_any_other() -> None:
    objects = render({"watchNamespaces": ["plant-7", "plant-8"]})
    assert granted(pick(objects, "ClusterRole", "edgesmith")) == CLUSTER
    roles = [o for o in objects if (o["kind"], o["metadata"]["name"]) == ("Role", "edgesmith-models")]
    bindings = [o for o in objects if (o["kind"], o["metadata"]["name"]) == ("RoleBinding", "edgesmith-models")]
    namespaces = ["edgesmith-system", "plant-7", "plant-8"]
    assert [role["metadata"]["namespace"] for role in roles] == namespaces
    assert [binding["metadata"]["namespace"] for binding in bindings] == namespaces
    assert all(granted(role) == NAMESPACED for role in roles)
    assert {(s["kind"], s["name"], s["namespace"]) for binding in bindings for s in binding["subjects"]} == {
        ("ServiceAccount", "edgesmith", "edgesmith-system")
    }
    assert settings_from(pick(objects, "ConfigMap", CONFIG_MAP_NAME)["data"]).namespaces == tuple(namespaces)
    (container,) = pick(objects, "Deployment", "edgesmith")["spec"]["template"]["spec"]["containers"]
    assert {"configMapRef": {"name": CONFIG_MAP_NAME}} in container["envFrom"]


def test_without_namespaces_it_works_in_every_one() -> None:
    objects = render()
    assert not [o for o in objects if o["metadata"]["name"] == "edgesmith-models"]
    assert "EDGESMITH_NAMESPACES" not in pick(objects, "ConfigMap", CONFIG_MAP_NAME)["data"]


def test_a_token_reaches_only_the_pods_that_use_it() -> None:
    objects = render()
    accounts = [o for o in objects if o["kind"] == "ServiceAccount"]
    assert len(accounts) == 2
    assert all(o["automountServiceAccountToken"] is False for o in accounts)
    assert pick(objects, "Deployment", "edgesmith")["spec"]["template"]["spec"]["automountServiceAccountToken"] is True
