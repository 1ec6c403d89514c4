"""`edgesmith plan` says what `kubectl apply` would make, and as much as a tenant's rights allow."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from apiserver import NOBODY, ApiServer, Object
from operator_process import device_profile, edge_model
from test_cli import SETTINGS, edgesmith

from edgesmith.cluster.client import Client
from edgesmith.cluster.dry_run import as_applied
from edgesmith.cluster.errors import Invalid
from edgesmith.cluster.kinds import EDGE_MODEL
from edgesmith_stage.shell import ROOT

LINE = 300
"""Characters of a refusal that a person reads at once."""


def client_side(server: ApiServer, document: Object) -> None:
    server.kubectl("apply", document=document)


def server_side(manager: str) -> Callable[[ApiServer, Object], None]:
    def apply(server: ApiServer, document: Object) -> None:
        server.kubectl("apply", "--server-side", "--field-manager", manager, document=document)

    return apply


def created(server: ApiServer, document: Object) -> None:
    server.kubectl("create", document=document)


def gated(namespace: str, **gates: Any) -> Object:
    return edge_model("parts", namespace, **({"gates": gates} if gates else {}))


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param(client_side, client_side, id="kubectl-apply"),
        pytest.param(server_side("kubectl"), server_side("kubectl"), id="kubectl-apply-server-side"),
        pytest.param(server_side("argocd-controller"), server_side("argocd-controller"), id="argocd"),
        pytest.param(created, client_side, id="kubectl-create"),
    ],
)
async def test_a_dry_run_is_what_applying_makes(
    server: ApiServer,
    client: Client,
    namespace: str,
    first: Callable[[ApiServer, Object], None],
    then: Callable[[ApiServer, Object], None],
) -> None:
    first(server, gated(namespace, maxLatency="50ms", maxMemory="1Gi"))
    before = server.get("edgemodels", "parts", namespace)
    after = gated(namespace, maxMemory="2Gi")
    expected = await as_applied(client, EDGE_MODEL, after)
    assert server.get("edgemodels", "parts", namespace) == before
    then(server, after)
    live = server.get("edgemodels", "parts", namespace)
    assert live is not None
    assert expected["spec"] == live["spec"]
    assert expected["spec"]["gates"]["maxMemory"] == "2Gi"


@pytest.mark.parametrize("apply", [client_side, server_side("kubectl"), created])
async def test_a_field_that_does_not_exist_is_refused_by_its_name(
    server: ApiServer, client: Client, namespace: str, apply: Callable[[ApiServer, Object], None]
) -> None:
    """As `kubectl apply` does: a plan of what was meant otherwise would say that there is nothing to do."""
    apply(server, gated(namespace))
    with pytest.raises(Invalid, match="maxPullling") as refused:
        await as_applied(client, EDGE_MODEL, edge_model("parts", namespace, rollout={"maxPullling": 3}))
    assert len(str(refused.value)) < LINE


async def test_a_field_that_another_manager_owns_is_kept(server: ApiServer, client: Client, namespace: str) -> None:
    server_side("kubectl")(server, gated(namespace, maxLatency="50ms"))
    server.kubectl(
        "patch", "edgemodel", "parts", "-n", namespace, "--type=merge", "-p", '{"spec":{"nodeSelector":{"a":"b"}}}'
    )
    expected = await as_applied(client, EDGE_MODEL, gated(namespace))
    assert expected["spec"]["nodeSelector"] == {"a": "b"}
    assert "maxLatency" not in expected["spec"].get("gates", {})


def grant(server: ApiServer, namespace: str, name: str, rules: list[Object], *, cluster: bool = False) -> None:
    """Let the user `nobody` do something."""
    scope = {} if cluster else {"namespace": namespace}
    role, binding = ("ClusterRole", "ClusterRoleBinding") if cluster else ("Role", "RoleBinding")
    api = "rbac.authorization.k8s.io"
    server.apply(
        [
            {"apiVersion": f"{api}/v1", "kind": role, "metadata": {"name": name, **scope}, "rules": rules},
            {
                "apiVersion": f"{api}/v1",
                "kind": binding,
                "metadata": {"name": name, **scope},
                "roleRef": {"apiGroup": api, "kind": role, "name": name},
                "subjects": [{"apiGroup": api, "kind": "User", "name": "nobody"}],
            },
        ]
    )


def rule(group: str, resources: list[str], *verbs: str) -> Object:
    return {"apiGroups": [group], "resources": resources, "verbs": list(verbs)}


@pytest.fixture
def tenant(server: ApiServer, namespace: str) -> str:
    """A namespace that the user `nobody` may edit, and nothing else; its settings and profile are readable."""
    metadata = {"name": "edgesmith-settings", "namespace": namespace}
    server.create("configmaps", {"metadata": metadata, "data": SETTINGS})
    server.apply(device_profile(f"{namespace}-device"))
    grant(
        server,
        namespace,
        f"{namespace}-edit",
        [
            rule("edgesmith.dev", ["edgemodels"], "get", "list", "create", "patch"),
            rule("", ["pods"], "list"),
            rule("batch", ["jobs"], "list"),
            rule("apps", ["daemonsets"], "list"),
            rule("", ["configmaps"], "get"),
        ],
    )
    profiles = [rule("edgesmith.dev", ["deviceprofiles"], "get", "list")]
    grant(server, namespace, f"{namespace}-profiles", profiles, cluster=True)
    labels = {"edgesmith.dev/device": f"{namespace}-device"}
    server.create("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": namespace, "labels": labels}})
    return namespace


def test_a_tenant_who_may_not_list_nodes_is_told_what_does_not_depend_on_them(server: ApiServer, tenant: str) -> None:
    config = server.kubeconfig(NOBODY, tenant)
    words = ["plan", "-f", "-", "--operator-namespace", tenant]
    done = edgesmith(server, *words, kubeconfig=config, document=[edge_model("parts", tenant)])
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("  nodes ")]
    assert "moves are not planned: listing nodes failed" in line
    assert "edgesmith-reader" in line
    assert "BuildsReady is False, WaitingForRegistry" in done.stdout
    assert "NoNodes" not in done.stdout
    done = edgesmith(server, *words, "-o", "json", kubeconfig=config, document=[edge_model("parts", tenant)])
    (found,) = json.loads(done.stdout)
    assert "listing nodes failed" in found["nodesRefused"]
    assert "moves" not in found
    assert {one["type"] for one in found["status"]["conditions"]} == {
        "ProfilesResolved",
        "SourceResolved",
        "BuildsReady",
    }


def test_a_tenant_sees_his_models_without_the_nodes(server: ApiServer, tenant: str) -> None:
    server.apply(edge_model("parts", tenant))
    config = server.kubeconfig(NOBODY, tenant)
    done = edgesmith(server, "status", "parts", kubeconfig=config)
    assert done.returncode == 0, done.stderr
    assert "Nodes are not shown: listing nodes failed" in done.stdout
    assert "\nNODE " not in done.stdout
    done = edgesmith(server, "status", kubeconfig=config)
    assert "parts" in done.stdout


def test_the_reader_role_shows_the_nodes(server: ApiServer, tenant: str) -> None:
    template = (ROOT / "charts/edgesmith/templates/rbac-users.yaml").read_text()
    reader = next(part for part in template.split("---\n") if "}}-reader\n" in part)
    rules = yaml.safe_load(reader.partition("\nrules:\n")[2].partition("{{-")[0])
    grant(server, tenant, f"{tenant}-reader", rules, cluster=True)
    words = ["plan", "-f", "-", "--operator-namespace", tenant]
    config = server.kubeconfig(NOBODY, tenant)
    done = edgesmith(server, *words, kubeconfig=config, document=[edge_model("parts", tenant)])
    assert "  nodes     1 are to run it" in done.stdout, done.stdout + done.stderr


def test_settings_that_may_not_be_read_can_come_from_the_environment(server: ApiServer, tenant: str) -> None:
    words = ["plan", "-f", "-", "--operator-namespace", "kube-system"]
    config = server.kubeconfig(NOBODY, tenant)
    done = edgesmith(server, *words, kubeconfig=config, document=[edge_model("parts", tenant)])
    assert done.returncode == 1
    assert "reading ConfigMap kube-system/edgesmith-settings failed" in done.stderr
    assert "EDGESMITH_RUNTIME_IMAGES is not set" in done.stderr
    assert len(done.stderr.splitlines()) == 1
