"""The chart of vendors' device plugins, as Helm renders and fetches it, with charts that stand in for theirs."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_rendering import PROFILES, ROOT, Object, asking, helm, load, resources, run_helm
from device_charts import CHART, DEPENDENCIES, OWN, REQUIRED, copied, stand_in
from played import Answer, Played
from yaml_files import documents

VALUES = load(CHART / "values.yaml")
MISSING = "found in Chart.yaml, but missing in charts/ directory"

OFFERED = {"nvidia": "nvidia.com/gpu", "intel-gpu": "gpu.intel.com/i915", "intel-npu": "npu.intel.com/accel"}
"""What nodes with each plugin offer."""

KNOWN = {
    "nvidia": {"nameOverride", "runtimeClassName", "deviceDiscoveryStrategy", "affinity"},
    "intel-operator": set(),
    "intel-gpu": {"name", "sharedDevNum", "nodeFeatureRule"},
    "intel-npu": {"name", "sharedDevNum", "nodeFeatureRule"},
    "nfd": {"nameOverride"},
}
"""Which of each chart's values are used; their names are those of its own values.yaml."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our chart with a stand-in for each dependency where Helm puts what it fetches."""
    chart = copied(tmp_path_factory.mktemp("built"))
    for alias in DEPENDENCIES:
        stand_in(alias, chart / "charts")
    return chart


def given(chart: Path, values: Object) -> dict[str, Object]:
    """The values that each vendor's chart is rendered with, by its key."""
    done = run_helm("template", "edgesmith-devices", str(chart), values=values)
    assert done.returncode == 0, done.stderr
    return {one["metadata"]["name"]: json.loads(one["data"]["values"]) for one in documents(done.stdout)}


def test_nothing_is_rendered_unless_it_is_asked_for(built: Path) -> None:
    assert given(built, {}) == {}


@pytest.mark.parametrize("alias", DEPENDENCIES)
def test_each_that_is_on_is_given_our_values_over_its_own(alias: str, built: Path) -> None:
    found = given(built, {alias: {"enabled": True}})
    assert found == {alias: {**OWN.get(alias, {}), **VALUES[alias], "enabled": True}}


def test_a_site_sets_any_value_of_a_vendors(built: Path) -> None:
    found = given(built, {alias: {"enabled": True, "image": {"tag": "9"}} for alias in DEPENDENCIES})
    assert {alias: values["image"] for alias, values in found.items()} == {key: {"tag": "9"} for key in DEPENDENCIES}


@pytest.mark.parametrize(
    ("values", "says"),
    [({"nvida": {"enabled": True}}, "nvida"), ({"intel-gpu": {"enabled": "yes"}}, "/intel-gpu/enabled")],
)
def test_a_misspelt_key_is_refused_and_so_is_a_switch_that_is_none(values: Object, says: str, built: Path) -> None:
    done = run_helm("template", "edgesmith-devices", str(built), values=values)
    assert done.returncode != 0
    assert says in done.stderr


def test_notes_say_what_is_on(built: Path) -> None:
    done = run_helm(
        *("install", "edgesmith-devices", str(built), "--dry-run=client"),
        values={"nfd": {"enabled": True}, "nvidia": {"enabled": True}},
    )
    assert done.returncode == 0, done.stderr
    assert "On: nfd, nvidia.\n" in done.stdout


def test_lint_finds_nothing_but_that_there_is_no_icon(built: Path) -> None:
    done = run_helm("lint", "--strict", str(built))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^\[(?!INFO\] Chart.yaml: icon)", done.stdout, re.MULTILINE) == []


def test_without_what_is_fetched_helm_says_what_the_docs_say(tmp_path: Path) -> None:
    chart = copied(tmp_path)
    done = run_helm("template", "edgesmith-devices", str(chart))
    assert done.returncode != 0
    assert MISSING in done.stderr
    assert f"`{MISSING}`" in (ROOT / "docs/device-plugins.md").read_text()


