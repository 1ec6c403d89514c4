"""The chart of device plugins is installed as its page says, with charts that stand in for the vendors'."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from apiserver import ApiServer
from chart_rendering import ROOT, helm
from device_charts import CHART, DEPENDENCIES, copied, stand_in

PAGE = (ROOT / "docs/device-plugins.md").read_text()
COMMANDS = [
    shlex.split(line.replace("\\\n", " "))[1:]
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for line in re.findall(r"^helm upgrade (?:.*\\\n)*.*$", block, re.MULTILINE)
]
"""What the page has people run, but for what fetches."""

KIND = "gpudeviceplugins.deviceplugin.intel.com"
PLUGIN = """apiVersion: deviceplugin.intel.com/v1
kind: GpuDevicePlugin
metadata: {name: {{ .Values.name }}}
spec: {sharedDevNum: {{ .Values.sharedDevNum }}}
"""


@pytest.fixture
def chart(tmp_path: Path) -> str:
    """Ours, where Intel's operator has a kind and its GPU plugin an object of it."""
    ours = copied(tmp_path)
    made = {alias: stand_in(alias, ours / "charts") for alias in DEPENDENCIES}
    plural, _, group = KIND.partition(".")
    version = {"name": "v1", "served": True, "storage": True}
    version["schema"] = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": KIND},
        "spec": {
            "group": group,
            "scope": "Cluster",
            "names": {"plural": plural, "kind": "GpuDevicePlugin"},
            "versions": [version],
        },
    }
    (made["intel-operator"] / "crds").mkdir()
    (made["intel-operator"] / "crds/crd.yaml").write_text(yaml.safe_dump(crd))
    (made["intel-gpu"] / "templates/plugin.yaml").write_text(PLUGIN)
    return str(ours)


def run(server: ApiServer, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Helm against the API server."""
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig())}
    return subprocess.run([helm(), *words], env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.long
def test_the_commands_of_the_page_install_what_they_say_and_intels_operator_wants_a_release_of_its_own(
    server: ApiServer, chart: str
) -> None:
    nvidia, *intel = COMMANDS
    ours = str(CHART.relative_to(ROOT))
    assert [command.count(ours) for command in COMMANDS] == [1, 1, 1]

    def follow(command: list[str], *more: str) -> subprocess.CompletedProcess[str]:
        return run(server, *(chart if word == ours else word for word in command), *more)

    done = follow(nvidia)
    assert done.returncode == 0, done.stderr
    late = follow(nvidia, "--set", "intel-operator.enabled=true,intel-gpu.enabled=true")
    assert 'no matches for kind "GpuDevicePlugin"' in late.stderr

    for command in intel:
        done = follow(command)
        assert done.returncode == 0, done.stderr
    assert "On: intel-gpu, intel-operator, nfd." in done.stdout
    assert server.kubectl("get", KIND, "-o", "name").split() == ["gpudeviceplugin.deviceplugin.intel.com/edgesmith-gpu"]

    for release in ("edgesmith-intel", "edgesmith-devices"):
        assert run(server, "uninstall", release, "--namespace", release).returncode == 0
    server.kubectl("delete", "crd", KIND)
    server.kubectl("delete", "namespace", "edgesmith-intel", "edgesmith-devices", "--wait=false")
