"""Health and actions of deploy/argocd in Argo CD's own engine, and the status in Flux's, state by state."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from gitops_actions import ACTIONS
from gitops_states import STATES, State
from gitops_verdict import ask
from yaml_files import read

ROOT = Path(__file__).resolve().parents[2]
ARGOCD = ROOT / "deploy/argocd"
CUSTOMIZATION = ARGOCD / "resource_customizations/edgesmith.dev/EdgeModel"

Object = dict[str, Any]


@cache
def settings() -> dict[str, str]:
    """What users put into `argocd-cm`."""
    found: dict[str, str] = read(ARGOCD / "argocd-cm.yaml")["data"]
    return found


@cache
def verdicts(kind: str) -> list[Object]:
    """What is said of each state's fixture, in the order of the states."""
    fixtures = [read(CUSTOMIZATION / f"testdata/{state.name}.yaml") for state in STATES]
    return ask(settings(), [{"verdict": kind, "object": fixture} for fixture in fixtures])


def of(state: State, kind: str) -> Object:
    """What is said of one state's fixture."""
    return verdicts(kind)[STATES.index(state)]


each = pytest.mark.parametrize("state", STATES, ids=[state.name for state in STATES])


def test_the_fixtures_are_what_the_planner_writes() -> None:
    check = [sys.executable, str(ROOT / "hack/generate_argocd.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout.strip()}; run: make generate"


@each
def test_argo_cd_calls_a_state_by_its_name(state: State) -> None:
    assert of(state, "health") == {"status": state.health, "message": state.message}


def test_the_expectations_in_argo_cd_s_own_form_are_the_same() -> None:
    tests = read(CUSTOMIZATION / "health_test.yaml")["tests"]
    assert [one["inputPath"] for one in tests] == [f"testdata/{state.name}.yaml" for state in STATES]
    assert [one["healthStatus"] for one in tests] == verdicts("health")
    offers = read(CUSTOMIZATION / "actions/action_test.yaml")["discoveryTests"]
    # Argo CD leaves out of its JSON what is false or empty.
    left_out = {"disabled": False, "displayName": ""}
    found = [[left_out | one for one in verdict["actions"]] for verdict in verdicts("actions")]
    assert [one["result"] for one in offers] == found


@each
def test_flux_calls_a_state_by_its_name(state: State) -> None:
    assert of(state, "kstatus")["status"] == state.kstatus


@each
def test_a_state_offers_the_actions_that_do_something_there(state: State) -> None:
    offered = {one["name"] for one in of(state, "actions")["actions"] if not one.get("disabled")}
    assert offered == set(state.offered)


def test_what_the_api_server_fills_in_changes_no_offer() -> None:
    """A live EdgeModel has the CRD's defaults, which the planner's fixtures lack."""
    fixtures = [read(CUSTOMIZATION / f"testdata/{state.name}.yaml") for state in STATES]
    for fixture in fixtures:
        rollout = fixture["spec"].setdefault("rollout", {})
        for field, empty in (("paused", False), ("promote", []), ("rollbackTo", [])):
            rollout.setdefault(field, empty)
    found = ask(settings(), [{"verdict": "actions", "object": fixture} for fixture in fixtures])
    assert found == verdicts("actions")


@cache
def edited() -> list[Object]:
    """What Argo CD makes of each action's fixture, in the order of the actions."""
    befores = [read(CUSTOMIZATION / f"testdata/{action.state}.yaml") for action in ACTIONS]
    asked = zip(ACTIONS, befores, strict=True)
    return ask(settings(), [{"verdict": "action", "action": action.name, "object": before} for action, before in asked])


@pytest.mark.parametrize("action", ACTIONS, ids=[f"{action.name}-{action.state}" for action in ACTIONS])
def test_an_action_edits_the_spec_and_nothing_else(action: Any) -> None:
    before = read(CUSTOMIZATION / f"testdata/{action.state}.yaml")
    assert edited()[ACTIONS.index(action)] == {"objects": [action.make()]}
    assert action.make()["spec"] != before["spec"] or action.annotations


def test_every_action_that_is_defined_is_tested_and_offered_somewhere() -> None:
    defined = {path.parent.name for path in CUSTOMIZATION.glob("actions/*/action.lua")}
    assert defined == {action.name for action in ACTIONS}
    assert defined == set[str]().union(*(state.offered for state in STATES))


def test_a_retry_keeps_the_other_annotations() -> None:
    """Among them what kubectl applied last: without it a field that was removed from a file would stay."""
    before = read(CUSTOMIZATION / "testdata/rolled-back.yaml")
    before["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    (found,) = ask(settings(), [{"verdict": "action", "action": "retry", "object": before}])
    (after,) = found["objects"]
    kept = before["metadata"]["annotations"] | {"edgesmith.dev/retry": "argocd-7"}
    assert {key: after["metadata"]["annotations"].get(key) for key in kept} == kept
