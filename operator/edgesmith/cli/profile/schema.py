"""A value held against a structural schema, as the API server would: every fault, each in one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from edgesmith.api.deviceprofile import FOLDER_PATTERN, ID_PATTERN, IMAGE_PATTERN
from edgesmith.api.source import SUBDOMAIN_PATTERN
from edgesmith.api.units import AMOUNT_PATTERN, QUANTITY_PATTERN
from edgesmith.cli.profile.rules import holds

Schema = Mapping[str, Any]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
}
_LIKE: Mapping[str, str] = {
    QUANTITY_PATTERN: "a quantity such as 512Mi or 8G",
    AMOUNT_PATTERN: "a quantity such as 500m, 512Mi or 8G",
    IMAGE_PATTERN: "an image by digest, REGISTRY/NAME@sha256:HEX,",
    FOLDER_PATTERN: "an absolute path without '..'",
    SUBDOMAIN_PATTERN: "a name of letters in lower case, digits, - and .",
    ID_PATTERN: "text of four digits 0-9 and a-f",
}
"""What patterns ask for, in words."""
_SHOWN = 100


def faults(schema: Schema, value: Any, path: str) -> Iterator[str]:
    """What a schema has against a value.

    Args:
        schema: Of a CRD.
        value: As it was read from YAML.
        path: Where it stands; empty at the root.

    Yields:
        `FIELD is VALUE; EXPECTED` without an end. Rules are asked only where the value itself is right.
    """
    wrong = [*_of_type(schema, value, path)] or [*_of_size(schema, value, path), *_of_parts(schema, value, path)]
    yield from wrong
    if not wrong:
        for rule in schema.get("x-kubernetes-validations", ()):
            message = rule["message"]
            if not holds(message, value):
                expected = f"it {message}" if message.startswith("must") else message
                yield f"{path or 'the object'} is {shown(value)}; {expected}"


def shown(value: Any) -> str:
    """A value as JSON, cut to what a person reads."""
    written = json.dumps(value, ensure_ascii=False, default=str)
    return written if len(written) <= _SHOWN else written[:_SHOWN] + "…"


def _of_type(schema: Schema, value: Any, path: str) -> Iterator[str]:
    if schema.get("x-kubernetes-int-or-string"):
        expected, right = "an integer or a string", isinstance(value, int | str) and not isinstance(value, bool)
    else:
        kind = schema["type"]
        expected = f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
        right = isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
    if not right:
        yield f"{path} is {shown(value)}; {expected} was expected"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{path} is {shown(value)}; one of {', '.join(map(str, schema['enum']))} was expected"
    elif "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        pattern = schema["pattern"]
        yield f"{path} is {shown(value)}; {_LIKE.get(pattern, f'text like {pattern}')} was expected"


def _of_size(schema: Schema, value: Any, path: str) -> Iterator[str]:
    for kind, least, most, unit in (
        (str, "minLength", "maxLength", ("character", "characters")),
        (list, "minItems", "maxItems", ("entry", "entries")),
        (dict, "minProperties", "maxProperties", ("entry", "entries")),
    ):
        if not isinstance(value, kind):
            continue
        if len(value) < schema.get(least, 0):
            yield f"{path} is {shown(value)}; at least {_counted(schema[least], unit)} expected"
        if most in schema and len(value) > schema[most]:
            yield f"{path} is {shown(value)}; at most {_counted(schema[most], unit)} expected"


def _counted(count: int, unit: tuple[str, str]) -> str:
    return f"{count} {unit[0]} was" if count == 1 else f"{count} {unit[1]} were"


def _of_parts(schema: Schema, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from faults(schema["items"], item, f"{path}[{number}]")
        yield from _twice(schema, value, path)
    elif isinstance(value, dict) and ("properties" in schema or "additionalProperties" in schema):
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{_below(path, name)} is absent; it is required"
        for name, item in value.items():
            part = known.get(name, others)
            if part is None:
                yield f"{_below(path, name)} is {shown(item)}; no such field was expected, but {', '.join(known)}"
            else:
                yield from faults(part, item, _below(path, name))


def _twice(schema: Schema, value: list[Any], path: str) -> Iterator[str]:
    """Members of sets, and keys of lists that are maps, which must be there once."""
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys", ())
    if kind not in ("set", "map"):
        return
    seen = []
    for number, item in enumerate(value):
        found = [item.get(key) for key in keys] if kind == "map" and isinstance(item, dict) else item
        if found in seen:
            once = " and ".join(keys) or "entry"
            yield f"{path}[{number}] is {shown(item)}; each {once} once was expected"
        seen.append(found)


def _below(path: str, name: Any) -> str:
    return f"{path}.{name}" if path else str(name)
