"""EdgeModels and DeviceProfiles as a site applies them: without what the hub wrote, and with every digest."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.source import Dataset
from edgesmith.archive.roots import ArchiveError
from edgesmith.decide.digests import looked_at_fields, measured, recorded

_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_STEP = re.compile(r"(\w+)(?:\[([^\]]+)\])?")


def bare(raw: Mapping[str, Any]) -> dict[str, Any]:
    """An object as somebody would write it: what the API server and the operator added is left out."""
    metadata = raw.get("metadata") or {}
    annotations = {name: value for name, value in (metadata.get("annotations") or {}).items() if name != _APPLIED}
    kept = {key: metadata[key] for key in ("name", "namespace", "labels") if metadata.get(key)}
    kept |= {"annotations": annotations} if annotations else {}
    found = {"apiVersion": raw["apiVersion"], "kind": raw["kind"], "metadata": kept, "spec": raw.get("spec") or {}}
    return copy.deepcopy(found)


def with_digests(raw: Mapping[str, Any], model: EdgeModel) -> dict[str, Any]:
    """An EdgeModel with the digests that the hub found out, and of models the bytes: a site looks at no files.

    The build key stays what it is, since it is made of the digests.

    Args:
        raw: The EdgeModel as it was read.
        model: The same, parsed.

    Raises:
        ArchiveError: A digest is not known.
    """
    found, known = bare(raw), recorded(model)
    for field in looked_at_fields(model):
        if field not in known:
            raise ArchiveError(
                f"EdgeModel {model.metadata.namespace}/{model.metadata.name} has no digest for spec.{field} yet; "
                "wait until SourceResolved is True"
            )
    for field, entry in (known | measured(model)).items():
        file = _at(found["spec"], field)
        if file is not None:
            file["sha256"] = entry.sha256
            if entry.bytes is not None and not isinstance(model.spec.files[field], Dataset):
                file["bytes"] = entry.bytes
    return found


def _at(spec: dict[str, Any], field: str) -> dict[str, Any] | None:
    """The file that a field names: `optimize.alternatives[gru].source`, say."""
    here: dict[str, Any] = spec
    for name, key in _STEP.findall(field):
        found = here.get(name)
        if key:
            found = next((one for one in found or () if key in (one.get("name"), one.get("toolchain"))), None)
        if not isinstance(found, dict):
            return None
        here = found
    return here
