"""`edgesmith promote --ring`: what one ring of a git repository runs is written into the next one's directory."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from edgesmith.api.edgemodel import KIND
from edgesmith.cli.answer import Answer
from edgesmith.cli.documents import in_words

OWN = ("nodeSelector", "rollout")
"""Fields of an EdgeModel's spec that a ring keeps."""
_SUFFIXES = {".yaml", ".yml", ".json"}


def run(found: argparse.Namespace) -> Answer:
    """Carry out the command.

    Raises:
        ValueError: A ring is not there or both are the same, or a manifest cannot be read.
    """
    if found.name or not found.ring or not found.to:
        raise ValueError("promote takes an EdgeModel, or --ring NAME and --to NAME")
    if found.profile or found.all_steps:
        raise ValueError("--profile and --all-steps are about an EdgeModel in a cluster; leave them out with --ring")
    done = promote(found.directory / found.ring, found.directory / found.to, dry_run=found.dry_run)
    if found.output == "json":
        return Answer(json.dumps([{"what": one.what, "file": str(one.file)} for one in done], indent=2))
    lines = [one.in_words(found.ring) for one in done]
    return Answer("\n".join(lines) or f"Ring {found.to} runs what ring {found.ring} runs already.")


class Done(NamedTuple):
    """What was done about a file of a ring."""

    what: Literal["new", "changed", "left"]
    file: Path

    def in_words(self, ring: str) -> str:
        """A line for people, where it was promoted from this ring."""
        if self.what == "left":
            return f"left     {self.file}: ring {ring} has no such file; remove it by hand"
        return f"{self.what:8} {self.file}"


def promote(before: Path, after: Path, *, dry_run: bool = False) -> list[Done]:
    """Write a ring's manifests into another; what was done about each file that is not as it was, in order.

    Args:
        before: The ring's directory.
        after: The other's.
        dry_run: Write nothing, and say what would be done.

    Raises:
        ValueError: As for `run`.
    """
    if before == after:
        raise ValueError(f"--to is {after.name!r}, the ring itself; name the next one")
    for ring in (before, after):
        if not ring.is_dir():
            raise ValueError(f"{ring} is no directory; a ring is a directory of manifests below --directory")
    # All are made before any is written, so that one that cannot be read leaves the ring as it is.
    made = {path: _promoted(before / path, after / path) for path in _manifests(before)}
    done = []
    for path, text in made.items():
        target = after / path
        if target.exists() and _text(target) == text:
            continue
        done.append(Done("changed" if target.exists() else "new", target))
        if not dry_run:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    return done + [Done("left", after / path) for path in _manifests(after) if path not in made]


def _manifests(ring: Path) -> list[Path]:
    """The manifests of a ring, relative to it."""
    return sorted(path.relative_to(ring) for path in ring.rglob("*") if path.suffix in _SUFFIXES)


@dataclass(frozen=True)
class _Document:
    """An EdgeModel in the text of a file: its lines, and those of the fields of its spec."""

    name: tuple[str, str]
    indent: int
    end: int
    fields: Mapping[str, tuple[int, int]]


def _promoted(before: Path, after: Path) -> str:
    """The text of a file of a ring, with the fields that the next ring keeps as its own file has them."""
    text = _text(before)
    if not after.exists():
        return text
    if before.suffix == ".json":
        return _promoted_json(before, after)
    lines, own = text.splitlines(), _text(after).splitlines()
    kept = {document.name: document for document in _documents(after, own)}
    # From the end, so that line numbers before it stay true.
    for document in reversed(list(_documents(before, lines))):
        if document.name in kept:
            _keep(lines, document, own, kept[document.name])
    return "\n".join(lines) + "\n"


def _promoted_json(before: Path, after: Path) -> str:
    """The same of a file of JSON."""
    document, own = _json(before), _json(after)
    kept = {_name(one): one["spec"] for one in _models(own)}
    for model in _models(document):
        if _name(model) not in kept:
            continue
        spec = kept[_name(model)]
        taken = {field: value for field, value in model["spec"].items() if field not in OWN}
        model["spec"] = taken | {field: spec[field] for field in OWN if field in spec}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


def _models(document: Any) -> Iterator[dict[str, Any]]:
    """The EdgeModels of a document, be it one or a list of kind List."""
    if not isinstance(document, dict):
        return
    if isinstance(items := document.get("items"), list):
        for one in items:
            yield from _models(one)
    elif document.get("kind") == KIND and isinstance(document.get("spec"), dict):
        yield document


def _name(model: Mapping[str, Any]) -> tuple[str, str]:
    metadata = model.get("metadata") or {}
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} cannot be read: it is not UTF-8; a manifest was expected") from error


def _keep(lines: list[str], document: _Document, own: list[str], kept: _Document) -> None:
    """Put the fields that a ring keeps into a document."""
    changes = []
    for field in OWN:
        first, last = document.fields.get(field, (document.end, document.end))
        start, end = kept.fields.get(field, (0, 0))
        changes.append((first, last, [_shifted(one, document.indent - kept.indent) for one in own[start:end]]))
    for first, last, block in sorted(changes, key=lambda change: change[0], reverse=True):
        lines[first:last] = block


def _shifted(line: str, columns: int) -> str:
    """A line further to the right, or to the left as far as it is indented."""
    text = line.lstrip()
    return " " * (len(line) - len(text) + columns) + text if text else ""


def _documents(path: Path, lines: list[str]) -> Iterator[_Document]:
    """The EdgeModels of a file.

    Raises:
        ValueError: It is not YAML, one is in a List, or the spec of one is written in one line.
    """
    try:
        roots = list(yaml.compose_all("\n".join(lines), Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {in_words(error)}") from error
    for root in roots:
        told = _values(root)
        if any(getattr(_values(one).get("kind"), "value", None) == KIND for one in _items(told.get("items"))):
            raise ValueError(f"{path} has EdgeModels in a List; write each as a document of its own, with --- between")
        if getattr(told.get("kind"), "value", None) != KIND or "spec" not in told:
            continue
        spec = told["spec"]
        if not isinstance(spec, yaml.MappingNode) or spec.flow_style or not spec.value:
            raise ValueError(f"{path}: spec is written in one line; write each of its fields in lines of its own")
        metadata = _values(told.get("metadata"))
        name = tuple(str(getattr(metadata.get(one), "value", "")) for one in ("namespace", "name"))
        yield _document((name[0], name[1]), spec, lines)


def _document(name: tuple[str, str], spec: yaml.MappingNode, lines: list[str]) -> _Document:
    starts = [key.start_mark.line for key, _ in spec.value]
    last = spec.value[-1][1].end_mark
    ends = [*starts[1:], last.line + bool(last.column)]
    fields = {
        key.value: (start, _trimmed(lines, start, end))
        for (key, _), start, end in zip(spec.value, starts, ends, strict=True)
    }
    return _Document(name, spec.start_mark.column, max(end for _, end in fields.values()), fields)


def _trimmed(lines: list[str], start: int, end: int) -> int:
    """The end of a field without the blank lines and comments before the next one."""
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith(("#", "---"))):
        end -= 1
    return end


def _items(node: yaml.Node | None) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _values(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return {key.value: value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}
