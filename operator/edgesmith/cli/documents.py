"""The documents of a file: EdgeModels and DeviceProfiles, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from edgesmith.api.names import API_VERSION
from edgesmith.cluster.kinds import DEVICE_PROFILE, EDGE_MODEL

KINDS = {EDGE_MODEL.kind: EDGE_MODEL, DEVICE_PROFILE.kind: DEVICE_PROFILE}


class DocumentError(ValueError):
    """A file cannot be read, or contains something else; one sentence."""


def read(path: str, namespace: str) -> list[dict[str, Any]]:
    """The objects of a YAML or JSON file; `-` is standard input.

    Args:
        path: The file.
        namespace: Given to EdgeModels that name none.

    Raises:
        DocumentError: The file cannot be read, is not YAML, or contains objects of other kinds.
    """
    documents = load(path)
    if not documents:
        raise DocumentError(f"{path} contains no object; an EdgeModel was expected")
    return [_checked(path, number, document, namespace) for number, document in enumerate(documents, start=1)]


def load(path: str) -> list[Any]:
    """Every document of a YAML or JSON file that is not empty, whatever it is; `-` is standard input.

    Raises:
        DocumentError: The file cannot be read, or is not YAML.
    """
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DocumentError(f"{path} cannot be read: {reason}") from error
    try:
        return [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise DocumentError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def _checked(path: str, number: int, document: Any, namespace: str) -> dict[str, Any]:
    where = f"document {number} of {path}"
    if not isinstance(document, dict):
        raise DocumentError(f"{where} is {document!r}; an object was expected")
    kind = KINDS.get(str(document.get("kind")))
    if kind is None or document.get("apiVersion") != API_VERSION:
        raise DocumentError(
            f"{where} is {document.get('apiVersion')} {document.get('kind')}; "
            f"an EdgeModel or DeviceProfile of {API_VERSION} was expected"
        )
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise DocumentError(f"{where} has no metadata.name; a name was expected")
    kept = {key: value for key, value in document.items() if key != "status"}
    kept["metadata"] = {
        key: metadata[key] for key in ("name", "namespace", "labels", "annotations") if metadata.get(key)
    }
    if kind.namespaced:
        kept["metadata"].setdefault("namespace", namespace)
    return kept
