"""One document held against all that a DeviceProfile must be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from pydantic import ValidationError

from edgesmith.api.crd import device_profile_crd
from edgesmith.api.deviceprofile import KIND, DeviceProfile
from edgesmith.api.names import API_VERSION
from edgesmith.cli.profile.schema import Schema, faults, shown
from edgesmith.decide.faults import memory_faults, toolchain_faults

_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


class Judged(NamedTuple):
    """A document that was read."""

    profile: DeviceProfile | None
    """The profile where nothing is wrong with it."""
    faults: list[str]
    """Sentences without an end: field, value, what was expected."""


def judge(document: Any) -> Judged:
    """Hold a document against the schema, then what the types alone know, then what the toolchain knows."""
    if not isinstance(document, dict):
        return Judged(None, [f"it is {shown(document)}; an object was expected"])
    document = _without_null(document)
    # Of another kind, every field would be wrong.
    found = [*_of_envelope(document), *(faults(_schema(), document, "") if document.get("kind") == KIND else ())]
    if found:
        return Judged(None, found)
    try:
        profile = DeviceProfile.model_validate(document)
    except ValidationError as error:
        return Judged(None, [_sentence(one) for one in error.errors(include_url=False, include_context=False)])
    found = [*toolchain_faults(profile), *(fault for _, fault in memory_faults(profile))]
    return Judged(None if found else profile, found)


@cache
def _schema() -> Schema:
    (version,) = device_profile_crd()["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def _of_envelope(document: dict[Any, Any]) -> Iterator[str]:
    """What the API server knows of every object, whatever its kind."""
    for field, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        if document.get(field) != expected:
            yield f"{field} is {shown(document.get(field))}; {expected} was expected"
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not re.search(_NAME, name):
        yield f"metadata.name is {shown(name)}; a name of small letters, digits, '-' and '.' was expected"


def _without_null(value: Any) -> Any:
    """A value as the API server reads it: it takes null for absent."""
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    return [_without_null(item) for item in value] if isinstance(value, list) else value


def _sentence(error: Any) -> str:
    """One error of the types as a sentence."""
    where = ".".join(str(part) for part in error["loc"]) or "the object"
    return f"{where} is {shown(error['input'])}; {error['msg'].removeprefix('Value error, ')}"
