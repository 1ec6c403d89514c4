"""What pages have people type can be typed: names that it needs are made on the page, or are what programs print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgesmith_images.recipes import recipes

ROOT = Path(__file__).resolve().parents[2]
PAGES = (*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", *sorted((ROOT / "examples").rglob("*.md")))
CHART = yaml.safe_load((ROOT / "charts/edgesmith/values.yaml").read_text())
BUILT_ELSEWHERE = {"runtime-openvino-intel", "triton-jetson"}
"""Names of images that the pages have people build from a Dockerfile."""
K3S = (ROOT / "docs/install-k3s.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    """The blocks of a page in a language."""
    found: list[str] = re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return found


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a page's shell blocks, in words; a loop's for each value of its variable."""
    for block in blocks(text, "sh"):
        values: list[str] = []
        name = ""
        for line in block.replace("\\\n", " ").splitlines():
            # Other lines may be in the middle of a text with quotes.
            known = line.split()[:1] in (["for"], ["done"], ["helm"], ["kubectl"], ["python3"])
            words = shlex.split(line, comments=True) if known else []
            if words[:1] == ["for"]:
                name, values = words[1], [word.removesuffix(";") for word in words[3:] if word != "do"]
            elif words[:1] == ["done"]:
                values = []
            elif words:
                yield from ([word.replace(f"${name}", value) for word in words] for value in values or [""])


def helm_commands() -> Iterator[tuple[str, list[str]]]:
    """Every `helm` that changes the release, in a block or within a sentence, with its page."""
    for page in PAGES:
        text = page.read_text()
        inline = [shlex.split(words) for words in re.findall(r"`(helm (?:upgrade|install|uninstall) [^`\n]*)`", text)]
        for words in (*commands(text), *inline):
            if words[0] == "helm" and words[1] in {"upgrade", "install", "uninstall"} and "edgesmith" in words:
                yield str(page.relative_to(ROOT)), words


@pytest.mark.parametrize(("page", "words"), [pytest.param(*one, id=one[0]) for one in helm_commands()])
def test_a_release_is_changed_in_its_namespace(page: str, words: list[str]) -> None:
    assert {"-n", "--namespace"} & set(words), page


def test_the_commands_of_helm_are_found() -> None:
    pages = {page for page, _ in helm_commands()}
    assert {"docs/helm.md", "docs/install-k3s.md", "docs/monitoring.md", "docs/security.md"} <= pages


def made(kind: str) -> set[tuple[str, str]]:
    """Namespaces or Secrets that the page for K3s has people make: each with its namespace, '' for those of none."""
    found = set()
    for words in commands(K3S):
        if words[0] != "kubectl" or "create" not in words or words[words.index("create") + 1] != kind:
            continue
        namespace = words[words.index("-n") + 1] if "-n" in words else ""
        found.add((namespace, words[words.index("create") + (3 if kind == "secret" else 2)]))
    return found


def site() -> dict[str, Any]:
    """The values of the page for K3s."""
    (values,) = [loaded for block in blocks(K3S, "yaml") if "registry" in (loaded := yaml.safe_load(block))]
    return dict(values)


def test_namespaces_of_the_values_are_made_on_the_page() -> None:
    wanted = {"edgesmith-system", *site()["networkPolicies"]["modelNamespaces"]}
    assert {name for _, name in made("namespace")} == wanted
    # A registry without a password needs them, too.
    assert not [block for block in blocks(K3S, "sh") if "create namespace" in block and "create secret" in block]


def test_secrets_of_the_values_are_made_on_the_page_where_they_are_needed() -> None:
    values = site()
    models = values["networkPolicies"]["modelNamespaces"]
    wanted = {("edgesmith-system", name) for name in values["image"]["pullSecrets"]}
    wanted |= {(namespace, values["registry"]["pullSecret"]) for namespace in ("edgesmith-system", *models)}
    wanted |= {(namespace, values["registry"]["pushSecret"]) for namespace in models}
    assert made("secret") == wanted


def test_images_are_pushed_to_the_registry_as_the_values_say_that_it_speaks() -> None:
    pushed = [words[-1] for words in commands(K3S) if words[:3] == ["python3", "hack/images", "push"]]
    scheme = "http" if site()["registry"]["plainHTTP"] else "https"
    assert pushed == [f"{scheme}://{site()['registry']['repository'].partition('/')[0]}"]


def test_the_classes_of_nodes_are_those_that_the_chart_installs() -> None:
    sentence = re.findall(r"^The classes are (.*?), and what you add", K3S, re.MULTILINE)[0]
    assert re.findall(r"`([^`]+)`", sentence) == CHART["profiles"]["install"]


def written() -> Iterator[Path]:
    """Every file in which images are named."""
    yield from PAGES
    for folder, suffixes in (("examples", (".yaml",)), ("charts", (".yaml", ".tpl", ".txt", ".json"))):
        yield from sorted(file for file in (ROOT / folder).rglob("*") if file.suffix in suffixes)


def test_images_are_called_as_push_prints_them() -> None:
    found = {
        (str(file.relative_to(ROOT)), name)
        for file in written()
        for name in re.findall(r"[\w.:]+/edgesmith/([a-z0-9-]+)[@:]", file.read_text())
    }
    assert {("docs/install-k3s.md", "operator"), ("examples/gitops/operator/values.yaml", "operator")} <= found
    assert sorted((file, name) for file, name in found if name not in {*recipes(), *BUILT_ELSEWHERE}) == []


def test_files_that_the_values_of_the_chart_name_are_there() -> None:
    text = (ROOT / "charts/edgesmith/values.yaml").read_text()
    named = re.findall(r"(?<![\w/.$])((?:docs|charts|hack|examples|crds|profiles|plugins)/[\w./-]*[\w/])", text)
    assert "docs/device-plugins.md" in named
    missing = [
        name for name in named if not any((place / name).exists() for place in (ROOT, ROOT / "charts/edgesmith"))
    ]
    assert missing == []


def test_each_networkpolicy_is_in_the_table() -> None:
    files = (ROOT / "charts/edgesmith/templates").glob("networkpolicy-*.yaml")
    policies = sum(file.read_text().count("kind: NetworkPolicy\n") for file in files)
    table = (ROOT / "docs/helm.md").read_text().partition("\n## NetworkPolicies\n")[2].partition("\n\n| pods ")[2]
    assert len(table.partition("\n\n")[0].splitlines()) - 2 == policies


@pytest.mark.parametrize("file", [*PAGES, *sorted((ROOT / "operator").rglob("*.py"))], ids=lambda file: file.name)
def test_nothing_is_installed_from_an_index_that_we_are_not_on(file: Path) -> None:
    assert re.findall(r"pip install [^`\n]*\bedgesmith\b", file.read_text()) == []