def run_own(folder: Path, *words: str) -> None:
    """Run Helm with nothing but what it keeps in a folder."""
    own = {name: str(folder / name) for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
    done = subprocess.run([helm(), *words], env=own, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Played]:
    """A chart repository with a stand-in for each dependency."""
    folder = tmp_path / "repository"
    for alias in DEPENDENCIES:
        run_own(tmp_path, "package", str(stand_in(alias, tmp_path / "sources")), "--destination", str(folder))
    run_own(tmp_path, "repo", "index", str(folder))

    def answering(request: Any) -> Answer:
        file = folder / request.path.lstrip("/")
        return Answer(body=file.read_bytes()) if file.is_file() else Answer(status=404)

    with Played(answering) as played:
        yield played


@pytest.mark.parametrize("words", [("build",), ("update", "update")])
def test_helm_fetches_what_the_chart_names(words: tuple[str, ...], repository: Played, tmp_path: Path) -> None:
    chart = copied(tmp_path)
    named = load(chart / "Chart.yaml")
    for one in named["dependencies"]:
        one["repository"] = repository.endpoint
    (chart / "Chart.yaml").write_text(yaml.safe_dump(named))
    for word in words:
        run_own(tmp_path, "dependency", word, str(chart))
    fetched = {f"{one['name']}-{one['version']}.tgz" for one in DEPENDENCIES.values()}
    assert {file.name for file in (chart / "charts").iterdir()} == fetched
    assert set(given(chart, {"nvidia": {"enabled": True}})) == {"nvidia"}


def test_each_dependency_is_pinned_and_off_behind_its_own_key() -> None:
    assert set(VALUES) == set(DEPENDENCIES)
    for alias, one in DEPENDENCIES.items():
        assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", one["version"]), alias
        assert one["condition"] == f"{alias}.enabled"
        assert VALUES[alias]["enabled"] is False
        assert set(VALUES[alias]) == KNOWN[alias] | {"enabled"}


def test_the_docs_name_the_pins() -> None:
    page = (ROOT / "docs/device-plugins.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| `([a-z-]+)` \| (\S+) \| `(\S+)` \| (.*) \|$", page, re.MULTILINE)
    assert [row[:4] for row in rows] == [
        (alias, one["name"], one["version"], one["repository"]) for alias, one in DEPENDENCIES.items()
    ]
    assert {row[0]: row[4].strip("`") for row in rows if row[0] in OFFERED} == OFFERED


def test_the_docs_have_every_value() -> None:
    page = (ROOT / "docs/helm.md").read_text()
    section = page.partition("\n## Values of the chart of device plugins\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([A-Za-z.-]+)` \| (.*?) \|", section, re.MULTILINE)
    ours = {f"{alias}.{name}": value for alias, values in VALUES.items() for name, value in values.items()}
    assert [name for name, _ in rows] == list(ours)
    told = {name: default.strip("`") for name, default in rows if name != "nvidia.affinity"}
    assert told == {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in ours.items() if name in told
    }


@pytest.mark.parametrize("alias", OFFERED)
def test_the_profiles_that_a_plugin_is_for_are_named(alias: str) -> None:
    above = (CHART / "values.yaml").read_text().partition(f"\n{alias}:\n")[0].rpartition("\n\n")[2]
    named = re.search(r"^# Profiles: (.*)$", above, re.MULTILINE)
    assert named
    assert named[1].split(", ") == asking(OFFERED[alias])


def test_nvidias_plugin_goes_to_the_nodes_of_its_profiles() -> None:
    affinity = VALUES["nvidia"]["affinity"]["nodeAffinity"]
    ((term,),) = [one["matchExpressions"] for one in affinity[REQUIRED]["nodeSelectorTerms"]]
    assert (term["key"], term["values"]) == ("edgesmith.dev/device", asking("nvidia.com/gpu"))


def test_every_resource_that_a_profile_asks_for_has_a_plugin() -> None:
    asked = set().union(*(resources(profile) for profile in PROFILES.values()))
    assert asked == {*OFFERED.values(), "squat.ai/edgetpu", "squat.ai/hexagon"}


def test_the_chart_has_the_projects_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert load(CHART / "Chart.yaml")["version"] == project
