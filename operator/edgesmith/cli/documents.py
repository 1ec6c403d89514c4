"""The documents of a file: EdgeModels and DeviceProfiles, and nothing else."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from edgesmith.api import go_yaml
from edgesmith.api.names import API_VERSION
from edgesmith.cli.profile.schema import shown
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL

KINDS = {EDGE_MODEL.kind: EDGE_MODEL, DEVICE_PROFILE.kind: DEVICE_PROFILE}

_MOST = 100_000
"""Values of one document, those behind anchors counted as often as they are named: more is a bomb or a circle."""


class DocumentError(ValueError):
    """A file cannot be read, or contains something else; one sentence."""


def read(path: str) -> list[dict[str, Any]]:
    """The objects of a YAML or JSON file; `-` is standard input.

    Raises:
        DocumentError: The file cannot be read, is not YAML, or contains objects of other kinds.
    """
    documents = load(path)
    if not documents:
        raise DocumentError(f"{path} contains no object; an EdgeModel was expected")
    return [_checked(path, number, document) for number, document in enumerate(documents, start=1)]


def placed(documents: list[dict[str, Any]], namespace: str) -> list[dict[str, Any]]:
    """The same objects, EdgeModels that name no namespace in this one."""
    return [
        document | {"metadata": {"namespace": namespace} | document["metadata"]}
        if KINDS[document["kind"]].namespaced
        else document
        for document in documents
    ]


def load(path: str) -> list[Any]:
    """Every document of a YAML or JSON file that is not empty, whatever it is; `-` is standard input.

    Raises:
        DocumentError: The file cannot be read, or is not YAML.
    """
    try:
        text = (sys.stdin.read() if sys.stdin else "") if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8; YAML was expected"
        raise DocumentError(f"{path} cannot be read: {reason}") from error
    try:
        found = [one for one in yaml.load_all(text, Loader=go_yaml.Loader) if one is not None]
    except yaml.YAMLError as error:
        raise DocumentError(f"{path} is not YAML: {in_words(error)}") from error
    except (ValueError, OverflowError, RecursionError) as error:
        # PyYAML lets these through: a date that is none, thousands of brackets.
        raise DocumentError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    for number, document in enumerate(found, start=1):
        for fault in _unknown_to_json(document):
            raise DocumentError(f"document {number} of {path} {fault}")
    return found


def in_words(error: yaml.YAMLError) -> str:
    """What is wrong with a text that is not YAML, and where, in a part of a sentence."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or problem is None:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def _unknown_to_json(document: Any) -> Iterator[str]:
    """What YAML can say and the API server cannot be told."""
    left, seen = [document], 0
    while left:
        value, seen = left.pop(), seen + 1
        if seen > _MOST:
            yield f"has more than {_MOST} values; fewer were expected, and no anchor within itself"
            return
        if isinstance(value, dict):
            yield from (f"has the key {key!r}; text was expected" for key in value if not isinstance(key, str))
            left += value.values()
        elif isinstance(value, list):
            left += value
        elif not isinstance(value, str | int | float | None) or (isinstance(value, float) and not math.isfinite(value)):
            yield f"has the value {value!r}; what JSON can hold was expected"


def _checked(path: str, number: int, document: Any) -> dict[str, Any]:
    where = f"document {number} of {path}"
    if not isinstance(document, dict):
        raise DocumentError(f"{where} is {shown(document)}; an object was expected")
    kind = KINDS.get(str(document.get("kind")))
    if kind is None or document.get("apiVersion") != API_VERSION:
        raise DocumentError(
            f"{where} is {document.get('apiVersion')} {document.get('kind')}; "
            f"an EdgeModel or DeviceProfile of {API_VERSION} was expected"
        )
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise DocumentError(f"{where} has no metadata.name; a name was expected")
    if not isinstance(metadata.get("namespace") or "", str):
        raise DocumentError(f"{where} has the metadata.namespace {shown(metadata['namespace'])}; text was expected")
    kept = {key: value for key, value in document.items() if key != "status"}
    kept["metadata"] = {
        key: metadata[key] for key in ("name", "namespace", "labels", "annotations") if metadata.get(key)
    }
    return kept
