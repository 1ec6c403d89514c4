"""How CRDs reach the cluster, and how an upgrade brings them along."""

from __future__ import annotations

import importlib.util
import io
import json
import urllib.error
from email.message import Message
from pathlib import Path
from types import ModuleType

import pytest
from chart_rendering import CHART, REQUIRED, ROOT, load, pick, render, run_helm

SCRIPT = CHART / "files/apply_crds.py"


def script() -> ModuleType:
    """The program that the Job runs."""
    spec = importlib.util.spec_from_file_location("apply_crds", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Api:
    """An API server that has one CRD, or none."""

    def __init__(self, generations: list[int], *, refuses: int = 0) -> None:
        self.generations = generations
        self.refuses = refuses
        self.calls: list[tuple[str, str, bytes | None]] = []

    def call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        self.calls.append((method, path, body))
        code = self.refuses or (0 if self.generations else 404)
        if code:
            raise urllib.error.HTTPError(path, code, "refused", Message(), io.BytesIO(b"why"))
        return json.dumps({"metadata": {"generation": self.generations.pop(0)}}).encode()


@pytest.fixture
def crd(tmp_path: Path) -> Path:
    """A CRD as the ConfigMap holds it."""
    file = tmp_path / "edgemodels.json"
    file.write_text(json.dumps({"kind": "CustomResourceDefinition", "metadata": {"name": "edgemodels.edgesmith.dev"}}))
    return file


def test_the_chart_holds_the_generated_crds_byte_for_byte() -> None:
    ours = {file.name: file.read_bytes() for file in (ROOT / "crds").glob("*.yaml")}
    assert ours, "crds/ is empty; `make generate` writes it"
    assert {file.name: file.read_bytes() for file in (CHART / "crds").glob("*.yaml")} == ours


def test_helm_installs_two_crds() -> None:
    done = run_helm("template", "edgesmith", str(CHART), "--include-crds", values=REQUIRED)
    assert done.stdout.count("\nkind: CustomResourceDefinition") == 2


def test_the_job_carries_every_crd_and_runs_before_an_upgrade_only() -> None:
    objects = [o for o in render() if "helm.sh/hook" in o["metadata"].get("annotations", {})]
    assert {o["kind"] for o in objects} == {
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "Job",
    }
    for o in objects:
        annotations = o["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "pre-upgrade"
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    job = max(objects, key=lambda o: int(o["metadata"]["annotations"]["helm.sh/hook-weight"]))
    assert job["kind"] == "Job", "what it needs is there first"
    data = pick(objects, "ConfigMap", "edgesmith-crds")["data"]
    assert data.pop("apply_crds.py").strip() == SCRIPT.read_text().strip()
    carried = {name: json.loads(text) for name, text in data.items()}
    assert carried == {f"{file.stem}.json": load(file) for file in (CHART / "crds").glob("*.yaml")}


def test_nothing_of_it_is_left_where_it_is_turned_off() -> None:
    objects = render({"crds": {"upgrade": False}})
    assert not [o for o in objects if o["metadata"]["name"] == "edgesmith-crds"]


def test_an_installed_crd_is_applied_and_taken_over(crd: Path) -> None:
    api = Api([3, 4])
    assert script().upgrade(api, crd) == "edgemodels.edgesmith.dev is upgraded"
    method, path, body = api.calls[1]
    assert method == "PATCH"
    assert path.endswith("/edgemodels.edgesmith.dev?fieldManager=edgesmith-crds&force=true")
    assert body == crd.read_bytes()


def test_an_equal_crd_is_said_to_be_as_it_was(crd: Path) -> None:
    assert script().upgrade(Api([3, 3]), crd) == "edgemodels.edgesmith.dev is as it was"


def test_a_missing_crd_is_left_to_helm(crd: Path) -> None:
    api = Api([])
    assert script().upgrade(api, crd) == "edgemodels.edgesmith.dev is not installed: nothing to upgrade"
    assert [method for method, _, _ in api.calls] == ["GET"]


@pytest.mark.parametrize("code", [401, 403, 500])
def test_a_refusal_fails_the_job_with_the_servers_words(
    crd: Path, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    addresses: list[str] = []

    def api(address: str, _account: Path) -> Api:
        addresses.append(address)
        return Api([1], refuses=code)

    monkeypatch.setattr(module, "Api", api)
    assert module.main(crd.parent) == 1
    assert addresses == ["https://[fd00::1]:443"]
    assert f"edgemodels: the API server refused: {code} why" in capsys.readouterr().err
