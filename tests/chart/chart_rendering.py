"""The chart as the real Helm renders it."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml
from needs import lacking
from yaml_files import documents, read

from edgesmith_cluster.tools import binaries

Object = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/edgesmith"
DIGEST = "sha256:" + "5a" * 32
REQUIRED: Object = {
    "image": {
        "operator": f"registry.example:5000/edgesmith/operator@{DIGEST}",
        "builder": f"registry.example:5000/edgesmith/builder@{DIGEST}",
        "runtime": {"onnxruntime": f"registry.example:5000/edgesmith/runtime@{DIGEST}"},
    },
    "registry": {"repository": "registry.example:5000/models"},
}


@functools.cache
def helm() -> str:
    """The program, on PATH or among the local cluster's tools."""
    found = shutil.which("helm") or shutil.which("helm", path=str(binaries()))
    if found is None:
        lacking("helm is neither on PATH nor among the local cluster's tools: run `make tools`")
    return found


def run_helm(*words: str, values: Object | None = None) -> subprocess.CompletedProcess[str]:
    """Run Helm on the chart with values, whatever comes of it; once for the same words and values."""
    return _run(words, yaml.safe_dump(values or {}))


@functools.cache
def _run(words: tuple[str, ...], values: str) -> subprocess.CompletedProcess[str]:
    line = [helm(), *words, "--values", "-"]
    return subprocess.run(line, input=values, capture_output=True, text=True, timeout=60, check=False)


def template(values: Object, *, release: str = "edgesmith") -> subprocess.CompletedProcess[str]:
    """`helm template` with exactly these values."""
    return run_helm("template", release, str(CHART), "--namespace", "edgesmith-system", values=values)


def render(values: Object | None = None, *, release: str = "edgesmith") -> list[Object]:
    """The objects that the chart makes with what it requires and these values laid over it."""
    done = template(merge(REQUIRED, values or {}), release=release)
    assert done.returncode == 0, done.stderr
    return documents(done.stdout)


def merge(base: Object, over: Object) -> Object:
    """Values over values, as Helm lays them."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def nested(path: str, value: Any) -> Object:
    """The values that set one dotted path."""
    head, _, rest = path.partition(".")
    return {head: nested(rest, value) if rest else value}


def pick(objects: list[Object], kind: str, name: str) -> Object:
    """The one object of a kind and name."""
    found = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} {kind} named {name}"
    return found[0]


def load(file: Path) -> Object:
    """One YAML document."""
    loaded: Object = read(file)
    return loaded


PROFILES = {file.stem: load(file) for file in sorted((CHART / "profiles").glob("*.yaml"))}
"""The catalogue, by name."""


def resources(profile: Object) -> set[str]:
    """The extended resources that a profile's pods ask for."""
    return {name for name in profile["spec"]["runtime"]["resources"]["limits"] if "/" in name}


def asking(resource: str) -> list[str]:
    """The profiles that ask for a resource."""
    return [name for name, profile in PROFILES.items() if resource in resources(profile)]
