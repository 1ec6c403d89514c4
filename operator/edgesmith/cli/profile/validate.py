"""`edgesmith profile validate`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from edgesmith.api.deviceprofile import KIND
from edgesmith.cli.answer import Answer
from edgesmith.cli.documents import DocumentError, load
from edgesmith.cli.profile.judge import judge


class Checked(NamedTuple):
    """One document; faults are sentences without an end."""

    file: str
    document: int
    """Counted from 1; 0 for the file itself."""
    name: str
    faults: list[str]


def run(found: argparse.Namespace) -> Answer:
    """Carry out the command."""
    return validate(found.file, found.output)


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


def _check(file: str) -> Iterator[Checked]:
    try:
        documents = load(file)
    except DocumentError as error:
        yield Checked(file, 0, "", [str(error)])
        return
    if not documents:
        yield Checked(file, 0, "", [f"{file} contains no object; a {KIND} was expected"])
    for number, document in enumerate(documents, start=1):
        yield Checked(file, number, _name_of(document), judge(document).faults)


def _lines(one: Checked) -> Iterator[str]:
    if not one.document:
        yield from one.faults
        return
    where = f"{one.file}: document {one.document}" + (f", {one.name}" if one.name else "")
    for fault in one.faults:
        yield f"{where}: {fault}"
    if not one.faults:
        yield f"{where}: valid"


def _name_of(document: Any) -> str:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""
