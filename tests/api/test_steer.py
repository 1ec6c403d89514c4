"""Edits of a rollout: on the command line, by kubectl, and by another field manager's server-side apply."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from apiserver import ApiServer, Object, RefusedError, wait_for
from kubelets import Kubelets
from operator_process import Operator, edge_model, wait_condition
from rollouts import labels, roll_out
from test_cli import edgesmith

NODES = ("-1", "-2")


def status(server: ApiServer, namespace: str) -> Object:
    found: Object = (server.get("edgemodels", "parts", namespace) or {}).get("status", {})
    return found


def looked_at(server: ApiServer, namespace: str) -> bool:
    found: Object = server.get("edgemodels", "parts", namespace) or {}
    return bool(found["metadata"]["generation"] == found["status"]["observedGeneration"])


def spec(server: ApiServer, namespace: str) -> Object:
    found: Object = (server.get("edgemodels", "parts", namespace) or {})["spec"]
    return found


def owners(server: ApiServer, namespace: str, field: str) -> set[str]:
    """The managers that own a field of spec.rollout."""
    managed = (server.get("edgemodels", "parts", namespace) or {})["metadata"]["managedFields"]
    return {
        one["manager"]
        for one in managed
        if f"f:{field}" in one.get("fieldsV1", {}).get("f:spec", {}).get("f:rollout", {}) and "subresource" not in one
    }


def run(server: ApiServer, namespace: str, *words: str) -> str:
    done = edgesmith(server, *words, "-n", namespace)
    assert done.returncode == 0, done.stderr
    return done.stdout


def serve_on(server: ApiServer, namespace: str, port: int, manager: str, **rollout: Any) -> None:
    """Another port by server-side apply, as a tool that syncs from git does: another revision of the same image."""
    document = edge_model("parts", namespace, serving={"port": port}, rollout=rollout)
    server.kubectl("apply", "--server-side", "--force-conflicts", f"--field-manager={manager}", document=document)


def everywhere(server: ApiServer, namespace: str, revision: str) -> None:
    nodes = {f"{namespace}{one}" for one in NODES}
    wait_for(f"{revision} is on all nodes", lambda: labels(server, namespace) == dict.fromkeys(nodes, revision), 60)


async def test_a_rollout_is_paused_promoted_and_rolled_back_and_the_history_says_who_did_what(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator
) -> None:
    await roll_out(server, namespace, kubelets, operator, [f"{namespace}{one}" for one in NODES])
    (first,) = set(labels(server, namespace).values())
    assert "spec:\n  rollout:\n    paused: true" in run(server, namespace, "pause", "parts")
    assert owners(server, namespace, "paused") == {"edgesmith-cli"}
    slow = {"steps": [{"nodes": 1, "bake": "1h"}]}
    serve_on(server, namespace, 8123, "argocd-controller", **slow)
    wait_condition(server, namespace, "parts", "Ready", "Paused")
    assert set(labels(server, namespace).values()) == {first}
    run(server, namespace, "resume", "parts")
    wait_for("a canary", lambda: len(set(labels(server, namespace).values())) == 2, 60)
    (second,) = set(labels(server, namespace).values()) - {first}

    shown = yaml.safe_load(run(server, namespace, "promote", "parts", "--dry-run"))
    assert [one["revision"] for one in shown["spec"]["rollout"]["promote"]] == [second]
    assert "promote" not in spec(server, namespace)["rollout"], "a dry run writes nothing"
    run(server, namespace, "promote", "parts")
    assert spec(server, namespace)["rollout"]["promote"] == [{"revision": second, "steps": 1}]
    everywhere(server, namespace, second)
    wait_condition(server, namespace, "parts", "Ready", "Succeeded", seconds=60)
    assert [one["state"] for one in status(server, namespace)["requests"]] == ["Done"]
    nothing = edgesmith(server, "promote", "parts", "-n", namespace)
    assert (nothing.returncode, "is in its steps" in nothing.stderr) == (1, True)

    serve_on(server, namespace, 8123, "argocd-controller", **slow)
    assert spec(server, namespace)["rollout"]["promote"], "an apply without the field leaves the CLI's alone"
    wait_for("the operator has looked at it", lambda: looked_at(server, namespace))
    run(server, namespace, "rollback", "parts")
    assert spec(server, namespace)["rollout"]["rollbackTo"] == [{"from": second, "revision": first}]
    everywhere(server, namespace, first)
    wait_condition(server, namespace, "parts", "Ready", "Succeeded", seconds=60)

    rows = json.loads(run(server, namespace, "history", "parts", "-o", "json"))
    assert [(one["revision"], one["outcome"]) for one in rows] == [
        (first, "Complete"),
        (second, "RolledBack (RollbackRequested)"),
        (first, "Complete"),
    ]
    assert rows[0]["changed"] == "spec.rollout.rollbackTo by edgesmith-cli"
    assert rows[1]["changed"] == "spec.serving by argocd-controller"
    assert run(server, namespace, "history", "parts").startswith("REVISION")

    server.patch("edgemodels", "parts", {"spec": {"serving": {"port": 8124}}}, namespace)
    run(server, namespace, "pause", "parts")
    wait_for("the entry does not apply to the next one", lambda: "Obsolete" in states(server, namespace), 60)


def states(server: ApiServer, namespace: str) -> set[str]:
    return {one["state"] for one in status(server, namespace).get("requests", [])}


WINDOW = {"start": "22:00", "end": "04:00"}


@pytest.mark.parametrize(
    ("rollout", "says"),
    [
        pytest.param({"promote": [{"revision": "newest"}]}, "promote[0].revision", id="no-name"),
        pytest.param({"rollbackTo": [{"revision": "0" * 10}]}, "from", id="from-what"),
        pytest.param({"rollbackTo": [{"from": "0" * 10, "revision": "0" * 10}]}, "are the same", id="to-itself"),
        pytest.param({"override": ["always"]}, "override[0]", id="override-of-nothing"),
        pytest.param({"windows": [WINDOW | {"timeZone": "Europe/Wien"}]}, "timeZone", id="unknown-zone"),
        pytest.param({"windows": [WINDOW | {"timeZone": "Local"}]}, "time zone database", id="zone-of-the-machine"),
        pytest.param({"windows": [WINDOW | {"start": "24:00"}]}, "start", id="no-such-hour"),
        pytest.param({"windows": [WINDOW | {"days": ["Someday"]}]}, "days", id="no-such-day"),
    ],
)
def test_a_wrong_edit_is_refused_by_the_api_server(
    server: ApiServer, namespace: str, rollout: dict[str, Any], says: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        server.create("edgemodels", edge_model("parts", namespace, rollout=rollout))
    assert says in str(refused.value)


def test_windows_get_their_defaults(server: ApiServer, namespace: str) -> None:
    days = {"days": ["Sat", "Sun"]}
    server.apply(
        edge_model("parts", namespace, rollout={"windows": [WINDOW | days, WINDOW | {"timeZone": "Asia/Tokyo"}]})
    )
    assert spec(server, namespace)["rollout"]["windows"] == [
        WINDOW | days | {"timeZone": "UTC"},
        WINDOW | {"timeZone": "Asia/Tokyo"},
    ]
