"""`edgesmith profile validate`: files of DeviceProfiles, held against all that can be known without a cluster.

That is the CRD's schema and its rules, the toolchain's own table of options and precisions, and the memory that the
profile says. One line a fault; the exit status is 1 where there is one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from pydantic import ValidationError

from edgesmith.api.crd import device_profile_crd
from edgesmith.api.deviceprofile import KIND, DeviceProfile
from edgesmith.api.names import API_VERSION
from edgesmith.cli.answer import Answer
from edgesmith.cli.documents import DocumentError, load
from edgesmith.cli.profile.schema import Schema, faults, shown
from edgesmith.decide.faults import memory_faults, toolchain_faults
from edgesmith.decide.refusals import not_in_this_release

_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


class Checked(NamedTuple):
    """One document; faults and warnings are sentences without an end."""

    file: str
    document: int
    """Counted from 1; 0 for the file itself."""
    name: str
    faults: list[str]
    warnings: list[str]


def validate(files: Sequence[str], output: str) -> Answer:
    """Check every document of every file.

    Args:
        files: Paths; `-` is standard input.
        output: `text` or `json`.
    """
    checked = [one for file in files for one in _check(file)]
    status = int(any(one.faults for one in checked))
    if output == "json":
        return Answer(json.dumps([one._asdict() for one in checked], indent=2), status)
    return Answer("\n".join(line for one in checked for line in _lines(one)), status)


def faults_of(document: Any) -> Iterator[str]:
    """What is wrong with a document that should be a DeviceProfile; without an end.

    What the types alone know is asked once the schema has nothing against it, and what the toolchain knows after that.
    """
    if not isinstance(document, dict):
        yield f"it is {shown(document)}; an object was expected"
        return
    found = [*_of_envelope(document), *faults(_schema(), document, "")]
    if found:
        yield from found
        return
    try:
        profile = DeviceProfile.model_validate(document)
    except ValidationError as error:
        yield from map(_sentence, error.errors(include_url=False, include_context=False))
        return
    yield from toolchain_faults(profile)
    yield from (fault for _, fault in memory_faults(profile))


def _check(file: str) -> Iterator[Checked]:
    try:
        documents = load(file)
    except DocumentError as error:
        yield Checked(file, 0, "", [str(error)], [])
        return
    if not documents:
        yield Checked(file, 0, "", [f"{file} contains no object; a {KIND} was expected"], [])
    for number, document in enumerate(documents, start=1):
        found = list(faults_of(document))
        missing = None if found else not_in_this_release(DeviceProfile.model_validate(document))
        yield Checked(file, number, _name_of(document), found, [missing] if missing else [])


def _lines(one: Checked) -> Iterator[str]:
    if not one.document:
        yield from one.faults
        return
    where = f"{one.file}: document {one.document}" + (f", {one.name}" if one.name else "")
    for fault in one.faults:
        yield f"{where}: {fault}"
    for warning in one.warnings:
        yield f"{where}: warning: {warning}"
    if not one.faults:
        yield f"{where}: valid"


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


def _name_of(document: Any) -> str:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _sentence(error: Any) -> str:
    """One error of the types as a sentence."""
    where = ".".join(str(part) for part in error["loc"]) or "the object"
    return f"{where} is {shown(error['input'])}; {error['msg'].removeprefix('Value error, ')}"
