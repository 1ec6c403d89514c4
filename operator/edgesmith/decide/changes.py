"""Why a build is needed: what differs from the build before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from edgesmith.decide.plan import Change
from edgesmith_builder.contract import Build

_LONGEST = 200
"""Characters of a value."""


def changes(build: Build, before: Mapping[str, Any] | None, looked_at: Collection[str] = ()) -> tuple[Change, ...]:
    """Why a build is needed: each field in which it differs from the build before, by its dotted path.

    Empty where there was none before. The versions of what compiles are fields like the others; those of tools that one
    of two toolchains uses say no more than that it is another toolchain. The digest of a file that was looked at is its
    content: `source content`.

    Args:
        build: The build.
        before: The one before, as JSON.
        looked_at: The build's files whose digest the spec does not give.
    """
    if before is None:
        return ()
    old, new = _flat(_with_defaults(before)), _flat(build.model_dump(mode="json", by_alias=True))
    return tuple(
        Change(_named(field, looked_at), _short(old.get(field)), _short(new.get(field)))
        for field in sorted({*old, *new})
        if old.get(field) != new.get(field)
        and not (field.startswith("tools.") and field not in old.keys() & new.keys())
    )


def _named(field: str, looked_at: Collection[str]) -> str:
    """A field as a reason names it."""
    file, _, part = field.partition(".")
    return f"{file} content" if part == "sha256" and file in looked_at else field


def _short(value: str | None) -> str | None:
    """A value as a reason shows it: a thousand labels are too many for it."""
    return value if value is None or len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"


def _with_defaults(build: Mapping[str, Any]) -> Mapping[str, Any]:
    """A build as it was written, its defaults filled in; as it stands where this version cannot read it."""
    try:
        return Build.model_validate(build).model_dump(mode="json", by_alias=True)
    except ValidationError:
        return build


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Leaves by dotted path, as text."""
    leaves: dict[str, str] = {}
    for key, inner in value.items():
        path = f"{prefix}{key}"
        if isinstance(inner, Mapping):
            leaves |= _flat(inner, f"{path}.")
        elif isinstance(inner, list | tuple):
            leaves[path] = ",".join(str(item) for item in inner)
        elif inner is not None:
            leaves[path] = str(inner).lower() if isinstance(inner, bool) else str(inner)
    return leaves
