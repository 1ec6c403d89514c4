"""The status of an EdgeModel as its types have it, whoever wrote it: by hand, say, or another version of the operator.

Every other reader of a status may trust its shape, because nothing comes to them but through here. What cannot be read
is left out with no more around it than must go, and is named, so that nobody takes it for something that never was.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from edgesmith.api.status import EdgeModelStatus
from edgesmith.cluster.fields import Raw, mapping
from edgesmith.cluster.unreadable import expected

_NAMED = 3
"""How many parts that cannot be read are named; after an upgrade it can be one in each variant."""

_Path = tuple[str | int, ...]


def readable(raw: Any) -> tuple[Raw, tuple[str, ...]]:
    """What of a status can be read, and what cannot.

    Args:
        raw: The status as the API server has it; None where there is none.

    Returns:
        The status without what cannot be read; and for each such part, up to a bound, what stands there and what was
        expected, as a clause. A field that is required and cannot be read takes the entry around it along.
    """
    if raw is None:
        return {}, ()
    if not isinstance(raw, Mapping):
        return {}, ("it is no object",)
    status, error = mapping(raw), _error(raw)
    said = tuple(expected(one) for one in error.errors(include_url=False, include_context=False)) if error else ()
    while error is not None:
        paths = {_removed(status, one["loc"]) for one in error.errors()}
        status = mapping(_without(status, paths)) if () not in paths else {}
        error = _error(status)
    more = (f"{len(said) - _NAMED} more",) if len(said) > _NAMED else ()
    return status, (*said[:_NAMED], *more)


def _error(status: Raw) -> ValidationError | None:
    try:
        EdgeModelStatus.model_validate(status)
    except ValidationError as error:
        return error
    return None


def _removed(status: Raw, where: _Path) -> _Path:
    """What is to go for an error: the value that it is about, or what lacks one.

    An error may name more than there is, what is missing or a member of a union, so it is followed as far as the status
    goes.
    """
    here: Any = status
    found: list[str | int] = []
    for step in where:
        parts = _parts(here)
        if step not in parts:
            break
        here = parts[step]
        found.append(step)
    return tuple(found)


def _without(value: Any, paths: Iterable[_Path]) -> Any:
    """A copy of a value without what lies at some paths, none of which is empty."""
    gone = {path[0] for path in paths if len(path) == 1}
    below: dict[str | int, set[_Path]] = {}
    for path in paths:
        below.setdefault(path[0], set()).add(path[1:])
    left = {step: _kept(part, below.get(step)) for step, part in _parts(value).items() if step not in gone}
    return left if isinstance(value, Mapping) else list(left.values())


def _parts(value: Any) -> Mapping[str | int, Any]:
    """What a mapping or a list holds, by what it is found by there."""
    if isinstance(value, Mapping):
        return value
    return dict(enumerate(value)) if isinstance(value, list) else {}


def _kept(part: Any, paths: set[_Path] | None) -> Any:
    return _without(part, paths) if paths else part
