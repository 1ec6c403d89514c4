"""An EdgeModel or DeviceProfile that exists and cannot be read: one of a newer version after a `helm rollback`, say.

It is a state of its own: nothing is planned for it and nothing of it is removed. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from edgesmith.cluster.fields import Raw, at, mapping, text
from edgesmith.cluster.kinds import Kind

_VALUE_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An object that cannot be read, with the parts of it that every object has."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    version: str
    """Its resourceVersion."""
    generation: int
    labels: Mapping[str, str]
    message: str
    """Which field holds what, and what was expected, in one sentence."""
    status: Raw = field(default_factory=dict)
    """As it was read; it may be as unreadable as the rest."""


def unreadable(kind: Kind, raw: Raw, error: Exception) -> Unreadable:
    """What can be kept of an object that cannot be read.

    Args:
        kind: Its kind.
        raw: The object.
        error: Why; of a ValidationError the first entry is used.
    """
    generation = at(raw, "metadata", "generation")
    labels = mapping(at(raw, "metadata", "labels"))
    return Unreadable(
        kind=kind,
        namespace=text(raw, "metadata", "namespace"),
        name=text(raw, "metadata", "name"),
        uid=text(raw, "metadata", "uid"),
        version=text(raw, "metadata", "resourceVersion"),
        generation=generation if isinstance(generation, int) else 0,
        labels={key: value for key, value in labels.items() if isinstance(value, str)},
        message=_sentence(kind, error),
        status=mapping(raw.get("status")),
    )


def _sentence(kind: Kind, error: Exception) -> str:
    """The first error of an object as a sentence: field, value, what was expected."""
    said = "This version of Edgesmith cannot read the " + kind.kind
    if not isinstance(error, ValidationError):
        return f"{said}: {error or type(error).__name__}."
    return f"{said}: {expected(error.errors(include_url=False, include_context=False)[0])}."


def expected(error: ErrorDetails) -> str:
    """One error as a clause: field, value, what was expected."""
    where = ".".join(str(part) for part in error["loc"]) or "the object"
    wanted = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ").rstrip(".")
    if error["type"] == "missing":
        return f"{where} is absent; it is required"
    return f"{where} is {_short(error['input'])}; expected: {wanted[:1].lower()}{wanted[1:]}"


def _short(value: Any) -> str:
    """A value as JSON, cut to what a person reads."""
    written = json.dumps(value, ensure_ascii=False, default=str)
    return written if len(written) <= _VALUE_LIMIT else written[:_VALUE_LIMIT] + "…"
