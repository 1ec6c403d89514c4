"""Writes the tables of docs/ that say what CRDs, condition types, toolchains and the chart's profiles say.

Usage: python hack/generate_docs.py [--check]. Text outside the marked tables is written by hand and left alone.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from edgesmith_builder.contract import READS, TOOLCHAINS, TRITON, release_of

ROOT = Path(__file__).resolve().parents[1]
CONDITIONS = ROOT / "operator/edgesmith/api/conditions.py"
KINDS = ROOT / "hack/device_kinds.yaml"
CITED = r"\[([a-z0-9-]+)\]"


def fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str, str, str]]:
    """Each field below a schema: path, type, default, description."""
    required = set(schema.get("required", []))
    for name, below in schema.get("properties", {}).items():
        item = below.get("items", {})
        here = f"{path}.{name}" + ("[]" if item else "")
        default = f"`{_plain(below['default'])}`" if "default" in below else ("required" if name in required else "")
        yield here, _type(below), default, below.get("description", "")
        yield from fields(item or below, here)


def members(enum: str) -> Iterator[tuple[str, str]]:
    """Each member of an enum in conditions.py: its value and its docstring."""
    tree = ast.parse(CONDITIONS.read_text())
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == enum)
    for statement, after in pairwise(body):
        if isinstance(statement, ast.Assign) and isinstance(after, ast.Expr):
            yield ast.literal_eval(statement.value), " ".join(ast.literal_eval(after.value).split())


def tables(crd: str) -> dict[str, str]:
    """The tables of one page, by marker."""
    schema = yaml.safe_load((ROOT / "crds" / crd).read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    made = {}
    for part in ("spec", "status"):
        if part in schema["properties"]:
            rows = [f"| `{p}` | {t} | {d} | {w} |" for p, t, d, w in fields(schema["properties"][part], part)]
            made[part] = "\n".join(["| field | type | default | meaning |", "| --- | --- | --- | --- |", *rows])
    for enum in ("ConditionType", "Reason"):
        rows = [f"| `{value}` | {meaning} |" for value, meaning in members(enum)]
        made[enum] = "\n".join([f"| {enum.removesuffix('Type').lower()} | meaning |", "| --- | --- |", *rows])
    return made


def toolchain_tables() -> dict[str, str]:
    """What each toolchain makes, and what each can be told, by marker."""
    rows, options = [], []
    for name, facts in TOOLCHAINS.items():
        own, makes = ", ".join(facts.precisions), ", ".join(facts.makes)
        rows.append(f"| `{name}` | {own} | {makes} | `{facts.engine}` |")
        for option, said in facts.options.items():
            values = " or ".join(f"`{value}`" for value in said.values)
            options.append(f"| `{name}` | `{option}` | {values} | `{said.default}` | {said.meaning} |")
    head = ["| toolchain | precisions, best first | can make | engine |", "| --- | --- | --- | --- |"]
    told = ["| toolchain | option | values | default | meaning |", "| --- | --- | --- | --- | --- |"]
    return {"toolchains": "\n".join([*head, *rows]), "options": "\n".join([*told, *options])}


def read_table() -> str:
    """The newest that each ONNX Runtime reads, and the images of Triton that have it."""
    rows = []
    for release, newest in READS.items():
        within = [name for name, version in TRITON.items() if release_of(version) == release]
        images = f"{within[0]} to {within[-1]}" if len(within) > 1 else "".join(within)
        name = ".".join(map(str, release))
        rows.append(f"| {name} | {newest.opset} | {newest.ml_opset} | {newest.ir_version} | {images} |")
    head = "| ONNX Runtime | opset | opset of `ai.onnx.ml` | IR version | Triton |"
    return "\n".join([head, "| --- | --- | --- | --- | --- |", *rows])


def profiles() -> list[dict[str, Any]]:
    """The DeviceProfiles that the chart brings, in the order of their names."""
    return [yaml.safe_load(file.read_text()) for file in sorted((ROOT / "charts/edgesmith/profiles").glob("*.yaml"))]


def kinds() -> str:
    """The kinds of devices against what a choice depends on, and the sources under it, numbered as they come.

    Raises:
        ValueError: A profile is of no kind or of two, or a source is not there or not used.
    """
    said = yaml.safe_load(KINDS.read_text())
    power = {one["metadata"]["name"]: one["spec"].get("hardware", {}).get("power") for one in profiles()}
    _each_once("kinds", said["kinds"], power)
    numbers: dict[str, int] = {}

    def numbered(match: re.Match[str]) -> str:
        return f"[{numbers.setdefault(match[1], len(numbers) + 1)}]"

    columns = ("accuracy", "size", "operators", "programmability", "throughput")
    rows = [f"| kind | {' | '.join(columns)} | power | price |", f"|{' --- |' * (len(columns) + 3)}"]
    for kind in said["kinds"]:
        watts = [f"{power[name]} (`{name}`)" for name in kind["profiles"] if power[name]]
        names = ", ".join(f"`{name}`" for name in kind["profiles"])
        cells = [
            f"{kind['kind']}: {names}",
            *(kind[column] for column in columns),
            "; ".join(watts) or "not said",
            kind["price"],
        ]
        rows.append(f"| {re.sub(CITED, numbered, ' | '.join(cells))} |")
    if numbers.keys() != said["sources"].keys():
        raise ValueError(f"{KINDS.name}: sources are {sorted(said['sources'])}; {sorted(numbers)} were expected")
    sources = [f"{number}. {' '.join(said['sources'][name].split())}" for name, number in numbers.items()]
    return "\n".join([*rows, "", "Sources:", "", *sources])


def proofs() -> str:
    """What stands behind each profile, as a table.

    Raises:
        ValueError: A profile is in no row or in two, or a row says other than its profiles' evidence.
    """
    evidence = {one["metadata"]["name"]: one["metadata"]["annotations"]["edgesmith.dev/evidence"] for one in profiles()}
    rows = yaml.safe_load(KINDS.read_text())["proofs"]
    _each_once("proofs", rows, evidence)
    made = ["| profiles | ran | emulated or simulated | only written down |", "| --- | --- | --- | --- |"]
    for row in rows:
        said = {evidence[name] for name in row["profiles"]}
        expected = {"ran"} if not row["written"] else {"emulated", "simulated"} if row["emulated"] else {"written"}
        if len(said) != 1 or not said <= expected:
            raise ValueError(
                f"{KINDS.name}: the evidence of {', '.join(row['profiles'])} is {', '.join(sorted(said))}; one of "
                f"{', '.join(sorted(expected))} was expected, by the row's own words"
            )
        names = ", ".join(f"`{name}`" for name in row["profiles"])
        made.append(
            f"| {names} | {' | '.join(row[column] or 'nothing' for column in ('ran', 'emulated', 'written'))} |"
        )
    return "\n".join(made)


def _each_once(part: str, rows: list[dict[str, Any]], names: Collection[str]) -> None:
    named = sorted(name for row in rows for name in row["profiles"])
    if named != sorted(names):
        raise ValueError(f"{KINDS.name}: profiles of {part} are {named}; {sorted(names)} were expected, each once")


def devices() -> str:
    """The catalogue of DeviceProfiles that the chart brings, as a table."""
    head = "| profile | toolchain | precisions, best first | server | resource | known from | what to know |"
    rows = [head, "| --- | --- | --- | --- | --- | --- | --- |"]
    for profile in profiles():
        spec, said = profile["spec"], profile["metadata"]["annotations"]
        toolchain, runtime = spec["toolchain"], spec["runtime"]
        told = ", ".join(
            f"{name} {value}" for name, value in toolchain.get("options", {}).items() if name in ("device", "soc")
        )
        resource = ", ".join(f"`{name}`" for name in runtime["resources"]["limits"] if "/" in name)
        cells = (
            f"`{profile['metadata']['name']}`",
            f"{toolchain['name']}{f' ({told})' if told else ''}",
            ", ".join(toolchain["precisions"]),
            runtime.get("server", "Edgesmith"),
            resource,
            said["edgesmith.dev/evidence"],
            said.get("edgesmith.dev/notes", ""),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def page(text: str, made: dict[str, str]) -> str:
    """A page with its marked tables replaced."""
    for name, table in made.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text = re.sub(pattern, lambda m, table=table: f"{m[1]}{table}\n{m[2]}", text, flags=re.DOTALL)  # type: ignore[misc]  # a default binds the loop's value
    return text


def _type(schema: dict[str, Any]) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map of {_type(schema['additionalProperties'])}"
    return str(schema.get("type", "any"))


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def main() -> int:
    """Write the pages, or with --check say which are out of date."""
    stale = []
    for name, made in (
        ("edgemodel", tables("edgemodels.edgesmith.dev.yaml")),
        ("deviceprofile", tables("deviceprofiles.edgesmith.dev.yaml") | toolchain_tables() | {"reads": read_table()}),
        ("devices", {"devices": devices(), "kinds": kinds()}),
        ("limits", {"proofs": proofs()}),
    ):
        path = ROOT / "docs" / f"{name}.md"
        text = path.read_text()
        new = page(text, made)
        if new != text:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(new)
    print(f"out of date: {', '.join(stale)}" if stale else "up to date")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
